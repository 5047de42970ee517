"""libqig by ctypes: NativeModel and NativeSession over the prototypes of kernels/include/qig.h.

    with NativeModel("model.gguf") as model, model.session() as session:
        session.eval(model.tokenize("Once upon a time"))
        session.logits()            # float32[vocab]

ctypes releases the interpreter lock during a call, so other threads run while a session evaluates.
"""

from __future__ import annotations

import ctypes as ct
import dataclasses
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.config import MAX_DRAFT
from qig_edge.errors import ConfigError, ModelFileError, RuntimeFault, SessionFileError, UnsupportedModel
from qig_edge.runtime.backend import ROLES, CacheReads, ContextFull, Sampling, Speculation, Telemetry
from qig_edge.runtime.prototypes import (
    CCacheReads,
    CModelInfo,
    CSamplerParams,
    CSessionParams,
    CSpeculationStats,
    CTelemetry,
    CTensorInfo,
    library,
)

if TYPE_CHECKING:
    import numpy as np

ERRLEN = 512
DRAFT_AUTO = -1
CACHE_TYPES = {"auto": 0, "f32": 1, "i8": 2}
ERR_IO, ERR_FORMAT, ERR_UNSUPPORTED, ERR_CONTEXT_FULL = -2, -3, -4, -6


def isa_list() -> list[str]:
    """Kernel sets that this build and CPU can run, best first."""
    return library().qig_isa_list().decode().split(",")


def read_bandwidth(n_bytes: int, n_threads: int = 1, rounds: int = 3) -> float:
    """Sequential read bandwidth of a buffer of n_bytes, bytes a second, best of rounds. Raises RuntimeFault when memory does not suffice."""
    rate = float(library().qig_read_bandwidth(n_bytes, n_threads, rounds))
    if not rate > 0:
        raise RuntimeFault(f"a buffer of {n_bytes} bytes to measure read bandwidth could not be allocated")
    return rate


def utf8_whole(data: bytes) -> int:
    """Length of the longest prefix of data that ends on a whole UTF-8 character (invalid bytes count as whole)."""
    return int(library().qig_utf8_whole(data, len(data)))


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What an opened file holds. Sizes in units or bytes as named; draft_lag: tokens in a row that its draft can guess (0: it has none); isa is the
    kernel set chosen, file_type the dominant type of its matrices."""

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    hidden_dim: int
    basin_dim: int
    head_rank: int
    context_length: int
    draft_lag: int
    n_params: int
    file_bytes: int
    weight_bytes: int
    architecture: str
    name: str
    isa: str
    file_type: str


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One tensor of the file; shape in the file's order (the contiguous dimension first), offset and bytes from the start of the file."""

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    bytes: int


