"""One timeline of an ONNX model: caches as onnxruntime's own tensors, so that they are not copied between calls.

The graph takes the state of all tokens before and gives it back grown. It is kept whole at some positions (all but keys and values, which a
position cuts), so that a rollback evaluates a few tokens again instead of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qig_edge.config import ModelConfig
from qig_edge.errors import RuntimeFault
from qig_edge.runtime.backend import Telemetry
from qig_edge.runtime.onnx_names import BATCH, PAST, TELEMETRY, Names
from qig_edge.runtime.timeline import Timeline

if TYPE_CHECKING:
    import numpy as np
    import onnxruntime

STEP = 128  # tokens evaluated together
KEPT_EVERY = 64  # positions, at least, between states that are kept for a rollback


class OnnxSession(Timeline):
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

        super().__init__(n_ctx, config.vocab_size, STEP)
        self._engine: onnxruntime.InferenceSession | None = engine
        self._config, self._names, self._weight_bytes = config, names, weight_bytes
        self.n_threads = n_threads
        self.n_threads_batch = n_threads  # onnxruntime has one count for everything
        whole = ("regime", "blocks_run")
        self._told = {n: np.zeros(n_ctx, np.int32 if n in whole else np.float32) for n in TELEMETRY}
        self._bytes_read = np.zeros(n_ctx, np.int64)
        self._state: dict[str, Any] = self._start()
        self._kept: dict[int, dict[str, Any]] = {0: self._fixed()}

    @property
    def cache_bytes(self) -> int:
        """Bytes of keys, values and masks at the present position."""
        return sum(v.tensor_size_in_bytes() for n, v in self._state.items() if self._grows(n))

    def close(self) -> None:
        """Frees the session; closing twice is allowed."""
        self._engine = None
        self._state, self._kept = {}, {}

    def telemetry(self, pos: int) -> Telemetry:
        """The record of the token at position pos. Raises RuntimeFault where there is none."""
        if not 0 <= pos < self._pos:
            raise RuntimeFault(f"there is no telemetry at position {pos}: the session holds {self._pos} tokens")
        values = {name: array[pos].item() for name, array in self._told.items()}
        return Telemetry(**values, bytes_read=int(self._bytes_read[pos]))

    def rollback(self, pos: int) -> None:
        """Forgets everything from position pos on, sampler state and telemetry included. The last few tokens are evaluated again."""
        if not self._checked_rollback(pos):
            return
        random, again = self._random, max(p for p in self._kept if p < pos or p == 0)
        ids, self._random_at = self._history[again:pos].copy(), {p: r for p, r in self._random_at.items() if p <= pos}
        self._cut(again)
        self._again(again, ids)
        self._random = self._random_at[pos] = random

    @property
    def _closed(self) -> bool:
        return self._engine is None

    def _clear(self) -> None:
        self._cut(0)

    def _pass(self, ids: np.ndarray, rows: list[np.ndarray] | None) -> None:
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
        # every matrix and every key and value once for all tokens of the call
        self._bytes_read[pos : pos + n] = (self._weight_bytes + self.cache_bytes) // n
        self._advance(ids)
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
