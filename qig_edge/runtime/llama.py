"""llama.cpp as a back end: GGUF files of the architectures that libqig does not run, and of those that it does when asked for.

    with LlamaModel("qwen2.gguf") as model, model.session() as session:
        session.eval(model.tokenize("Once upon a time"))
        session.logits()            # float32[vocab]

Needs the extra `llama` (llama-cpp-python), of which the C interface is used. Tokens are drawn as everywhere (docs/formats.md, "Sampling"). Of
telemetry there is what follows from logits: surprise and confidence; what happens inside llama.cpp is not told and NaN. Floats are those of
llama.cpp: they may depend on how a text is split into calls and on the number of threads.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.errors import ConfigError, ModelFileError, RuntimeFault
from qig_edge.runtime.backend import ROLES, Telemetry
from qig_edge.runtime.gguf_keys import architecture
from qig_edge.runtime.llama_library import complaint, library
from qig_edge.runtime.llama_vocabulary import Vocabulary
from qig_edge.runtime.native import ModelInfo
from qig_edge.runtime.timeline import Timeline

if TYPE_CHECKING:
    import numpy as np

STEP = 512  # tokens of one llama_decode
MOST_CONTEXT = 8192  # of the automatic choice: llama.cpp sets the whole cache aside at once
MOST_THREADS = 4  # of the automatic choice, as in libqig
FLAT = 1 / 16  # weight of a new token in the running mean of surprise


class LlamaModel:
    """A GGUF file opened by llama.cpp, shared by its sessions, closed by close() or at the end of a with block.

    Raises MissingExtra without llama-cpp-python, ModelFileError for a file that is missing or that llama.cpp refuses.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._model: Any = None
        self._sessions: weakref.WeakSet[LlamaSession] = weakref.WeakSet()
        if not self.path.is_file():
            raise ModelFileError(f"{self.path}: " + ("is a folder, a GGUF file is needed" if self.path.is_dir() else "no such model file"))
        self.lib = library(f"running {self.path} (architecture {architecture(self.path) or 'unknown'}) in llama.cpp")
        complaint()
        params = self.lib.llama_model_default_params()
        params.n_gpu_layers = 0
        self._model = self.lib.llama_model_load_from_file(os.fsencode(self.path), params)
        if not self._model:
            raise ModelFileError(f"{self.path}: llama.cpp does not open it{complaint()}")
        if not self.lib.llama_model_has_decoder(self._model) or self.lib.llama_model_has_encoder(self._model):
            self.close()
            raise ModelFileError(f"{self.path}: is no model that continues texts (it has an encoder, or no decoder)")
        self._vocabulary = Vocabulary(self.lib, self._model)
        if self._vocabulary.eos < 0:
            self.close()
            raise ModelFileError(f"{self.path}: its vocabulary has no token that ends a text")
        self.info = self._info()
        self.bos, self.eos, self.eot = self._vocabulary.bos, self._vocabulary.eos, self._vocabulary.eot
        self.turn_end: list[int] = self._vocabulary.turn_end

    def _info(self) -> ModelInfo:
        lib, model = self.lib, self._model
        kind = self.metadata("general.architecture") or ""
        heads, width = lib.llama_model_n_head(model), lib.llama_model_n_embd(model)
        head_dim = self.metadata(f"{kind}.attention.key_length")
        return ModelInfo(
            vocab_size=self._vocabulary.size,
            d_model=width,
            n_layers=lib.llama_model_n_layer(model),
            n_heads=heads,
            n_kv_heads=lib.llama_model_n_head_kv(model),
            head_dim=int(head_dim) if head_dim and head_dim.isdecimal() else width // max(1, heads),
            hidden_dim=_whole(self.metadata(f"{kind}.feed_forward_length")),
            basin_dim=0,
            head_rank=0,
            context_length=lib.llama_model_n_ctx_train(model),
            draft_lag=0,
            n_params=lib.llama_model_n_params(model),
            file_bytes=self.path.stat().st_size,
            weight_bytes=lib.llama_model_size(model),
            architecture=kind,
            name=self.metadata("general.name") or self.path.stem,
            isa="llama.cpp",
            file_type=file_type(_whole(self.metadata("general.file_type"), -1)),
        )

    @property
    def handle(self) -> Any:
        """llama.cpp's model; raises RuntimeFault after close()."""
        if self._model is None:
            raise RuntimeFault("the model is closed")
        return self._model

    @property
    def decides(self) -> bool:
        """Whether the model decides token by token what it computes, and tells of it: none does here."""
        return False

    def close(self) -> None:
        """Closes what sessions are left and frees the model; closing twice is allowed."""
        model, self._model = self._model, None
        if model is not None:
            for session in list(self._sessions):
                session.close()
            self.lib.llama_model_free(model)

    def __enter__(self) -> LlamaModel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def metadata(self, key: str) -> str | None:
        """A value of the file by its key, numbers as text too; None where it is absent."""
        return self._vocabulary.metadata(key) if self.handle else None

    def tokenize(self, text: str | bytes, *, parse_special: bool = False) -> list[int]:
        """Token ids of a text. parse_special: control tokens in the text are recognised; never set it for what a user typed."""
        return self._vocabulary.tokenize(text, parse_special) if self.handle else []

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """The bytes of tokens, joined; control tokens are empty unless special. Raises RuntimeFault for one that there is not."""
        return b"".join(self._vocabulary.piece(int(t), special) for t in tokens) if self.handle else b""

    def chat_turn(self, role: str, content: str | None, *, first: bool = False) -> list[int]:
        """One chat turn as tokens; content None: the cue for an answer; first: nothing stands before it but `bos`.

        Raises ConfigError for an unknown role, RuntimeFault without a chat format or where it has no such turn.
        """
        if role not in ROLES:
            raise ConfigError(f"role = '{role}' must be one of {', '.join(ROLES)}")
        if self.eot is None:
            raise RuntimeFault(f"{self.path}: this model has no chat format; use 'qig-edge generate'")
        return self._vocabulary.turn(role, content, first) if self.handle else []

    def session(self, *, n_ctx: int = 0, n_threads: int = 0, n_threads_batch: int = 0) -> LlamaSession:
        """A fresh timeline. n_ctx 0: the model's context length, at most MOST_CONTEXT; n_threads 0: the cores, at most 4; n_threads_batch, of
        prompts, 0: as n_threads.

        Raises RuntimeFault for values out of range, or where llama.cpp has no memory for it.
        """
        if n_ctx < 0:
            raise RuntimeFault(f"n_ctx = {n_ctx} must be at least 0, 0 being the model's context of {self.info.context_length}")
        for name, count in (("n_threads", n_threads), ("n_threads_batch", n_threads_batch)):
            if not 0 <= count <= 256:
                raise RuntimeFault(f"{name} = {count} must be in [0, 256], 0 being automatic")
        threads = n_threads or default_threads()
        session = LlamaSession(self, n_ctx or min(self.info.context_length, MOST_CONTEXT), threads, n_threads_batch or threads)
        self._sessions.add(session)
        return session


