"""The training loop. One process, or several under torchrun; stops and resumes anywhere.

Everything that a step does follows from (config, step, weights, optimizer state), so a resumed run repeats an
uninterrupted one bit for bit on the same machine.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from qig_edge.errors import CheckpointError, DataError
from qig_edge.model.build import Model
from qig_edge.model.kernel import Kernel
from qig_edge.train import checkpoint
from qig_edge.train.clip import Clip
from qig_edge.train.config import TrainConfig
from qig_edge.train.evaluate import bits_per_byte
from qig_edge.train.grouping import Grouping
from qig_edge.train.losses import Losses
from qig_edge.train.optim import Optimizers
from qig_edge.train.pace import Pace
from qig_edge.train.recipe import quantized_parts
from qig_edge.train.shards import Mixture, Shard

if TYPE_CHECKING:
    from tokenizers import Tokenizer

KEEP = 2  # newest checkpoints that stay, besides the one the final phase starts from


@dataclass
class World:
    """This process among those of the run."""

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @classmethod
    @contextlib.contextmanager
    def join(cls) -> Iterator[World]:
        """Joins the others under torchrun (NCCL with GPUs, else gloo); alone otherwise."""
        size, local = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("LOCAL_RANK", 0))
        device = f"cuda:{local}" if torch.cuda.is_available() else "cpu"
        if size == 1:
            yield cls(0, 1, device)
            return
        if device != "cpu":
            torch.cuda.set_device(local)
        # the first process tokenizes while the others wait: NCCL alone would give it ten minutes
        dist.init_process_group("nccl" if device != "cpu" else "gloo", timeout=datetime.timedelta(hours=6))
        try:
            yield cls(dist.get_rank(), size, device)
        finally:
            dist.destroy_process_group()


@dataclass
class Progress:
    """What the loop reports after each step; bits_per_byte and phi where it evaluated.

    i_q: mean diagonal Fisher information; c_slow and mode: qig_edge.train.pace; fisher_distance: of the step before it
    was clipped.
    """

    step: int
    steps: int
    tokens: int
    loss: float
    rate: float
    grad_norm: float
    tokens_per_second: float
    i_q: float
    c_slow: float
    mode: str
    fisher_distance: float | None = None
    terms: dict[str, float] | None = None
    bits_per_byte: dict[str, float] | None = None
    phi: float | None = None


class Interrupt:
    """First SIGINT or SIGTERM: finish the step, save, leave. A second SIGINT: leave at once (the last checkpoint is
    whole).
    """

    def __init__(self) -> None:
        self.asked = False

    def __enter__(self) -> Interrupt:
        self.before = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def _handle(self, number: int, frame: Any) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for s, handler in self.before.items():
            signal.signal(s, handler)


class Trainer:
    """Owns model, optimizers and data order of a run in `out`. Raises QigError for what a user can cause."""

    def __init__(
        self,
        out: Path,
        model: Model,
        config: TrainConfig,
        tokenizer: Tokenizer,
        shards: dict[str, Shard],
        weights: dict[str, float],
        final_weights: dict[str, float],
        world: World,
    ) -> None:
        config.check_model(model.config)
        if (config.batch_tokens // max(config.context, config.final_context)) % world.size:
            raise DataError(
                f"batch_tokens = {config.batch_tokens} cannot be shared evenly by {world.size} processes at context {config.final_context}"
            )
        self.out, self.config, self.tokenizer, self.shards, self.world = out, config, tokenizer, shards, world
        self.model = model.to(world.device)
        if config.only_draft:
            assert self.model.draft is not None
            self.model.requires_grad_(False)
            self.model.draft.requires_grad_(True)
        self.mixtures = {
            False: Mixture(shards, weights, config.context, config.seed),
            True: Mixture(shards, final_weights, config.final_context, config.seed + 1),
        }
        self.model.recompute(config.checkpointing)
        self.losses = Losses(self.model, config, self._role_swap()).to(world.device)
        self.optimizers = Optimizers(self.model, config)
        self.clip = Clip([p for p in self.model.parameters() if p.requires_grad], config)
        self.pace = Pace()
        self.grouping = Grouping(config.seed)
        self.step = 0
        self.terms: dict[str, float] = {}
        self.bfloat16 = runs_in_bfloat16(config, world.device)
        if config.compile:
            self.model.compile_blocks()

    def resume(self) -> bool:
        """Continues from the newest checkpoint of the run, if there is one. Raises CheckpointError where it is of
        another run.
        """
        found = [p for p in checkpoint.steps(self.out) if (p / "trainer.pt").is_file()]
        if not found:
            return False
        folder = found[-1]
        state = checkpoint.load_trainer(folder)
        ours = self.config.to_dict()
        differ = [
            f"{k} {v} (now {ours[k]})" for k, v in state["config"].items() if k not in CHANGEABLE and ours.get(k) != v
        ]
        if differ:
            raise CheckpointError(f"'{folder}' was trained with other settings: {', '.join(differ)}")
        if state["step"] > self.config.final_start and state["config"]["tokens"] != self.config.tokens:
            raise CheckpointError(
                f"'{folder}' is already in its final phase: tokens cannot change from {state['config']['tokens']} to {self.config.tokens}"
            )
        loaded = checkpoint.load_any(folder, self.model.config)
        self.model.load_state_dict(loaded.state_dict())
        self.optimizers.load_state_dict(state["optimizers"])
        for name in PARTS:  # a checkpoint of an earlier version lacks some
            if name in state:
                getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]
        return True

    def run(self, report: Callable[[Progress], None] = lambda progress: None) -> bool:
        """Trains to the end, or until interrupted (then False); saves either way."""
        config, start = self.config, time.monotonic()
        metrics = self._open_metrics()
        with Interrupt() as interrupt, metrics:
            while self.step < config.steps and not self._anyone(interrupt.asked):
                began = time.monotonic()
                rate = config.rate_at(self.step) * self.pace.factor
                loss, norm, distance = self._train_step(rate)
                self.pace.observe(config, self.step, loss, norm)
                self.step += 1
                progress = Progress(
                    self.step,
                    config.steps,
                    self.step * config.batch_tokens,
                    loss,
                    rate,
                    norm,
                    config.batch_tokens / (time.monotonic() - began),
                    self.pace.fisher(config, sum(p.numel() for p in self.clip.parameters)),
                    self.pace.curiosity(config),
                    self.pace.mode(config),
                    distance,
                    self.terms or None,
                )
                if self._due(config.eval_tokens) or self.step == config.steps:
                    progress.bits_per_byte = self.evaluate()
                    progress.phi = self.phi()
                if self.world.rank == 0:
                    record = {k: v for k, v in vars(progress).items() if v is not None} | {
                        "seconds": round(time.monotonic() - start, 3)
                    }
                    metrics.write(json.dumps(record) + "\n")
                    metrics.flush()
                report(progress)
                if self._due(config.save_tokens) or self.step in (config.steps, config.final_start):
                    self.save()
            if self.step < config.steps:
                self.save()
        return self.step == config.steps

    def evaluate(self) -> dict[str, float]:
        """Bits per byte of the model as it stands (in the 4-bit-aware part: with its rounding)."""
        self.model.eval()
        self._quantize()

        def logits_of(ids: torch.Tensor) -> torch.Tensor:
            # what is compiled for training would be compiled anew without gradients
            with (
                torch.compiler.set_stance("force_eager"),
                torch.autocast(ids.device.type, torch.bfloat16, enabled=self.bfloat16),
            ):
                return self.model(ids).logits

        context = self.config.context_at(self.step)
        out = bits_per_byte(
            logits_of, self.shards, context, max(1, self.config.micro_tokens // context), self.world.device
        )
        self.model.train()
        return out

    def phi(self) -> float | None:
        """Mean phi of some windows that come next, under the model as it stands: near 0, every query looks at one key.

        None where a model tells no phi (jarvis).
        """
        if not isinstance(self.model, Kernel):
            return None
        first = self.step * (self.config.batch_tokens // self.config.context_at(self.step))
        return float(self._integration_of(list(range(first, first + max(OBSERVED, self.world.size)))).mean())

    def save(self) -> None:
        """Writes DIR/step-N and removes older checkpoints that are not kept."""
        if self.world.rank == 0:
            self.model.fake_quantize(None, False)
            state = {"step": self.step, "config": self.config.to_dict(), "optimizers": self.optimizers.state_dict()}
            state |= {name: getattr(self, name).state_dict() for name in PARTS}
            checkpoint.write(self.out / f"step-{self.step:08d}", self.model, self.tokenizer, state)
            keep = {self.config.final_start}
            for old in checkpoint.steps(self.out)[:-KEEP]:
                if int(old.name[5:]) not in keep:
                    # renamed first, so that a kill in between leaves no half folder under a checkpoint's name
                    doomed = old.with_name(f".{old.name}.old")
                    old.rename(doomed)
                    _remove(doomed)
        if self.world.size > 1:
            dist.barrier()

    def _due(self, every_tokens: int) -> bool:
        every = max(1, every_tokens // self.config.batch_tokens)
        return self.step % every == 0

    def _anyone(self, asked: bool) -> bool:
        if self.world.size == 1:
            return asked
        flag = torch.tensor(float(asked), device=self.world.device)
        dist.all_reduce(flag)
        return flag.item() > 0

    def _quantize(self) -> None:
        on = self.config.quantize_share > 0 and self.step >= self.config.quantize_start
        self.model.fake_quantize(quantized_parts(self.model.config) if on else None, on)

    def _loss_sum(self, ids: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        with torch.autocast(ids.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.losses(self.model, ids, targets)

    def _windows(self) -> list[int]:
        """Numbers of the windows that this process reads in this step."""
        config, world = self.config, self.world
        rows = config.batch_tokens // config.context_at(self.step)
        mine = rows // world.size
        if config.group_by_regime:
            end = config.final_start if self.step < config.final_start else config.steps
            numbers = self.grouping.windows(self.step, end, rows, self._integration_of)
        else:
            numbers = list(range(self.step * rows, (self.step + 1) * rows))
        return numbers[world.rank * mine : (world.rank + 1) * mine]

    def _batches(self, numbers: list[int]) -> Iterator[torch.Tensor]:
        """Windows in micro-batches, int64 [B, context + 1] each."""
        mixture = self.mixtures[self.step >= self.config.final_start]
        micro = max(1, self.config.micro_tokens // mixture.context)
        for at in range(0, len(numbers), micro):
            windows = np.stack([mixture.window(i) for i in numbers[at : at + micro]])
            yield torch.from_numpy(windows).to(self.world.device, non_blocking=True)

    @torch.no_grad()
    def _integration_of(self, numbers: list[int]) -> np.ndarray:
        """Mean phi of each window under the model as it is; the processes share the work."""
        self.model.eval()
        mine = numbers[self.world.rank :: self.world.size]
        phi = torch.zeros(len(numbers), device=self.world.device)
        found = []
        for batch in self._batches(mine):
            with (
                torch.compiler.set_stance("force_eager"),
                torch.autocast(batch.device.type, torch.bfloat16, enabled=self.bfloat16),
            ):
                telemetry = self.model(batch[:, :-1], observe=True).telemetry
            found.append(telemetry.phi.mean(1).float())
        phi[self.world.rank :: self.world.size] = torch.cat(found)
        if self.world.size > 1:
            dist.all_reduce(phi)
        return phi.cpu().numpy()

    def _train_step(self, rate: float) -> tuple[float, float, float | None]:
        """One step at that factor of the rates: mean loss (nats a token), gradient norm, and the Fisher distance where
        it is measured.
        """
        config, world = self.config, self.world
        self._quantize()
        if not config.only_draft:
            self._ramp()
        numbers = self._windows()
        self.model.train(not config.only_draft)
        total = torch.zeros((), device=world.device)
        self.terms = {}
        for batch in self._batches(numbers):
            loss, terms = self._loss_sum(batch[:, :-1], batch[:, 1:])
            (loss / config.batch_tokens).backward()
            total += terms.pop("cross_entropy") * batch[:, 1:].numel()
            for name, value in terms.items():
                self.terms[name] = self.terms.get(name, 0.0) + value.item() * batch[:, 1:].numel() / config.batch_tokens
        if world.size > 1:
            gradients = [p.grad for p in self.clip.parameters if p.grad is not None]
            flat = torch.cat([g.reshape(-1) for g in gradients] + [total.reshape(1)])
            dist.all_reduce(flat)
            at = 0
            for g in gradients:
                g.copy_(flat[at : at + g.numel()].view_as(g))
                at += g.numel()
            total = flat[-1]
        norm = self.clip.gradients()
        loss_mean = total.item() / config.batch_tokens
        if not loss_mean < float("inf"):
            raise CheckpointError(
                f"the loss became {loss_mean} at step {self.step}: lower the learning rates; the last checkpoint is whole"
            )
        distance = self.clip.step(lambda: self.optimizers.step(rate, batch))
        if not config.only_draft:
            self._settle()
        return loss_mean, norm, distance

    def _ramp(self) -> None:
        """Budgets rise from ramp_start to ramp_end of the run; learnt cuts sharpen until hard_share."""
        config, done = self.config, self.step / self.config.steps
        if self.model.config.adaptive or self.model.config.gate_learnt:
            pressure = (done - config.ramp_start) / max(1e-9, config.ramp_end - config.ramp_start)
            sharp = done / config.hard_share if config.hard_share else 1.0
            self.model.ramp(min(1.0, max(0.0, pressure)), config.soft_start * max(0.0, 1 - sharp))

    @torch.no_grad()
    def _settle(self) -> None:
        """What follows from statistics and weights: alike in all processes, and brought up to date now and then."""
        self.model.settle()
        if self.world.size > 1:
            for buffer in (*self.model.buffers(), *self.losses.buffers()):
                if buffer.is_floating_point():
                    dist.all_reduce(buffer)
                    buffer /= self.world.size
        if (self.step + 1) % REFRESH == 0 or self.step + 1 == self.config.steps:
            self.model.refresh()

    def _role_swap(self) -> torch.Tensor | None:
        """Token ids with the roles of speaker and addressee exchanged, for the term that asks for them."""
        if not self.config.weight_symmetry:
            return None
        from qig_edge.runtime.roles import token_swap

        return (
            torch.from_numpy(token_swap(self.tokenizer, size=self.model.config.vocab_size)).long().to(self.world.device)
        )

    def _open_metrics(self) -> Any:
        if self.world.rank:
            return contextlib.nullcontext()
        path = self.out / "metrics.jsonl"
        kept = []
        if path.is_file():  # a run that was killed after its last checkpoint repeats those steps
            kept = [
                line
                for line in path.read_text("utf-8").splitlines(True)
                if line.endswith("\n") and json.loads(line)["step"] <= self.step
            ]
        temporary = path.with_suffix(".tmp")
        temporary.write_text("".join(kept), "utf-8")
        temporary.rename(path)
        return open(path, "a", encoding="utf-8")


REFRESH = 50  # steps
OBSERVED = 8  # windows
PARTS = ("clip", "pace", "grouping", "losses")  # what besides weights and optimizers has a state
CHANGEABLE = (
    "tokens",
    "eval_tokens",
    "save_tokens",
    "compile",
    "micro_tokens",
    "checkpointing",
    "decay_share",
    "quantize_share",
)


def runs_in_bfloat16(config: TrainConfig, device: str) -> bool:
    """Whether a run's products are bfloat16 on that device."""
    return config.precision == "bfloat16" or (config.precision == "auto" and (device != "cpu" or _cpu_has_bfloat16()))


def _cpu_has_bfloat16() -> bool:
    """bfloat16 products are emulated, and slow, on CPUs without them."""
    return bool(
        getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    )


def _remove(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
