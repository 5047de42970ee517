"""A back end whose tokens are bytes and whose answers are scripted: what chat and streaming are tested on without a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qig_edge.runtime.backend import ContextFull, Sampling, Telemetry

EOS, EOT, HEADERS = 256, 257, {"system": 258, "user": 259, "assistant": 260}


class FakeBackend:
    """answers: the byte strings that the model gives, in order; each is followed by the end of the turn."""

    def __init__(self, answers: Sequence[bytes] = (), n_ctx: int = 64, eot: int | None = EOT) -> None:
        self.bos: int | None = None
        self.eos, self.eot, self.n_ctx = EOS, eot, n_ctx
        self.turn_end = [] if eot is None else [eot]
        self.script = [t for a in answers for t in [*a, EOT]]
        self.closed = False
        self.described: dict[str, str] = {}

    def metadata(self, key: str) -> str | None:
        return self.described.get(key)

    def tokenize(self, text: str | bytes, *, parse_special: bool = False) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        return bytes(t for t in tokens if t < 256)

    def chat_turn(self, role: str, content: str | None, *, first: bool = False) -> list[int]:
        return [HEADERS[role]] + ([] if content is None else [*content.encode(), EOT])

    def session(self, *, n_ctx: int = 0, n_threads: int = 0) -> FakeSession:
        return FakeSession(self, n_ctx or self.n_ctx)

    def close(self) -> None:
        self.closed = True


class FakeSession:
    """Keeps the history, refuses what does not fit, and logs how it was used."""

    def __init__(self, backend: FakeBackend, n_ctx: int) -> None:
        self.backend, self.n_ctx, self.history = backend, n_ctx, list[int]()
        self.slides: list[tuple[int, int]] = []
        self.evals: list[int] = []
        self.cache_bytes = 8 * n_ctx
        self.regimes: dict[int, int] = {}  # position: regime, where it is not 1

    @property
    def pos(self) -> int:
        return len(self.history)

    @property
    def tokens(self) -> np.ndarray:
        return np.array(self.history, np.int32)

    def eval(self, tokens: Sequence[int] | np.ndarray) -> None:
        if self.pos + len(tokens) > self.n_ctx:
            raise ContextFull(f"no room for {len(tokens)} tokens at {self.pos} of {self.n_ctx}")
        self.evals.append(len(tokens))
        self.history += [int(t) for t in tokens]

    def eval_all(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        self.eval(tokens)
        return np.zeros((len(tokens), 261), np.float32)

    def logits(self) -> np.ndarray:
        return np.zeros(261, np.float32)

    def set_sampler(self, sampling: Sampling) -> None:
        self.sampling = sampling

    def sample(self) -> int:
        return self.backend.script.pop(0)

    def telemetry(self, pos: int) -> Telemetry:
        assert 0 <= pos < self.pos
        return Telemetry(0.5, 0.25, 0.125, 0.2, 0.1, 64.0, 0.3, self.regimes.get(pos, 1), 4, 1000)

    def rollback(self, pos: int) -> None:
        del self.history[pos:]

    def slide(self, n_keep: int, n_tail: int) -> None:
        assert n_keep >= 0 and n_tail >= 0 and n_keep + n_tail <= self.pos
        self.slides.append((n_keep, n_tail))
        self.history = self.history[:n_keep] + self.history[self.pos - n_tail :]

    def close(self) -> None:
        pass
