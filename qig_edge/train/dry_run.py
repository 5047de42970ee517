"""How long a run would take on this machine: a few real steps on random tokens, nothing written."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from qig_edge.errors import ConfigError
from qig_edge.model.build import AnyConfig, Model, new_model
from qig_edge.train.config import TrainConfig
from qig_edge.train.losses import Losses
from qig_edge.train.memory import Phase, phases
from qig_edge.train.optim import Optimizers

REPEATS = 2
LONG = 20.0  # seconds of a micro-batch from which its rows are timed one by one


@dataclass(frozen=True)
class DryRun:
    """Tokens a second by context, the run's steps and days; bytes: peak of torch's allocator (None on a CPU)."""

    tokens_per_second: dict[int, float]
    steps: int
    days: float
    bytes: int | None


def dry_run(model_config: AnyConfig, config: TrainConfig, device: str, bfloat16: bool) -> DryRun:
    """Times micro-batches of each phase and the optimizer's step. Raises ConfigError where memory doesn't last."""
    torch.manual_seed(config.seed)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    try:
        model = new_model(model_config).to(device).train()
        model.recompute(config.checkpointing)
        losses = Losses(model, config, torch.arange(model_config.vocab_size, device=device)).to(device)
        optimizers = Optimizers(model, config)
        speed = {}
        for phase in phases(config):
            model.ramp(1.0, config.soft_start if phase.soft else 0.0)
            passes = _seconds(model, losses, config, phase, device, bfloat16) * config.batch_tokens / phase.context
            speed[phase.context] = config.batch_tokens / (passes + _step(optimizers, phase, device))
    except (torch.OutOfMemoryError, MemoryError) as e:
        raise ConfigError(
            f"the run does not fit this machine's memory ({str(e).splitlines()[0]}): see --vram"
        ) from None
    first = config.final_start * config.batch_tokens
    final = (config.steps - config.final_start) * config.batch_tokens
    seconds = first / speed[config.context or config.final_context] + final / speed[config.final_context]
    peak = torch.cuda.max_memory_allocated() if device != "cpu" else None
    return DryRun(speed, config.steps, seconds / 86400, peak)


def _seconds(model: Model, losses: Losses, config: TrainConfig, phase: Phase, device: str, bfloat16: bool) -> float:
    """Of one row of a micro-batch, forward and backward."""
    vocab = model.config.vocab_size

    def timed(rows: int) -> float:
        batch = torch.randint(0, vocab, (rows, phase.context + 1), device=device)
        start = _clock(device)
        with torch.autocast(batch.device.type, torch.bfloat16, enabled=bfloat16):
            loss, _ = losses(model, batch[:, :-1], batch[:, 1:])
        (loss / config.batch_tokens).backward()
        return _clock(device) - start

    rows = min(max(1, config.micro_tokens // phase.context), config.batch_tokens // phase.context)
    alone = timed(1)
    if rows * alone > LONG:
        return alone
    timed(rows)  # the first one of its size prepares buffers
    return min(timed(rows) for _ in range(REPEATS)) / rows


def _step(optimizers: Optimizers, phase: Phase, device: str) -> float:
    """Seconds of the optimizer's step on the gradients that stand; the weights don't move."""
    start = _clock(device)
    optimizers.step(0.0, torch.zeros(1, phase.context + 1, dtype=torch.int64, device=device))
    return _clock(device) - start


def _clock(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()