class LlamaSession(Timeline):
    """One mutable timeline of a LlamaModel; belongs to one thread at a time. Made by LlamaModel.session()."""

    def __init__(self, model: LlamaModel, n_ctx: int, n_threads: int, n_threads_batch: int) -> None:
        import numpy as np

        super().__init__(n_ctx, model.info.vocab_size, STEP)
        self.model, self._lib = model, model.lib
        self.n_threads, self.n_threads_batch = n_threads, n_threads_batch
        self._context: Any = None
        lib = self._lib
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, STEP, STEP
        params.n_threads, params.n_threads_batch = n_threads, n_threads_batch
        params.no_perf = True
        complaint()
        self._context = lib.llama_init_from_model(model.handle, params)
        if not self._context:
            raise RuntimeFault(f"{model.path}: llama.cpp makes no context of {n_ctx} positions{complaint()}")
        self._memory = lib.llama_get_memory(self._context)
        self._batch = lib.llama_batch_init(STEP, 0, 1)
        self._told = np.full((n_ctx, 3), np.nan)  # surprise, confidence, and the running mean of surprise

    @property
    def cache_bytes(self) -> int:
        """Bytes of what llama.cpp keeps of the positions so far."""
        return int(self._lib.llama_state_seq_get_size(self._context, 0)) if self._context else 0

    def close(self) -> None:
        """Frees the session; closing twice is allowed."""
        context, self._context = self._context, None
        if context is not None:
            self._lib.llama_batch_free(self._batch)
            self._lib.llama_free(context)

    def telemetry(self, pos: int) -> Telemetry:
        """The record of the token at position pos: surprise and confidence; the rest is constant or not told. Raises RuntimeFault where there
        is none."""
        if not 0 <= pos < self._pos:
            raise RuntimeFault(f"there is no telemetry at position {pos}: the session holds {self._pos} tokens")
        surprise, confidence, _ = self._told[pos].tolist()
        nan = float("nan")
        return Telemetry(
            phi=nan,
            surprise=surprise,
            confidence=confidence,
            agency=nan,
            curvature=nan,
            kappa=nan,
            coherence_drift=nan,
            regime=1,
            blocks_run=self.model.info.n_layers,
            bytes_read=nan,
        )

    def rollback(self, pos: int) -> None:
        """Forgets everything from position pos on, sampler state and telemetry included. The token before it is evaluated again, or, with a
        model whose memory cannot be cut, all that stand before."""
        if not self._checked_rollback(pos):
            return
        random, told = self._random, self._told[:pos].copy()
        self._random_at = {p: r for p, r in self._random_at.items() if p < pos}
        again = max(0, pos - 1)
        if again and not self._lib.llama_memory_seq_rm(self._memory, 0, again, -1):
            again = 0
        ids = self._history[again:pos].copy()
        if not again:
            self._clear()
        self._again(again, ids)
        self._told[:pos] = told
        self._random = self._random_at[pos] = random

    @property
    def _closed(self) -> bool:
        return self._context is None

    def _clear(self) -> None:
        self._lib.llama_memory_clear(self._memory, True)

    def _pass(self, ids: np.ndarray, rows: list[np.ndarray] | None) -> None:
        import numpy as np

        n, pos, batch = len(ids), self._pos, self._batch
        batch.n_tokens = n
        for i, token in enumerate(ids.tolist()):
            batch.token[i], batch.pos[i], batch.n_seq_id[i] = token, pos + i, 1
            batch.seq_id[i][0] = 0
            batch.logits[i] = rows is not None or i == n - 1
        complaint()
        status = self._lib.llama_decode(self._context, batch)
        if status:
            raise RuntimeFault(f"llama.cpp failed at {pos} + {n} tokens (status {status}){complaint()}")
        made = n if rows is not None else 1
        pointer = self._lib.llama_get_logits(self._context)
        if not pointer:
            raise RuntimeFault(f"{self.model.path}: llama.cpp makes no logits with this model")
        found = np.ctypeslib.as_array(pointer, (made, self.model.info.vocab_size)).copy()
        if rows is not None:
            rows.append(found)
        self._observe(ids, pos, found if made == n else None, found[-1])
        self._logits = found[-1]
        self._logits.flags.writeable = False
        self._advance(ids)

    def _observe(self, ids: np.ndarray, pos: int, rows: np.ndarray | None, last: np.ndarray) -> None:
        """Surprise and confidence of tokens that came at pos, as docs/formats.md has them: of all where their logits are there (rows), else the
        confidence after the last."""
        import numpy as np

        mean = self._told[pos - 1, 2] if pos else 0.0
        before = None if rows is None else self._logits
        for i, token in enumerate(ids.tolist()):
            surprise, after = np.nan, last if i == len(ids) - 1 else None if rows is None else rows[i]
            if pos + i == 0:
                surprise = 0.0
            elif before is not None:
                p = np.exp(np.float64(before[token]) - _log_sum(before))
                surprise = float(np.sqrt(max(0.0, 1 - np.sqrt(p))))
                mean += (surprise - mean) * FLAT
            purity = np.nan if after is None else np.exp(_log_sum(2 * after) - 2 * _log_sum(after))
            self._told[pos + i] = surprise, purity * (1 - mean), mean
            before = after


def _log_sum(logits: np.ndarray) -> float:
    """ln sum exp."""
    import numpy as np

    top = logits.max()
    return float(top) + float(np.log(np.exp(logits - top).sum(dtype=np.float64)))


def default_threads() -> int:
    """Physical cores that this process may use, at most MOST_THREADS."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(MOST_THREADS, allowed, psutil.cpu_count(logical=False) or allowed))


def file_type(number: int) -> str:
    """ "Q4_0" of a file's general.file_type, as libqig names it; "unknown" of one that gguf does not know."""
    import gguf

    try:
        return gguf.LlamaFileType(number).name.removeprefix("MOSTLY_").removeprefix("ALL_")
    except ValueError:
        return "unknown"


def _whole(text: str | None, otherwise: int = 0) -> int:
    return int(text) if text is not None and text.isdecimal() else otherwise
