"""A back end whose tokens are bytes and whose next byte hangs on the last ones, or is told by a function of the text: it counts what it evaluates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from qig_edge.runtime.backend import ContextFull, Sampling, Telemetry

EOS, VOCAB = 256, 257


class ScoringBackend:
    """mind: the byte after a text (EOS ends it), None where nobody says; alphabet: the bytes that its tokenizer keeps."""

    bos, eos, eot, turn_end = None, EOS, None, list[int]()

    def __init__(
        self, mind: Callable[[bytes], int] | None = None, n_ctx: int = 4096, alphabet: Callable[[int], bool] = lambda b: True
    ) -> None:
        self.mind, self.n_ctx, self.alphabet = mind, n_ctx, alphabet
        self.open = self.evaluated = 0

    def metadata(self, key: str) -> str | None:
        return None

    def tokenize(self, text: str | bytes, *, parse_special: bool = False) -> list[int]:
        assert not parse_special, "items are plain text"
        return [b for b in (text.encode() if isinstance(text, str) else text) if self.alphabet(b)]

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        return bytes(t for t in tokens if t < 256)

    def chat_turn(self, role: str, content: str | None, *, first: bool = False) -> list[int]:
        raise AssertionError("no chat in an evaluation")

    def session(self, *, n_ctx: int = 0, n_threads: int = 0) -> ScoringSession:
        self.open += 1
        return ScoringSession(self, n_ctx or self.n_ctx)

    def close(self) -> None:
        pass


class ScoringSession:
    def __init__(self, backend: ScoringBackend, n_ctx: int) -> None:
        self.backend, self.n_ctx, self.cache_bytes = backend, n_ctx, 0
        self.history: list[int] = []

    @property
    def pos(self) -> int:
        return len(self.history)

    @property
    def tokens(self) -> np.ndarray:
        return np.array(self.history, np.int32)

    def eval(self, tokens: Sequence[int] | np.ndarray) -> None:
        if self.pos + len(tokens) > self.n_ctx:
            raise ContextFull(f"no room for {len(tokens)} tokens")
        assert len(tokens), "nothing to evaluate"
        self.history += [int(t) for t in tokens]
        self.backend.evaluated += len(tokens)

    def eval_all(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        rows = []
        for token in tokens:
            self.eval([token])
            rows.append(self.logits())
        return np.array(rows)

    def logits(self) -> np.ndarray:
        if self.backend.mind is not None:
            out = np.full(VOCAB, math.log(0.2 / (VOCAB - 1)), np.float32)
            out[self.backend.mind(bytes(t for t in self.history if t < 256))] = math.log(0.8)
            return out
        key = np.array(self.history[-12:], np.uint64)
        return np.random.default_rng([len(self.history), *key]).normal(size=VOCAB).astype(np.float32)

    def set_sampler(self, sampling: Sampling) -> None:
        raise AssertionError("nothing is drawn")

    def sample(self) -> int:
        raise AssertionError("nothing is drawn")

    def telemetry(self, pos: int) -> Telemetry:
        raise AssertionError("no state is asked for")

    def rollback(self, pos: int) -> None:
        assert 0 <= pos <= self.pos
        del self.history[pos:]

    def slide(self, n_keep: int, n_tail: int) -> None:
        raise AssertionError("contexts are cut before they are evaluated")

    def close(self) -> None:
        self.backend.open -= 1
