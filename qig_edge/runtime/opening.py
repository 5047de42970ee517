"""Opens a model by what its path is: a GGUF file in libqig, an ONNX folder in onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import ConfigError
from qig_edge.runtime.native import DRAFT_AUTO, NativeModel, NativeSession
from qig_edge.runtime.onnx_model import is_onnx

if TYPE_CHECKING:
    from qig_edge.runtime.onnx_model import OnnxModel
    from qig_edge.runtime.onnx_session import OnnxSession


def open_model(path: Path, isa: str = "auto", settings: Mapping[str, str] | None = None) -> NativeModel | OnnxModel:
    """The model at `path`. isa and settings are libqig's; raises ConfigError where an ONNX model is given one, and what the back ends raise."""
    if not is_onnx(path):
        return NativeModel(path, isa, settings)
    if settings:
        raise ConfigError(f"--set {next(iter(settings))}: the thresholds of an ONNX model are part of its graph; a GGUF file's can be set")
    if isa != "auto":
        raise ConfigError(f"--isa {isa} chooses kernels of libqig: an ONNX model goes without")
    from qig_edge.runtime.onnx_model import OnnxModel

    return OnnxModel(path)


def open_session(
    model: NativeModel | OnnxModel, n_ctx: int, n_threads: int, n_threads_batch: int
) -> NativeSession | OnnxSession:
    """A fresh timeline; n_threads_batch: threads that read prompts. onnxruntime has one count for everything: raises ConfigError for two."""
    if isinstance(model, NativeModel):
        return model.session(n_ctx=n_ctx, n_threads=n_threads, n_threads_batch=n_threads_batch)
    check_threads_batch(n_threads, n_threads_batch)
    return model.session(n_ctx=n_ctx, n_threads=n_threads)


def check_threads_batch(n_threads: int, n_threads_batch: int) -> None:
    """Raises ConfigError for two thread counts of an ONNX model."""
    if n_threads_batch not in (0, n_threads):
        raise ConfigError(f"--threads-batch {n_threads_batch}: onnxruntime has one number of threads for everything, give --threads")


def speculate(session: NativeSession | OnnxSession, draft_len: int) -> None:
    """Sets how many tokens are drafted a round, as NativeSession.set_speculation; ONNX models have no drafts. Raises ConfigError for a length
    that the model does not have."""
    if isinstance(session, NativeSession):
        session.set_speculation(draft_len)
    elif draft_len not in (0, DRAFT_AUTO):
        raise ConfigError(f"--draft {draft_len}: an ONNX model has no draft (off and auto draw token by token)")
