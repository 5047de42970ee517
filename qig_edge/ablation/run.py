"""One row of an ablation, trained and measured. Rows lie in folders of their own; a finished one has result.json, an interrupted one is resumed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from qig_edge.ablation.rows import Row, block_weights
from qig_edge.convert.gguf_writer import write_gguf
from qig_edge.convert.names import check_format
from qig_edge.convert.recipe import load_recipe
from qig_edge.errors import CheckpointError, ConfigError, DataError, QigError
from qig_edge.evals.puzzles_torch import puzzle_scores
from qig_edge.model.kernel import Block, Kernel
from qig_edge.runtime.files import replacing, written_whole
from qig_edge.train import checkpoint
from qig_edge.train.loop import Progress, Trainer, World
from qig_edge.train.shards import Shard
from qig_edge.train.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PUZZLES = 300  # problems a row is asked
STATE_TOKENS = 16384  # held-out tokens that state is measured on


class Interrupted(QigError):
    """The training was stopped by a signal; its checkpoint stands."""


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether this process may work on a row: several may share an ablation, and one that died leaves its row to others."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / "claim"
    mine = _claim(lock)
    try:
        yield mine
    finally:
        if mine:
            lock.unlink(missing_ok=True)


def _claim(lock: Path) -> bool:
    for _ in range(2):
        try:
            with open(lock, "x", encoding="utf-8") as f:
                f.write(str(os.getpid()))
            return True
        except FileExistsError:
            try:
                os.kill(int(lock.read_text("utf-8")), 0)
                return False
            except (ProcessLookupError, ValueError):
                lock.unlink(missing_ok=True)
            except (FileNotFoundError, PermissionError):
                return False
    return False


def finished(row: Row, folder: Path) -> bool:
    """Whether the row was trained and measured there. Raises ConfigError where that was with other settings: they would share a table."""
    file = folder / "result.json"
    if not file.is_file():
        return False
    result = json.loads(file.read_text("utf-8"))
    for part, now in (("model", row.model.to_dict()), ("train", row.train.to_dict())):
        then = result[part]
        for name in {**then, **now}:
            if then.get(name) != now.get(name):
                raise ConfigError(
                    f"'{folder}' was trained with {part}.{name} = {then.get(name)}, this is {now.get(name)}: give another --out"
                )
    return True


def run_row(
    row: Row,
    folder: Path,
    tokenizer: Tokenizer,
    shards: dict[str, Shard],
    weights: dict[str, float],
    report: Callable[[Progress], None],
) -> dict[str, Any]:
    """Trains where that is not done, measures, writes result.json and, of what has a GGUF form,
    model-q4_0.gguf. Raises Interrupted where a signal stopped the training.
    """
    torch.manual_seed(row.train.seed)
    trainer = Trainer(folder, Kernel(row.model), row.train, tokenizer, shards, weights, weights, World())
    trainer.resume()
    began = time.process_time()
    if not trainer.run(report):
        raise Interrupted(
            f"'{row.name}' stopped at step {trainer.step} of {row.train.steps}: the same command goes on from there"
        )
    seconds = time.process_time() - began
    model = checkpoint.load_model(folder)
    result = {
        "name": row.name,
        "what": row.what,
        "seed": row.train.seed,
        "tokens": row.train.steps * row.train.batch_tokens,
        "parameters": row.model.param_counts()["total"],
        "layers": row.model.n_layers,
        "hidden": row.model.hidden_dim,
        "bits_per_byte": _last_bits(folder),
        "train_cpu_seconds": round(seconds, 1),
        **state(model, shards),
        "puzzles": {},
    }
    scores = puzzle_scores(model, tokenizer, PUZZLES)
    result["puzzles"] = {str(n): p.share for n, p in scores.by_level.items()} | {"all": scores.overall.share}
    _write_file(row.name, model, tokenizer, folder)
    with written_whole(folder / "result.json") as file:
        file.write(json.dumps(result | {"model": row.model.to_dict(), "train": row.train.to_dict()}, indent=1) + "\n")
    return result


def _write_file(name: str, model: Kernel, tokenizer: Tokenizer, folder: Path) -> Path | None:
    """model-q4_0.gguf of a row; None where the model has no GGUF form (dot products with decay), hence no speed."""
    try:
        check_format(model.config)
    except CheckpointError:
        return None
    file = folder / "model-q4_0.gguf"
    with replacing(file) as partial:
        write_gguf(partial, model, tokenizer, load_recipe("q4"), name)
    return file


def model_file(name: str, folder: Path) -> Path | None:
    """The file of a finished row, written from its checkpoint where it is not there yet; None where the row has none, or neither."""
    file = folder / "model-q4_0.gguf"
    if file.is_file():
        return file
    try:
        found = checkpoint.find(folder)
    except CheckpointError:
        return None
    return _write_file(name, checkpoint.load_model(found), load_tokenizer(found), folder)


def _last_bits(folder: Path) -> dict[str, float]:
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    found = next((r["bits_per_byte"] for r in map(json.loads, reversed(lines)) if r.get("bits_per_byte")), None)
    if not found:
        raise DataError("no document of the data is held out: give more documents, or a higher validation_permille")
    return found


@torch.no_grad()
def state(model: Kernel, shards: dict[str, Shard]) -> dict[str, Any]:
    """What the model does on held-out text: pairs active, blocks run, block weights read a token, regimes, active units."""
    context = min(model.config.context_length, 256)
    tokens = np.concatenate([s.validation[: STATE_TOKENS // len(shards)] for s in shards.values()]).astype(np.int64)
    windows = torch.from_numpy(tokens[: len(tokens) // context * context].reshape(-1, context))
    seen: dict[str, list[torch.Tensor]] = {}
    units = _ActiveUnits(model)
    with units:
        for at in range(0, len(windows), 16):
            out = model(windows[at : at + 16], watch=True)
            journey = out.journey
            assert journey is not None
            for name in ("phi", "active", "possible", "blocks", "deep", "routed", "curvature"):
                seen.setdefault(name, []).append(getattr(journey, name).flatten())
            seen.setdefault("regime", []).append(journey.regime.flatten())
    mean = {k: torch.cat(v).double() for k, v in seen.items()}
    attention, deep = block_weights(model.config)
    shallow = 2 * model.config.d_model * model.config.shallow_dim
    ran, routed, took = mean["blocks"].mean(), mean["routed"].mean(), mean["deep"].mean()
    read = ran * attention + (ran - routed + took) * deep + (routed - took) * shallow
    regimes = [(mean["regime"] == k).double().mean().item() for k in range(3)]
    return {
        "active_pairs": (mean["active"] / mean["possible"]).mean().item(),
        "phi": (mean["phi"] / mean["blocks"]).mean().item(),
        "blocks_run": ran.item(),
        "deep_share": (took / routed).item() if routed else 1.0,
        "block_weights_read": read.item(),
        "block_weights_share": read.item() / (model.config.n_layers * (attention + deep)),
        "regimes": regimes,
        "active_units": units.share,
        "beta": model.thresholds().coupling_beta,
        "temperatures": [
            round(b.attn.log_temperature.exp().mean().item(), 4)
            for b in blocks(model)
            if model.config.attention == "qfi"
        ],
    }


def blocks(model: Kernel) -> list[Block]:
    """The blocks of the stack, typed."""
    return [b for b in model.blocks if isinstance(b, Block)]


class _ActiveUnits:
    """Share of the deep feed-forward's hidden units that are not zero, over the tokens that a forward pass computes."""

    def __init__(self, model: Kernel) -> None:
        self.model, self.active, self.all = model, 0, 0

    def _note(self, module: Any, inputs: Any, hidden: torch.Tensor) -> None:
        self.active += int((hidden > 0).sum())
        self.all += hidden.numel()

    def __enter__(self) -> None:
        self.hooks = [block.ffn.up.register_forward_hook(self._note) for block in blocks(self.model)]

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    @property
    def share(self) -> float:
        return self.active / max(1, self.all)


def speeds(files: dict[str, Path], rounds: int = 5, tokens: int = 96) -> dict[str, float]:
    """Decode tokens a second of each file in libqig on one thread: medians of rounds in which the files take turns."""
    from qig_edge.runtime.native import NativeModel

    samples: dict[str, list[float]] = {name: [] for name in files}
    with contextlib.ExitStack() as stack:
        models = {name: stack.enter_context(NativeModel(path)) for name, path in files.items()}
        for _ in range(rounds):
            for name, model in models.items():
                with model.session(n_threads=1) as session:
                    session.eval(model.tokenize("Once upon a time there was a fox."))
                    began = time.perf_counter()
                    count = min(tokens, session.n_ctx - session.pos)
                    for _ in range(count):
                        session.eval([int(session.logits().argmax())])
                    samples[name].append(count / (time.perf_counter() - began))
    return {name: float(np.median(s)) for name, s in samples.items()}


def with_seed(row: Row, seed: int) -> Row:
    """The same row with other weights and another order of the data."""
    return dataclasses.replace(row, train=dataclasses.replace(row.train, seed=seed))