class NativeModel:
    """A GGUF file opened by libqig: mapped read-only, shared by its sessions, closed by close() or at the end of a with block.

    isa: "auto" or one of isa_list(). settings: numbers of the file to override, by key (qig_model_set in qig.h), in their order.
    Raises ModelFileError for a file that is missing or damaged, UnsupportedModel for one that is not run, ConfigError for a bad isa or setting.
    """

    def __init__(
        self, path: str | os.PathLike[str], isa: str = "auto", settings: Mapping[str, str] | None = None
    ) -> None:
        self.path = Path(path)
        self._handle: int | None = None
        self._sessions: weakref.WeakSet[NativeSession] = weakref.WeakSet()
        self._lib = library()
        if not self.path.exists():
            raise ModelFileError(f"{self.path}: no such model file")
        if self.path.is_dir():
            raise ModelFileError(
                f"{self.path}: is a folder, a GGUF file is needed; a checkpoint becomes one with 'qig-edge convert'"
            )
        available = isa_list()
        if isa not in ("auto", *available):
            raise ConfigError(f"isa = '{isa}' must be one of auto, {', '.join(available)} on this machine")
        handle, err = ct.c_void_p(), ct.create_string_buffer(ERRLEN)
        status = self._lib.qig_model_open(os.fsencode(self.path), isa.encode(), ct.byref(handle), err, ERRLEN)
        if status:
            message = _message(err, status)
            if str(self.path) not in message:
                message = f"{self.path}: {message}"
            if status == ERR_UNSUPPORTED:
                raise UnsupportedModel(message)
            raise (ModelFileError if status in (ERR_IO, ERR_FORMAT) else RuntimeFault)(message)
        self._handle = handle.value
        for key, value in (settings or {}).items():
            if self._lib.qig_model_set(self.handle, key.encode(), value.encode(), err, ERRLEN):
                self.close()
                raise ConfigError(_message(err, 0))
        raw = CModelInfo()
        self._lib.qig_model_get_info(self.handle, ct.byref(raw))
        self.info = ModelInfo(**{n: _text(getattr(raw, n)) for n, *_ in CModelInfo._fields_})
        bos, eot = self._lib.qig_token_bos(self.handle), self._lib.qig_token_eot(self.handle)
        self.bos: int | None = bos if bos >= 0 else None
        self.eos: int = self._lib.qig_token_eos(self.handle)
        self.eot: int | None = eot if eot >= 0 else None
        self.turn_end: list[int] = (
            [] if eot < 0 else self._ids(8, lambda out, cap: self._lib.qig_chat_end(self.handle, out, cap))
        )

    @property
    def handle(self) -> int:
        """The qig_model pointer; raises RuntimeFault after close()."""
        if self._handle is None:
            raise RuntimeFault("the model is closed")
        return self._handle

    def close(self) -> None:
        """Closes what sessions are left and unmaps the file; closing twice is allowed."""
        handle, self._handle = self._handle, None
        if handle is not None:
            for session in list(self._sessions):
                session.close()
            self._lib.qig_model_close(handle)

    def __enter__(self) -> NativeModel:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    def tensors(self) -> list[TensorInfo]:
        """Every tensor of the file, in its order."""
        out, raw = [], CTensorInfo()
        for i in range(self._lib.qig_model_tensor_count(self.handle)):
            _check(self._lib.qig_model_tensor(self.handle, i, ct.byref(raw)), None)
            out.append(
                TensorInfo(raw.name.decode(), raw.type.decode(), tuple(raw.ne[: raw.n_dims]), raw.offset, raw.bytes)
            )
        return out

    def tensor_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(t.bytes for t in self.tensors())

    @property
    def decides(self) -> bool:
        """Whether the model decides token by token what it computes: regimes, exits, routing, recursion."""
        if self.metadata("qig.regime.on_breakdown") or self.metadata("qig.exit.rule"):
            return True
        return any(t.name.startswith("integrator.") or ".ffn_route." in t.name for t in self.tensors())

    def settings(self) -> dict[str, list[float]]:
        """The settings in force by key, of those that the model has: a number each, more where exits differ."""
        values, n = ct.POINTER(ct.c_float)(), ct.c_int32()
        out: dict[str, list[float]] = {}
        while key := self._lib.qig_model_setting(self.handle, len(out), ct.byref(values), ct.byref(n)):
            out[key.decode()] = values[: n.value]
        return out

    def metadata(self, key: str) -> str | None:
        """String metadata by key ("tokenizer.chat_template"), None where it is absent or no string."""
        n = ct.c_size_t()
        pointer = self._lib.qig_model_meta_str(self.handle, key.encode(), ct.byref(n))
        return ct.string_at(pointer, n.value).decode("utf-8", "replace") if pointer else None

    def tokenize(self, text: str | bytes, *, parse_special: bool = False) -> list[int]:
        """Token ids of a text (any bytes). parse_special: control tokens in the text are recognised; never set it for what a user typed."""
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        return self._ids(
            len(data) + 1,
            lambda out, cap: self._lib.qig_tokenize(self.handle, data, len(data), int(parse_special), out, cap),
        )

    def chat_turn(self, role: str, content: str | None, *, first: bool = False) -> list[int]:
        """One chat turn as tokens; content None: the header alone; first: nothing stands before it but `bos`.

        Raises ConfigError for an unknown role, RuntimeFault without a chat format.
        """
        if role not in ROLES:
            raise ConfigError(f"role = '{role}' must be one of {', '.join(ROLES)}")
        if self.eot is None:
            raise RuntimeFault(f"{self.path}: this model has no chat format; use 'qig-edge generate'")
        data = None if content is None else content.encode("utf-8", "surrogatepass")
        n = len(data or b"")
        return self._ids(
            n + 16,
            lambda out, cap: self._lib.qig_chat_turn(self.handle, role.encode(), data, n, int(first), out, cap),
        )

    def _ids(self, cap: int, call: Callable[[Any, int], int]) -> list[int]:
        """Runs a call that writes ids, again with a larger buffer where the first was too small."""
        while True:
            out = (ct.c_int32 * cap)()
            n = call(out, cap)
            if n < 0:
                _check(int(n), None)
            if n <= cap:
                return out[:n]
            cap = n

    def token_bytes(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token, maybe part of a UTF-8 character; control tokens are empty unless special."""
        if not 0 <= token < self.info.vocab_size:
            raise RuntimeFault(f"token = {token} must be in [0, {self.info.vocab_size})")
        n = ct.c_size_t()
        pointer = self._lib.qig_token_bytes(self.handle, token, int(special), ct.byref(n))
        return ct.string_at(pointer, n.value) if pointer else b""

    def detokenize(self, tokens: Sequence[int], *, special: bool = False, whole: bool = False) -> bytes:
        """The bytes of tokens, joined. whole: they are a text from its beginning, where the tokenizer may have put a space, which goes again."""
        data = b"".join(self.token_bytes(int(t), special=special) for t in tokens)
        return data[1:] if whole and self._lib.qig_space_prefix(self.handle) and data.startswith(b" ") else data

    def session(
        self,
        *,
        n_ctx: int = 0,
        n_threads: int = 0,
        n_threads_batch: int = 0,
        n_batch: int = 0,
        cache_type: str = "auto",
        prompt_telemetry: bool = False,
        all_keys: bool = False,
    ) -> NativeSession:
        """A fresh timeline; arguments as NativeSession."""
        return NativeSession(
            self,
            n_ctx=n_ctx,
            n_threads=n_threads,
            n_threads_batch=n_threads_batch,
            n_batch=n_batch,
            cache_type=cache_type,
            prompt_telemetry=prompt_telemetry,
            all_keys=all_keys,
        )


class NativeSession:
    """One mutable timeline of a NativeModel; belongs to one thread at a time and keeps its model alive.

    n_ctx: positions, 0 for the model's context length; n_threads: for decode, which is every pass of up to 9 tokens; n_threads_batch: for larger
    passes, 0: as n_threads where that is given. Other counts of 0 are found by trial on the first passes, at a cost of at most 5% of their time,
    beginning with the big cores, at most 4 for decode and 8 for larger passes; floats do not depend on it. n_batch: tokens a pass of prefill, 0: 128;
    cache_type "auto" (F32 for an all-F32 file, else I8), "f32" or "i8"; prompt_telemetry: surprise and confidence are measured inside prompts
    too (else they are NaN there), at the price of the head for every token; all_keys: keys are read also where the gate certainly cuts them (the
    same floats, for measuring).
    Raises ConfigError for an unknown cache type, RuntimeFault for values out of range or where memory does not suffice.
    """

    def __init__(
        self,
        model: NativeModel,
        *,
        n_ctx: int = 0,
        n_threads: int = 0,
        n_threads_batch: int = 0,
        n_batch: int = 0,
        cache_type: str = "auto",
        prompt_telemetry: bool = False,
        all_keys: bool = False,
    ) -> None:
        self._handle: int | None = None
        self._lib, self.model, self._speculates = library(), model, False
        if cache_type not in CACHE_TYPES:
            raise ConfigError(f"cache_type = '{cache_type}' must be one of {', '.join(CACHE_TYPES)}")
        params = CSessionParams(
            n_ctx, n_threads, n_threads_batch, n_batch, CACHE_TYPES[cache_type], int(prompt_telemetry), int(all_keys)
        )
        handle, self._err = ct.c_void_p(), ct.create_string_buffer(ERRLEN)
        _check(
            self._lib.qig_session_new(model.handle, ct.byref(params), ct.byref(handle), self._err, ERRLEN), self._err
        )
        self._handle = handle.value
        model._sessions.add(self)

    @property
    def handle(self) -> int:
        """The qig_session pointer; raises RuntimeFault after close()."""
        if self._handle is None:
            raise RuntimeFault("the session is closed")
        return self._handle

    def close(self) -> None:
        """Frees the session and every view of its logits; closing twice is allowed."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._lib.qig_session_free(handle)

    def __enter__(self) -> NativeSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()

    @property
    def pos(self) -> int:
        """Tokens evaluated so far."""
        return int(self._lib.qig_session_pos(self.handle))

    @property
    def n_ctx(self) -> int:
        """Positions there are."""
        return int(self._lib.qig_session_n_ctx(self.handle))

    @property
    def n_threads(self) -> int:
        """Threads that decode: as given, else as they stand now."""
        return int(self._lib.qig_session_n_threads(self.handle))

    @property
    def n_threads_batch(self) -> int:
        """Threads of passes of more than 9 tokens: as given, else as they stand now."""
        return int(self._lib.qig_session_n_threads_batch(self.handle))

    @property
    def cache_bytes(self) -> int:
        """Bytes of the key/value cache."""
        return int(self._lib.qig_session_cache_bytes(self.handle))

    @property
    def tokens(self) -> np.ndarray:
        """int32[pos], a copy of the history."""
        import numpy as np

        n = self.pos
        return np.array(self._lib.qig_session_tokens(self.handle)[:n] if n else [], dtype=np.int32)

    def eval(self, tokens: Sequence[int] | np.ndarray) -> None:
        """Evaluates tokens after the present position. Raises ContextFull where they do not fit; on an error nothing was evaluated."""
        ids, n = _id_array(tokens)
        _check(self._lib.qig_session_eval(self.handle, ids, n, None, self._err, ERRLEN), self._err)

    def eval_all(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """As eval, and returns every row of logits: float32[n, vocab]."""
        import numpy as np

        ids, n = _id_array(tokens)
        out = np.empty((n, self.model.info.vocab_size), dtype=np.float32)
        _check(self._lib.qig_session_eval(self.handle, ids, n, out.ctypes.data, self._err, ERRLEN), self._err)
        return out

    def logits(self) -> np.ndarray:
        """float32[vocab] after the last token, a read-only view that the next eval overwrites and close() ends: copy what must last."""
        import numpy as np

        pointer = self._lib.qig_session_logits(self.handle)
        if not pointer:
            raise RuntimeFault("there are no logits before the first eval")
        view = np.ctypeslib.as_array((ct.c_float * self.model.info.vocab_size).from_address(pointer))
        view.flags.writeable = False
        return view

    def set_sampler(self, sampling: Sampling) -> None:
        """Sets how sample() draws and seeds it anew."""
        params = CSamplerParams(**dataclasses.asdict(sampling))
        _check(self._lib.qig_session_set_sampler(self.handle, ct.byref(params), self._err, ERRLEN), self._err)

    def sample(self) -> int:
        """A token drawn from the last logits; it is not evaluated."""
        token = ct.c_int32()
        _check(self._lib.qig_session_sample(self.handle, ct.byref(token), self._err, ERRLEN), self._err)
        return token.value

    def set_speculation(self, draft_len: int) -> None:
        """How many tokens next_tokens() drafts a round: 0 none (so it begins), 1 to MAX_DRAFT, DRAFT_AUTO: as many as pay. Counts begin anew.

        Greedy text does not depend on it; sampled text has the same distribution, and for a seed is the same with every length of at least 1,
        but with DRAFT_AUTO depends on measured time. Raises ConfigError for
        another length, or one of at least 1 where the model has no drafts.
        """
        if self._lib.qig_session_set_speculation(self.handle, draft_len, self._err, ERRLEN):
            raise ConfigError(_message(self._err, 0))
        self._speculates = bool(self._speculation().active)

    @property
    def speculates(self) -> bool:
        """Whether next_tokens() may draft."""
        return self._speculates

    def next_tokens(self, most: int = MAX_DRAFT + 1) -> list[int]:
        """Draws the next tokens, at most `most`, and evaluates them; an end of text or turn comes alone and is not evaluated.

        Raises ContextFull without room for one token.
        """
        cap = min(most, MAX_DRAFT + 1)
        out, n = (ct.c_int32 * max(cap, 1))(), ct.c_int32()
        _check(self._lib.qig_session_next(self.handle, out, cap, ct.byref(n), self._err, ERRLEN), self._err)
        return out[: n.value]

    def speculation(self) -> Speculation:
        """What next_tokens() has done since set_speculation()."""
        raw = self._speculation()
        return Speculation(**{f.name: getattr(raw, f.name) for f in dataclasses.fields(Speculation)})

    def _speculation(self) -> CSpeculationStats:
        raw = CSpeculationStats()
        self._lib.qig_session_speculation(self.handle, ct.byref(raw))
        return raw

    def telemetry(self, pos: int) -> Telemetry:
        """The record of the token at position pos. Raises RuntimeFault where there is none."""
        raw = CTelemetry()
        if self._lib.qig_session_telemetry(self.handle, pos, ct.byref(raw)):
            raise RuntimeFault(f"there is no telemetry at position {pos}: the session holds {self.pos} tokens")
        return Telemetry(**{n: getattr(raw, n) for n, *_ in CTelemetry._fields_})

    def cache_reads(self, pos: int) -> CacheReads:
        """What the token at position pos read of the cache. Raises RuntimeFault where there is none."""
        raw = CCacheReads()
        if self._lib.qig_session_cache_reads(self.handle, pos, ct.byref(raw)):
            raise RuntimeFault(f"there is no record at position {pos}: the session holds {self.pos} tokens")
        return CacheReads(**{n: getattr(raw, n) for n, *_ in CCacheReads._fields_})

    def rollback(self, pos: int) -> None:
        """Forgets everything from position pos on, sampler state and telemetry included."""
        _check(self._lib.qig_session_rollback(self.handle, pos, self._err, ERRLEN), self._err)

    def slide(self, n_keep: int, n_tail: int) -> None:
        """Keeps the first n_keep and the last n_tail tokens and evaluates them anew."""
        _check(self._lib.qig_session_slide(self.handle, n_keep, n_tail, self._err, ERRLEN), self._err)

    def save(self, path: str | os.PathLike[str], note: bytes = b"") -> None:
        """Writes all of the session to a file, with a note of the caller's of at most 64 MiB: whole, or the file is as it was.

        Raises SessionFileError where it cannot be written.
        """
        if self._lib.qig_session_save(self.handle, os.fsencode(path), note, len(note), self._err, ERRLEN):
            raise SessionFileError(_message(self._err, 0))

    def load(self, path: str | os.PathLike[str]) -> bytes:
        """Becomes the session that was saved, and returns the note that was saved with it.

        The sampler's random numbers go on as the saved ones; its parameters and the draft length stay this session's. Raises SessionFileError for a
        file that is damaged, of another model file, settings or cache type, or longer than the context; the session is then as it was.
        """
        if self._lib.qig_session_load(self.handle, os.fsencode(path), self._err, ERRLEN):
            raise SessionFileError(_message(self._err, 0))
        n = ct.c_size_t()
        pointer = self._lib.qig_session_note(self.handle, ct.byref(n))
        return ct.string_at(pointer, n.value)


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ("" if value is None else value)


def _message(err: Any, status: int) -> str:
    return (
        err.value.decode("utf-8", "replace") if err is not None else ""
    ) or f"libqig refused the call (status {status})"


def _check(status: int, err: Any) -> None:
    if status:
        raise (ContextFull if status == ERR_CONTEXT_FULL else RuntimeFault)(_message(err, status))


def _id_array(tokens: Sequence[int] | np.ndarray) -> tuple[Any, int]:
    n = len(tokens)
    try:
        return (ct.c_int32 * n)(*(int(t) for t in tokens)), n
    except (TypeError, ValueError) as e:
        raise RuntimeFault(f"tokens must be integers: {e}") from None
