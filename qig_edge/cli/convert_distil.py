"""qig-edge convert DIR --distil llama: a student of a QIG model in llama.cpp's layout, and what it keeps of its teacher."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.errors import ConfigError, DataError

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

    from qig_edge.cli.convert_ollama import Converted
    from qig_edge.convert.keys import Origin
    from qig_edge.convert.recipe import Recipe
    from qig_edge.convert.verify import HeldOut
    from qig_edge.model.kernel import Kernel
    from qig_edge.train.shards import Shard

LAYOUTS = ("llama",)
TOKENS = 400_000
HELD_OUT = 10  # documents of 1000
HELD_OUT_BYTES = 400_000  # of each source
LOST = (
    "What a stock layout has no place for is lost: telemetry of the model's own state, adaptive depth, gates and what they save, drafts. "
    "Distances became dot products, decay what rotating constants can make of it."
)


def check(layout: str, tokens: int) -> None:
    """Raises ConfigError for another layout than there is, or too few tokens."""
    if layout not in LAYOUTS:
        raise ConfigError(f"--distil '{layout}' must be {' or '.join(LAYOUTS)}")
    if tokens < 1:
        raise ConfigError(f"--tokens {tokens} must be at least 1")


def convert(
    folder: Path,
    out: Path,
    recipe: Recipe,
    name: str,
    data: Sequence[str],
    tokens: int,
    calibration: Path | None,
    origin: Origin,
) -> Converted:
    """Trains the student, writes its file whole or not at all, and reports bits per byte of teacher and student. calibration: text that 4-bit
    rounding is fitted to, without it what the student learns from.

    Raises CheckpointError for a dense twin, DataError where there is no text to learn from.
    """
    import torch

    from qig_edge.cli.convert import SMALL, _written, stoppable
    from qig_edge.cli.progress import Steps
    from qig_edge.convert import calibration as calibrating
    from qig_edge.convert import verify
    from qig_edge.convert.distil import WINDOW, distil
    from qig_edge.convert.gguf_writer import write_gguf
    from qig_edge.convert.names import architecture
    from qig_edge.runtime.files import replacing
    from qig_edge.runtime.native import NativeModel
    from qig_edge.train import checkpoint as checkpoints
    from qig_edge.train.shards import Mixture
    from qig_edge.train.sources import Source
    from qig_edge.train.tokenizer import load_tokenizer

    if checkpoints.read_config(folder).param_counts()["total"] < SMALL:
        torch.set_num_threads(1)  # threads of small products wait for each other more than they compute
    sources = [Source.parse(argument) for argument in data]
    with stoppable(), contextlib.ExitStack() as stack:
        steps = stack.enter_context(Steps(f"reading {folder}"))
        teacher, tokenizer = checkpoints.load_model(folder), load_tokenizer(folder)
        teacher.requires_grad_(False)
        shards_folder, shards = _text(folder, sources, teacher.config.vocab_size, stack, steps)
        window = min(WINDOW, teacher.config.context_length)
        # without weights every source has an equal share: what the run's were is not kept
        weights = {s.name: s.weight for s in sources} or {name: 1 / max(1, len(shard.train)) for name, shard in shards.items()}
        mixture = Mixture(shards, weights, window, 0)
        held_out = _held_out(shards_folder, tokenizer, window)
        found: dict[str, float] = {"teacher": _bits(_of(teacher), held_out, tokenizer)}

        def between(phase: str, student: Kernel) -> None:
            found[phase] = _bits(_of(student), held_out, tokenizer)

        partial = stack.enter_context(replacing(out))
        made = distil(teacher, mixture, tokens, lambda done, total, phase: steps(done, total, f"learning {phase}"), between)
        moments, calibrated_on = None, None
        if any(kind != "f32" for _, kind in recipe.types):
            sample = calibrating.sample(folder, tokenizer, window, calibration, shards=shards_folder)
            moments = calibrating.moments(made.student, sample, lambda done, total: steps(done, total, "calibrating"))
            calibrated_on = sample.source
        written = _written(
            out,
            partial,
            lambda: write_gguf(
                partial, made.student, tokenizer, recipe, f"{name}-llama", moments=moments, origin=dataclasses.replace(origin, base=name)
            ),
        )
        with NativeModel(partial) as opened:
            file_bytes, parameters, bits = verify.size(opened)
            with opened.session(n_ctx=window) as session:
                found["libqig"] = _bits(_session(session), held_out, tokenizer)
        found["llama.cpp"] = _in_llama_cpp(partial, held_out, tokenizer, window)
        facts = {
            "architecture": architecture(made.student.config),
            "context_length": made.student.config.context_length,
            "tokens": made.tokens,
            "rows_kl": made.rows,
            "words_kl": made.words,
            "text": held_out.source,
            "calibrated_on": calibrated_on,
            "bits_per_byte": {key: None if math.isnan(value) else value for key, value in found.items()},
            "file_bytes": file_bytes,
            "parameters": parameters,
            "teacher_parameters": teacher.config.param_counts()["total"],
            "bits_per_weight": bits,
            "parameters_of_qig": {},
        }
        notes = [*written.notes, LOST]
        for line in [*_table(name, recipe, facts, found), *notes]:
            steps.say(line)
    return notes, None, facts


def _text(
    folder: Path, sources: list[Any], vocab_size: int, stack: contextlib.ExitStack, steps: Any
) -> tuple[Path, dict[str, Shard]]:
    """The text as tokens: of the sources, in a folder that goes away with the stack, or without any what the checkpoint's run was trained on."""
    from qig_edge.train.shards import MANIFEST, opened, prepare

    if sources:
        made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qig-edge-distil-"))) / "shards"

        def told(what: str, share: float) -> None:
            steps(round(100 * share), 100, what)

        return made, prepare(made, sources, folder, vocab_size, HELD_OUT, HELD_OUT_BYTES, told)[1]
    for found in (folder.parent / "shards", folder.parent.parent / "shards"):
        if (found / MANIFEST).is_file():
            return found, opened(found)
    raise DataError(f"there is no text to learn from: give --data FILE, or keep the run's shards beside '{folder}'")


