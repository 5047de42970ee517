"""A GGUF file in another type, through llama.cpp's own quantizer (extra `llama`), and what that costs on text.

The quantizer runs in a process of its own: a call into llama.cpp can neither be interrupted nor be kept from ending the process it runs in.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import math
import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.convert.verify import PLAIN_TEXT, WINDOW
from qig_edge.errors import CheckpointError, ConfigError, DataError, ModelFileError, UnsupportedModel
from qig_edge.runtime.gguf_keys import architecture
from qig_edge.runtime.llama_library import library
from qig_edge.runtime.native import NativeModel

if TYPE_CHECKING:
    import numpy as np

    from qig_edge.runtime.llama import LlamaModel

# type of the matrices, as gguf.LlamaFileType names it, and of embedding and head, as gguf.GGMLQuantizationType does
KINDS = {
    "q4": ("MOSTLY_Q4_0", "Q8_0"),
    "q8": ("MOSTLY_Q8_0", "Q8_0"),
    "f16": ("MOSTLY_F16", "F16"),
    "f32": ("ALL_F32", "F32"),
}
WHOLE = ("F32", "F16", "BF16")  # types whose weights were not rounded to blocks
SMALL = 20_000_000  # parameters
MOST_TOKENS = 1024  # of the comparison
COUNTED = re.compile(rb"\[\s*(\d+)/\s*(\d+)\]")


@dataclasses.dataclass(frozen=True)
class Cost:
    """kl: mean KL(source || result) in nats a token; top1: share of positions with the same likeliest token; tokens: positions compared."""

    text: str
    tokens: int
    kl: float
    top1: float
    source_bits_per_byte: float
    result_bits_per_byte: float


def check_source(path: Path) -> str:
    """The file's architecture. Raises ModelFileError for a file that is damaged or no GGUF file, ConfigError for a QIG or Jarvis model."""
    with contextlib.suppress(UnsupportedModel):
        NativeModel(path).close()  # it checks what a file claims, before llama.cpp trusts it
    kind = architecture(path)
    if kind is None:
        raise ModelFileError(f"{path}: it does not say which architecture it is of")
    if kind in ("qig", "jarvis-quantum"):
        name = "QIG" if kind == "qig" else "Jarvis"
        raise ConfigError(f"'{path}' is a {name} model, which llama.cpp does not know: it is converted from its checkpoint, 'qig-edge convert DIR'")
    return kind


def quantize(source: Path, target: Path, kind: str, progress: Callable[[int, int], None] | None = None) -> None:
    """Writes `target`, left incomplete where an error is raised (the caller gives a partial file's name). kind: one of KINDS.

    progress(done, total) counts tensors. Raises MissingExtra without llama-cpp-python, CheckpointError where llama.cpp fails.
    """
    library("quantizing a GGUF file")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(False)
    process = context.Process(target=_work, args=(str(source), str(target), kind, theirs), daemon=True)
    process.start()
    theirs.close()
    why = "llama.cpp ended without a word"
    try:
        with contextlib.suppress(EOFError):
            while True:
                told = ours.recv()
                if isinstance(told, tuple):
                    if progress:
                        progress(*told)
                else:
                    why = told
                    break
        process.join()
    finally:
        process.kill()
        process.join()
        ours.close()
    if why or process.exitcode:
        raise CheckpointError(f"llama.cpp does not quantize '{source}': {why or f'it ended with {process.exitcode}'}; nothing was left")
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _work(source: str, target: str, kind: str, out: Connection) -> None:
    """The other process: sends (done, total) tensors, then why it failed, empty where it did not."""
    import gguf

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent kills it
    lib = library("quantizing a GGUF file")

    def count(level: int, text: bytes, data: object) -> None:
        found = COUNTED.match(text)
        if found:
            out.send((int(found[1]), int(found[2])))
        elif level >= 3:  # warnings, errors
            told.append(text.decode("utf-8", "replace").strip())

    told: list[str] = []
    callback = lib.llama_log_callback(count)
    lib.llama_log_set(callback, ctypes.c_void_p(0))
    params = lib.llama_model_quantize_default_params()
    matrices, words = KINDS[kind]
    params.ftype = int(gguf.LlamaFileType[matrices])
    params.token_embedding_type = params.output_tensor_type = int(gguf.GGMLQuantizationType[words])
    params.allow_requantize = True
    params.nthread = 0
    failed = lib.llama_model_quantize(os.fsencode(source), os.fsencode(target), ctypes.byref(params))
    reason = next((line.partition(": ")[2] or line for line in reversed(told) if line), "no reason given")
    out.send(reason[:300] if failed else "")


def cost(source: LlamaModel, result: LlamaModel, text: Path | None, progress: Callable[[int, int], None] | None = None) -> Cost:
    """Both on the same windows of a text (None: a built-in one), in llama.cpp; progress(done, total) counts tokens.

    Raises DataError for a text that cannot be read or is too short, ModelFileError where the result's logits are no finite numbers.
    """
    import numpy as np

    ids = source.tokenize(_read(text))[:MOST_TOKENS]
    if len(ids) < 2:
        raise DataError(f"text '{text}' is too short to compare on: {len(ids)} tokens")
    window = min(WINDOW, source.info.context_length)
    # llama.cpp's threads wait for each other in a loop: with small products longer than they compute
    threads = 1 if source.info.n_params < SMALL else 0
    kl = same = n_bytes = 0.0
    nats = [0.0, 0.0]
    with source.session(n_ctx=window, n_threads=threads) as before, result.session(n_ctx=window, n_threads=threads) as after:
        for at in range(0, len(ids) - 1, window):
            inputs, targets = ids[at : at + window], ids[at + 1 : at + window + 1]
            inputs = inputs[: len(targets)]
            rows = []
            for session in (before, after):
                session.rollback(0)
                rows.append(_log_softmax(session.eval_all(inputs)))
            p, q = rows
            if not np.isfinite(q).all():
                raise ModelFileError("the result computes logits that are not finite: it is not kept")
            kl += float((np.exp(p) * (p - q)).sum())
            same += int((p.argmax(-1) == q.argmax(-1)).sum())
            for i, row in enumerate(rows):
                nats[i] -= float(row[np.arange(len(targets)), targets].sum())
            n_bytes += len(source.detokenize(targets))
            if progress:
                progress(at + len(inputs), len(ids) - 1)
    per_byte, n = math.log(2) * max(n_bytes, 1.0), len(ids) - 1
    return Cost(str(text) if text else "built-in text", n, kl / n, same / n, nats[0] / per_byte, nats[1] / per_byte)


def _read(text: Path | None) -> str:
    if text is None:
        return PLAIN_TEXT
    try:
        return text.read_text("utf-8")
    except OSError as e:
        raise DataError(f"text '{text}': {e.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"text '{text}' is not UTF-8") from None


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """In float64."""
    import numpy as np

    x = logits.astype(np.float64)
    x -= x.max(-1, keepdims=True)
    x -= np.log(np.exp(x).sum(-1, keepdims=True))
    return x

