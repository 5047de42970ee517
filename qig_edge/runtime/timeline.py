"""What every session that is written in Python keeps beside its engine's cache: the tokens so far, the last logits, the sampler and its random
numbers by position. A subclass evaluates and forgets."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from qig_edge.errors import RuntimeFault
from qig_edge.runtime import sampler
from qig_edge.runtime.backend import ContextFull, Sampling

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T", bound="Timeline")


class Timeline(abc.ABC):
    """One mutable timeline; belongs to one thread at a time. n_ctx: positions; step: tokens that one pass takes at most."""

    def __init__(self, n_ctx: int, vocab_size: int, step: int) -> None:
        import numpy as np

        self.n_ctx, self._vocab_size, self._step = n_ctx, vocab_size, step
        self._history = np.zeros(n_ctx, np.int32)
        self._pos = 0
        self._logits: np.ndarray | None = None
        self._sampling = Sampling.greedy()
        self._random = sampler.seeded(0)
        self._random_at = {0: self._random}  # by position

    @abc.abstractmethod
    def close(self) -> None:
        """Frees the session; closing twice is allowed."""

    @abc.abstractmethod
    def rollback(self, pos: int) -> None:
        """Forgets everything from position pos on, sampler state and telemetry included."""

    @property
    @abc.abstractmethod
    def _closed(self) -> bool: ...

    @abc.abstractmethod
    def _pass(self, ids: np.ndarray, rows: list[np.ndarray] | None) -> None:
        """One call of the engine, at most `step` tokens: sets the last logits and appends all rows where asked; then _advance(ids)."""

    @abc.abstractmethod
    def _clear(self) -> None:
        """Empties the engine's cache."""

    @property
    def pos(self) -> int:
        """Tokens evaluated so far."""
        return self._pos

    @property
    def tokens(self) -> np.ndarray:
        """int32[pos], a copy of the history."""
        return self._history[: self._pos].copy()

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
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
        token, self._random = sampler.draw(self._sampling, self.logits(), self._history[: self._pos], self._random)
        return token

    def slide(self, n_keep: int, n_tail: int) -> None:
        """Keeps the first n_keep and the last n_tail tokens and evaluates them anew; the sampler's random numbers go on."""
        import numpy as np

        if n_keep < 0 or n_tail < 0 or n_keep + n_tail > self._pos:
            raise RuntimeFault(f"cannot keep {n_keep} + {n_tail} of {self._pos} tokens")
        ids = np.concatenate((self._history[:n_keep], self._history[self._pos - n_tail : self._pos]))
        self._clear()
        self._random_at = {0: self._random}
        self._again(0, ids)

    def _again(self, pos: int, ids: np.ndarray) -> None:
        """Stands at pos, whose cache the engine holds, then evaluates ids."""
        self._pos, self._logits = pos, None
        if len(ids):
            self._evaluate(ids, None)

    def _advance(self, ids: np.ndarray) -> None:
        self._history[self._pos : self._pos + len(ids)] = ids
        self._pos += len(ids)
        self._random_at[self._pos] = self._random

    def _checked_rollback(self, pos: int) -> bool:
        """Whether there is anything to forget; the random numbers are those of pos. Raises RuntimeFault for a position that there is not."""
        if not 0 <= pos <= self._pos:
            raise RuntimeFault(f"cannot roll back to {pos}: the session is at {self._pos}")
        self._random = self._random_at[max(p for p in self._random_at if p <= pos)]
        return pos < self._pos

    def _checked(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        import numpy as np

        if self._closed:
            raise RuntimeFault("the session is closed")
        try:
            ids = np.array([int(t) for t in tokens], np.int64)
        except (TypeError, ValueError) as e:
            raise RuntimeFault(f"tokens must be integers: {e}") from None
        if not len(ids):
            raise RuntimeFault("there are no tokens to evaluate")
        bad = (ids < 0) | (ids >= self._vocab_size)
        if bad.any():
            raise RuntimeFault(f"token = {ids[bad.argmax()]} must be in [0, {self._vocab_size})")
        if self._pos + len(ids) > self.n_ctx:
            raise ContextFull(f"no room for {len(ids)} tokens: {self._pos} of {self.n_ctx} positions are taken")
        return ids

    def _evaluate(self, ids: np.ndarray, rows: list[np.ndarray] | None) -> None:
        start = self._pos
        try:
            for at in range(0, len(ids), self._step):
                self._pass(ids[at : at + self._step], rows)
        except RuntimeFault:
            if self._pos > start:
                with contextlib.suppress(RuntimeFault):
                    self.rollback(start)
            raise