def _held_out(shards: Path, tokenizer: Tokenizer, window: int) -> HeldOut:
    """Windows of held-out documents, of a built-in text where none were held out."""
    from qig_edge.convert import verify

    windows = verify._from_shards(shards, window, tokenizer)
    if windows:
        return verify.HeldOut(windows, "held-out documents")
    ids = tokenizer.encode(verify.PLAIN_TEXT, add_special_tokens=False).ids
    return verify.HeldOut(verify._cut(ids, window), "built-in text")


def _of(model: Kernel) -> Callable[[list[int]], np.ndarray]:
    def logits(ids: list[int]) -> np.ndarray:
        import torch

        with torch.inference_mode():
            return model(torch.tensor([ids])).logits[0].numpy()

    return logits


def _session(session: Any) -> Callable[[list[int]], np.ndarray]:
    def logits(ids: list[int]) -> np.ndarray:
        if session.pos:
            session.rollback(0)
        found: np.ndarray = session.eval_all(ids)
        return found

    return logits


def _in_llama_cpp(path: Path, held_out: HeldOut, tokenizer: Tokenizer, window: int) -> float:
    """Bits per byte of the file in stock llama.cpp, NaN without the extra."""
    from qig_edge.errors import MissingExtra
    from qig_edge.runtime.llama import LlamaModel

    try:
        model = LlamaModel(path)
    except MissingExtra:
        return math.nan
    with model, model.session(n_ctx=window, n_threads=1 if model.info.n_params < 20_000_000 else 0) as session:
        return _bits(_session(session), held_out, tokenizer)


def _bits(logits_of: Callable[[list[int]], np.ndarray], held_out: HeldOut, tokenizer: Tokenizer) -> float:
    """Bits per byte of the windows' texts."""
    import numpy as np

    nats, n_bytes = 0.0, 0
    for window in held_out.windows:
        logits = logits_of(window[:-1]).astype(np.float64)
        top = logits.max(-1)
        nats += float((np.log(np.exp(logits - top[:, None]).sum(-1)) + top - logits[np.arange(len(logits)), window[1:]]).sum())
        n_bytes += len(tokenizer.decode(window[1:], skip_special_tokens=True).encode())
    return nats / math.log(2) / max(n_bytes, 1)


def _table(name: str, recipe: Recipe, facts: dict[str, Any], found: dict[str, float]) -> list[str]:
    def against(key: str) -> str:
        return "not measured" if math.isnan(found[key]) else f"{found[key]:.4f} ({found[key] / found['teacher'] - 1:+.2%})"

    rows = [
        ("student", f"{name}-llama (arcee), {facts['parameters'] / 1e6:.2f}M parameters; teacher {facts['teacher_parameters'] / 1e6:.2f}M"),
        ("learnt on", f"{facts['tokens']:,} tokens"),
        ("attention", f"KL of a row {facts['rows_kl'][0]:.3g} -> {facts['rows_kl'][1]:.3g} nats"),
        ("next word", f"KL {facts['words_kl'][0]:.3g} -> {facts['words_kl'][1]:.3g} nats"),
        ("bits per byte", f"teacher {found['teacher']:.4f}, {facts['text']}"),
        ("  copied", against("copied")),
        ("  rows learnt", against("rows")),
        ("  words learnt", against("words")),
        ("  libqig", f"{against('libqig')}, {recipe.what}"),
        ("  llama.cpp", f"{against('llama.cpp')}, {recipe.what}"),
        ("size", f"{facts['file_bytes'] / 1e6:.2f} MB, {facts['bits_per_weight']:.2f} bits a weight"),
    ]
    return [f"{key:<16}{value}" for key, value in rows]
