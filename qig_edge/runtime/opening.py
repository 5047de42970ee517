"""Opens a model by what its path is: a GGUF file in libqig, or in llama.cpp where its architecture is one that libqig does not run; an ONNX folder
in onnxruntime.

libqig reads every GGUF file first, unless it is told not to: it checks what a file claims before anything uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from qig_edge.errors import ConfigError, UnsupportedModel
from qig_edge.runtime.gguf_keys import architecture
from qig_edge.runtime.llama import LlamaModel, LlamaSession
from qig_edge.runtime.native import DRAFT_AUTO, NativeModel, NativeSession
from qig_edge.runtime.onnx_model import OnnxModel, is_onnx
from qig_edge.runtime.onnx_session import OnnxSession

BACKENDS = ("auto", "native", "llama")
NATIVE = ("qig", "llama", "arcee", "jarvis-quantum")  # architectures that libqig runs
STOCK = {  # of those, the ones that llama.cpp does not run, and what makes of their checkpoint a file that it runs
    "qig": "--distil llama",
    "jarvis-quantum": "--layout gpt2",
}

OpenedModel: TypeAlias = NativeModel | LlamaModel | OnnxModel
OpenedSession: TypeAlias = NativeSession | LlamaSession | OnnxSession


def open_model(
    path: Path, isa: str = "auto", settings: Mapping[str, str] | None = None, backend: str = "auto"
) -> OpenedModel:
    """The model at `path`. backend, of a GGUF file: "native" is libqig, "llama" llama.cpp, "auto" libqig for its own architectures and llama.cpp
    for others. An ONNX folder goes with "auto" alone.

    isa and settings are libqig's. Raises ConfigError for another backend, and where another engine than libqig is given an isa or a setting;
    UnsupportedModel where libqig refuses what a file asks for, also with "auto": nothing is run elsewhere unasked; and what the back ends raise.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"--backend '{backend}' must be one of {', '.join(BACKENDS)}")
    if is_onnx(path):
        if backend != "auto":
            raise ConfigError(f"--backend {backend} is for GGUF files: onnxruntime runs the ONNX model '{path}'")
        if settings:
            raise ConfigError(f"--set {next(iter(settings))}: the thresholds of an ONNX model are part of its graph; a GGUF file's can be set")
        if isa != "auto":
            raise ConfigError(f"--isa {isa} chooses kernels of libqig: an ONNX model goes without")
        return OnnxModel(path)
    if backend != "llama":
        try:
            return NativeModel(path, isa, settings)
        except UnsupportedModel as e:
            kind = architecture(path)
            if backend == "native" or kind is None or kind in STOCK:
                raise
            if kind in NATIVE:
                raise UnsupportedModel(f"{e}; llama.cpp may run it: --backend llama") from None
    elif path.is_file() and (kind := architecture(path)) in STOCK:
        raise ConfigError(
            f"--backend llama: llama.cpp does not run '{path}' (architecture {kind}); 'qig-edge convert DIR {STOCK[kind]}' makes a model that it runs"
        )
    if settings:
        raise ConfigError(f"--set {next(iter(settings))} changes a threshold of libqig: a model in llama.cpp has none")
    if isa != "auto":
        raise ConfigError(f"--isa {isa} chooses kernels of libqig: a model in llama.cpp goes without")
    return LlamaModel(path)


def speculate(session: OpenedSession, draft_len: int) -> None:
    """Sets how many tokens are drafted a round, as NativeSession.set_speculation. Raises ConfigError for a length that the model does not have."""
    if isinstance(session, NativeSession):
        session.set_speculation(draft_len)
    elif draft_len not in (0, DRAFT_AUTO):
        kind = "an ONNX model" if isinstance(session, OnnxSession) else "a model in llama.cpp"
        raise ConfigError(f"--draft {draft_len}: {kind} has no draft (off and auto draw token by token)")
