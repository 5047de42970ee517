"""llama.cpp as an engine to be timed: a model file, one context, tokens in, the last token's logits out. By llama-cpp-python's C interface, so that
no Python of that package stands between the clock and the engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qig_edge.errors import ModelFileError, RuntimeFault
from qig_edge.runtime.llama_library import complaint, library

BATCH = 512  # tokens of one call, llama.cpp's own default


@dataclasses.dataclass(frozen=True)
class Setting:
    """What llama.cpp leaves to its user and what changes its speed."""

    flash_attention: bool
    cache: str  # "f16" or "q8_0"

    def __str__(self) -> str:
        return f"flash attention {'on' if self.flash_attention else 'off'}, {self.cache} cache"


# A quantized cache of values needs flash attention there.
SETTINGS = (Setting(False, "f16"), Setting(True, "f16"), Setting(True, "q8_0"))


class LlamaCpp:
    """A model in llama.cpp with one context for each of several settings; close() frees all of it.

    Raises ModelFileError for a file that it refuses, RuntimeFault where it makes no context.
    """

    def __init__(self, path: Path, n_ctx: int, threads: int, settings: Sequence[Setting] = SETTINGS) -> None:
        self.lib = library("--peer llama.cpp")
        complaint()
        params = self.lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = self.lib.llama_model_load_from_file(str(path).encode(), params)
        if not self._model:
            raise ModelFileError(f"{path}: llama.cpp does not open it{complaint()}")
        self.vocab_size: int = self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(self._model))
        self._contexts: dict[Setting, Any] = {}
        for setting in settings:
            context = self._context(setting, n_ctx, threads)
            if not context:
                self.close()
                raise RuntimeFault(f"{path}: llama.cpp makes no context of {n_ctx} positions with {setting}")
            self._contexts[setting] = context

    def _context(self, setting: Setting, n_ctx: int, threads: int) -> Any:
        kind = {"f16": self.lib.GGML_TYPE_F16, "q8_0": self.lib.GGML_TYPE_Q8_0}[setting.cache]
        params = self.lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, BATCH, BATCH
        params.n_threads = params.n_threads_batch = threads
        params.flash_attn_type = int(setting.flash_attention)
        params.type_k = params.type_v = kind
        params.no_perf = True
        return self.lib.llama_init_from_model(self._model, params)

    def eval(self, setting: Setting, tokens: Sequence[int]) -> None:
        """Evaluates tokens after those that stand there; only the last one's logits are made."""
        context = self._contexts[setting]
        for at in range(0, len(tokens), BATCH):
            part = tokens[at : at + BATCH]
            ids = (self.lib.llama_token * len(part))(*part)
            status = self.lib.llama_decode(context, self.lib.llama_batch_get_one(ids, len(part)))
            if status:
                raise RuntimeFault(f"llama.cpp's llama_decode of {len(part)} tokens returned {status}")
        self.lib.llama_synchronize(context)

    def logits(self, setting: Setting) -> np.ndarray:
        """float32[vocab] of the last token, a copy."""
        pointer = self.lib.llama_get_logits_ith(self._contexts[setting], -1)
        return np.ctypeslib.as_array(pointer, (self.vocab_size,)).copy()

    def pos(self, setting: Setting) -> int:
        """Tokens that stand there."""
        return int(self.lib.llama_memory_seq_pos_max(self.lib.llama_get_memory(self._contexts[setting]), 0)) + 1

    def rollback(self, setting: Setting, pos: int) -> None:
        """Forgets everything from position pos on."""
        self.lib.llama_memory_seq_rm(self.lib.llama_get_memory(self._contexts[setting]), 0, pos, -1)

    def close(self) -> None:
        """Frees contexts and model; closing twice is allowed."""
        for context in self._contexts.values():
            self.lib.llama_free(context)
        self._contexts = {}
        if self._model:
            self.lib.llama_model_free(self._model)
        self._model = None
