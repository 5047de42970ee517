"""Opens a GGUF file in libqig, or in llama.cpp where its architecture is one that libqig does not run.

libqig reads every file first, unless it is told not to: it checks what a file claims before anything uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from qig_edge.errors import ConfigError, UnsupportedModel
from qig_edge.runtime.gguf_keys import architecture
from qig_edge.runtime.llama import LlamaModel, LlamaSession
from qig_edge.runtime.native import DRAFT_AUTO, NativeModel, NativeSession

BACKENDS = ("auto", "native", "llama")
NATIVE = ("qig", "llama", "arcee")  # architectures that libqig runs

OpenedModel: TypeAlias = NativeModel | LlamaModel
OpenedSession: TypeAlias = NativeSession | LlamaSession


def open_model(
    path: Path, isa: str = "auto", settings: Mapping[str, str] | None = None, backend: str = "auto"
) -> OpenedModel:
    """The model at `path`. backend: "native" is libqig, "llama" llama.cpp, "auto" libqig for its own architectures and llama.cpp for others.

    isa and settings are libqig's. Raises ConfigError for another backend, and where llama.cpp is given an isa or a setting; UnsupportedModel
    where libqig refuses what a file asks for, also with "auto": nothing is run elsewhere unasked; and what the back ends raise.
    """
    if backend not in BACKENDS:
        raise ConfigError(f"--backend '{backend}' must be one of {', '.join(BACKENDS)}")
    if backend != "llama":
        try:
            return NativeModel(path, isa, settings)
        except UnsupportedModel as e:
            kind = architecture(path)
            if backend == "native" or kind is None:
                raise
            if kind in NATIVE:
                if kind == "qig":
                    raise
                raise UnsupportedModel(f"{e}; llama.cpp may run it: --backend llama") from None
    elif path.is_file() and architecture(path) == "qig":
        raise ConfigError(
            f"--backend llama: llama.cpp does not run '{path}' (architecture qig); 'qig-edge convert DIR --distil llama' makes a model that it runs"
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
        raise ConfigError(f"--draft {draft_len}: a model in llama.cpp has no draft (off and auto draw token by token)")
