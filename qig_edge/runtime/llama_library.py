"""llama.cpp through llama-cpp-python's C interface: the module, silent, with what it last complained of kept for error messages."""

from __future__ import annotations

import ctypes
from typing import Any

from qig_edge.errors import MissingExtra

ERROR, CONTINUED = 4, 5  # ggml_log_level
_complaints: list[str] = []
_callback: Any = None  # llama.cpp keeps the pointer: the object has to live as long as the process


def library(what: str) -> Any:
    """The module llama_cpp; what: for the message of MissingExtra, which is raised without it."""
    try:
        import llama_cpp
    except ImportError:
        raise MissingExtra(what, "llama") from None
    global _callback
    if _callback is None:
        _callback = llama_cpp.llama_log_callback(_note)
        llama_cpp.llama_log_set(_callback, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
    return llama_cpp


def _note(level: int, text: bytes, data: object) -> None:
    if level == ERROR:
        _complaints.append(text.decode("utf-8", "replace").strip())
    elif level == CONTINUED and _complaints:
        _complaints[-1] += text.decode("utf-8", "replace").rstrip()
    del _complaints[:-16]


def complaint() -> str:
    """The first thing that llama.cpp complained of since the last call, ": " before it; empty where it said nothing."""
    told = [line.partition(": ")[2] or line for line in _complaints if line]
    _complaints.clear()
    return f": {told[0][:300]}" if told else ""
