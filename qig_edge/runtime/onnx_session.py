"""One timeline of an ONNX model: caches as onnxruntime's own tensors, so that they are not copied between calls.

The graph takes the state of all tokens before and gives it back grown. It is kept whole at some positions (all but keys and values, which a
position cuts), so that a rollback evaluates a few tokens again instead of all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qig_edge.config import ModelConfig
from qig_edge.errors import RuntimeFault
from qig_edge.runtime import sampler
from qig_edge.runtime.backend import ContextFull, Sampling, Telemetry
from qig_edge.runtime.onnx_names import BATCH, PAST, TELEMETRY, Names

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

STEP = 128  # tokens evaluated together
KEPT_EVERY = 64  # positions, at least, between states that are kept for a rollback


class OnnxSession:
    """One mutable timeline of an OnnxModel; belongs to one thread at a time. Made by OnnxModel.session()."""

    def __init__(
        self,
        engine: onnxruntime.InferenceSession,
        config: ModelConfig,
        names: Names,
        n_ctx: int,
        n_threads: int,
        weight_bytes: int,
    ) -> None:
        import numpy as np

        self._engine: onnxruntime.InferenceSession | None = engine
        self._config, self._names, self._weight_bytes = config, names, weight_bytes
        self.n_ctx, self.n_threads = n_ctx, n_threads
        self.n_threads_batch = n_threads  # onnxruntime has one count for everything
        self._history = np.zeros(n_ctx, np.int32)
        self._pos = 0
        self._logits: np.ndarray | None = None
        whole = ("regime", "blocks_run")
        self._told = {n: np.zeros(n_ctx, np.int32 if n in whole else np.float32) for n in TELEMETRY}
        self._bytes_read = np.zeros(n_ctx, np.int64)
        self._sampling = Sampling.greedy()
        self._random = sampler.seeded(0)
        self._random_at = {0: self._random}  # by position
        self._state: dict[str, Any] = self._start()
        self._kept: dict[int, dict[str, Any]] = {0: self._fixed()}

    @property
    def pos(self) -> int:
        """Tokens evaluated so far."""
        return self._pos

    @property
    def tokens(self) -> np.ndarray:
        """int32[pos], a copy of the history."""
        return self._history[: self._pos].copy()

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys, values and masks at the present position."""
        return sum(v.tensor_size_in_bytes() for n, v in self._state.items() if self._grows(n))

    def close(self) -> None:
        """Frees the session; closing twice is allowed."""
        self._engine = None
        self._state, self._kept = {}, {}

    def __enter__(self) -> OnnxSession:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def eval(self, tokens: Sequence[int] | np.ndarray) -> None:
        """Evaluates tokens after the present position. Raises ContextFull where they do not fit, RuntimeFault for no tokens or a token that
        there is not; then nothing was evaluated."""
        self._evaluate(self._checked(tokens), None)

    def eval_all(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """As eval, and returns every row of logits: float32[n, vocab]."""
        import numpy as np

        rows: list[np.ndarray] = []
        self._evaluate(self._checked(tokens), rows)
        return np.concatenate(rows)

    def logits(self) -> np.ndarray:
        """float32[vocab] after the last token, not to be written to."""
        if self._logits is None:
            raise RuntimeFault("there are no logits before the first eval")
        return self._logits

    def set_sampler(self, sampling: Sampling) -> None:
        """Sets how sample() draws and seeds it anew."""
        self._sampling = sampling
        self._random = self._random_at[self._pos] = sampler.seeded(sampling.seed)

    def sample(self) -> int:
        """A token drawn from the last logits; it is not evaluated."""
        if self._logits is None:
            raise RuntimeFault("nothing to sample from: evaluate a token first")
        token, self._random = sampler.draw(self._sampling, self._logits, self._history[: self._pos], self._random)
        return token

    def telemetry(self, pos: int) -> Telemetry:
        """The record of the token at position pos. Raises RuntimeFault where there is none."""
        if not 0 <= pos < self._pos:
            raise RuntimeFault(f"there is no telemetry at position {pos}: the session holds {self._pos} tokens")
        values = {name: array[pos].item() for name, array in self._told.items()}
        return Telemetry(**values, bytes_read=int(self._bytes_read[pos]))

    def rollback(self, pos: int) -> None:
        """Forgets everything from position pos on, sampler state and telemetry included. The last few tokens are evaluated again."""
        if not 0 <= pos <= self._pos:
            raise RuntimeFault(f"cannot roll back to {pos}: the session is at {self._pos}")
        self._random = self._random_at[max(p for p in self._random_at if p <= pos)]
        if pos == self._pos:
            return
        again = max(p for p in self._kept if p < pos or p == 0)
        ids, self._random_at = self._history[again:pos].copy(), {p: r for p, r in self._random_at.items() if p <= pos}
        self._cut(again)
        self._pos, self._logits, random = again, None, self._random
        if len(ids):
            self._evaluate(ids, None)
        self._random = self._random_at[pos] = random

    def slide(self, n_keep: int, n_tail: int) -> None:
        """Keeps the first n_keep and the last n_tail tokens and evaluates them anew; the sampler's random numbers go on."""
        import numpy as np

        if n_keep < 0 or n_tail < 0 or n_keep + n_tail > self._pos:
            raise RuntimeFault(f"cannot keep {n_keep} + {n_tail} of {self._pos} tokens")
        ids = np.concatenate((self._history[:n_keep], self._history[self._pos - n_tail : self._pos]))
        self._cut(0)
        self._pos, self._logits, self._random_at = 0, None, {0: self._random}
        if len(ids):
            self._evaluate(ids, None)

    def _checked(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        import numpy as np

        if self._engine is None:
            raise RuntimeFault("the session is closed")
        try:
            ids = np.array([int(t) for t in tokens], np.int64)
        except (TypeError, ValueError) as e:
            raise RuntimeFault(f"tokens must be integers: {e}") from None
        if not len(ids):
            raise RuntimeFault("there are no tokens to evaluate")
        bad = (ids < 0) | (ids >= self._config.vocab_size)
        if bad.any():
            raise RuntimeFault(f"token = {ids[bad.argmax()]} must be in [0, {self._config.vocab_size})")
        if self._pos + len(ids) > self.n_ctx:
            raise ContextFull(f"no room for {len(ids)} tokens: {self._pos} of {self.n_ctx} positions are taken")
        return ids

    def _evaluate(self, ids: np.ndarray, rows: list[np.ndarray] | None) -> None:
        start = self._pos
        try:
            for at in range(0, len(ids), STEP):
                self._pass(ids[at : at + STEP], rows)
        except RuntimeFault:
            if self._pos > start:
                self.rollback(start)
            raise

    def _pass(self, ids: np.ndarray, rows: list[np.ndarray] | None) -> None:
        """One call of the graph."""
        import numpy as np
        import onnxruntime

        assert self._engine is not None
        n, pos = len(ids), self._pos
        value = onnxruntime.OrtValue.ortvalue_from_numpy
        feeds = {"input_ids": value(ids.astype(np.int64)[None]), "attention_mask": value(np.ones((1, pos + n), np.int64))}
        try:
            found = self._engine.run_with_ort_values(self._names.outputs, feeds | self._state)
        except Exception as e:  # onnxruntime's own exceptions share no base but this one
            raise RuntimeFault(f"onnxruntime failed: {str(e).strip().splitlines()[0][:300]}") from None
        out = dict(zip(self._names.outputs, found, strict=True))
        logits = out["logits"].numpy()[0]
        if rows is not None:
            rows.append(logits)
        self._logits = logits[-1].copy()
        self._logits.flags.writeable = False
        for name, array in self._told.items():
            array[pos : pos + n] = out[f"telemetry.{name}"].numpy()[0]
        self._state = {name: out[self._names.present(name)] for name in self._names.past}
        self._history[pos : pos + n] = ids
        # every matrix and every key and value once for all tokens of the call
        self._bytes_read[pos : pos + n] = (self._weight_bytes + self.cache_bytes) // n
        self._pos = pos + n
        self._random_at[self._pos] = self._random
        if self._pos - max(self._kept) >= KEPT_EVERY:
            self._kept[self._pos] = self._fixed()

    def _start(self) -> dict[str, Any]:
        """The state before a text: zeros, of length 0 where it grows."""
        import numpy as np
        import onnxruntime

        sizes = {BATCH: 1, PAST: 0}
        return {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(
                np.zeros([d if isinstance(d, int) else sizes[d] for d in dims], kind)
            )
            for name, (dims, kind) in self._names.past.items()
        }

    def _grows(self, name: str) -> bool:
        return PAST in self._names.past[name][0]

    def _fixed(self) -> dict[str, Any]:
        """The part of the state that does not grow: as onnxruntime returned it, which nothing writes to."""
        return {name: value for name, value in self._state.items() if not self._grows(name)}

    def _cut(self, pos: int) -> None:
        """The state of an earlier position, one of those kept."""
        import numpy as np
        import onnxruntime

        grown = {
            name: onnxruntime.OrtValue.ortvalue_from_numpy(
                np.ascontiguousarray(value.numpy().take(range(pos), self._names.past[name][0].index(PAST)))
            )
            for name, value in self._state.items()
            if self._grows(name)
        }
        self._state = grown | self._kept[pos]
        self._kept = {p: kept for p, kept in self._kept.items() if p <= pos}
