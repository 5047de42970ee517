"""A back end whose tokens are bytes and whose answers and state are told by a function of the prompt."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from qig_edge.runtime.backend import ContextFull, Sampling, Telemetry

EOS, VOCAB = 256, 257


@dataclasses.dataclass(frozen=True)
class Said:
    """An answer, ended by a newline (or, ended False, by the end token); state of every token of it."""

    text: str
    phi: float = 0.5
    confidence: float = 0.5
    surprise: float = 0.25
    regime: int = 1
    newline: bool = True
    rise: float = 0.001


class TalkingBackend:
    """mind: what it answers to a prompt. Its softmax gives the token that it says probability 0.8."""

    bos, eos, eot, turn_end = None, EOS, None, list[int]()

    def __init__(self, mind: Callable[[str], Said], n_ctx: int = 256) -> None:
        self.mind, self.n_ctx, self.open = mind, n_ctx, 0

    def metadata(self, key: str) -> str | None:
        return None

    def tokenize(self, text: str | bytes, *, parse_special: bool = False) -> list[int]:
        return list(text.encode() if isinstance(text, str) else text)

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        return bytes(t for t in tokens if t < 256)

    def chat_turn(self, role: str, content: str | None, *, first: bool = False) -> list[int]:
        raise AssertionError("no chat in an evaluation")

    def session(self, *, n_ctx: int = 0, n_threads: int = 0) -> TalkingSession:
        self.open += 1
        return TalkingSession(self, n_ctx or self.n_ctx)

    def close(self) -> None:
        pass


class TalkingSession:
    """A prompt starts with the end-of-text token; what follows it is compared with what the mind says."""

    def __init__(self, backend: TalkingBackend, n_ctx: int) -> None:
        self.backend, self.n_ctx, self.cache_bytes = backend, n_ctx, 0
        self.history: list[int] = []
        self.greedy = False

    @property
    def pos(self) -> int:
        return len(self.history)

    @property
    def tokens(self) -> np.ndarray:
        return np.array(self.history, np.int32)

    def eval(self, tokens: Sequence[int] | np.ndarray) -> None:
        if self.pos + len(tokens) > self.n_ctx:
            raise ContextFull(f"no room for {len(tokens)} tokens")
        if not self.history:
            assert tokens[0] == EOS, "a prompt comes after the end of another text"
            self.said = self.backend.mind(bytes(tokens[1:]).decode())
            end = [ord("\n")] if self.said.newline else [EOS]
            self.answer = [*f" {self.said.text}".encode(), *end]
            self.prompt = len(tokens)
        self.history += [int(t) for t in tokens]

    def eval_all(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        raise AssertionError("an answer is evaluated token by token")

    def logits(self) -> np.ndarray:
        out = np.full(VOCAB, math.log(0.2 / (VOCAB - 1)), np.float32)
        out[self.answer[self.pos - self.prompt]] = math.log(0.8)
        return out

    def set_sampler(self, sampling: Sampling) -> None:
        self.greedy = sampling == Sampling.greedy()

    def sample(self) -> int:
        assert self.greedy, "answers are greedy"
        return self.answer[self.pos - self.prompt]

    def telemetry(self, pos: int) -> Telemetry:
        """State of the prompt's tokens but the last is not observed; the rest rises from token to token of the answer."""
        assert 0 <= pos < self.pos
        told = pos >= self.prompt - 1
        step = (pos - self.prompt + 1) * self.said.rise
        return Telemetry(
            phi=self.said.phi + step if told else 0.0,
            surprise=self.said.surprise + step if pos >= self.prompt else math.nan,
            confidence=self.said.confidence + step if told else math.nan,
            agency=0.5,
            curvature=0.1,
            kappa=64.0,
            coherence_drift=0.0,
            regime=self.said.regime,
            blocks_run=4,
            bytes_read=1000,
        )

    def rollback(self, pos: int) -> None:
        del self.history[pos:]

    def slide(self, n_keep: int, n_tail: int) -> None:
        raise AssertionError("an answer has room, or is not asked for")

    def close(self) -> None:
        self.backend.open -= 1
