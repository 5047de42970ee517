"""What every executor of a model offers, so that chat, generation and measurement are written once.

A Backend is an opened model, shared and immutable; its session() is one mutable timeline. The native back end (libqig) is the first; others
live beside it and need only these methods.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from qig_edge.errors import ConfigError, RuntimeFault

if TYPE_CHECKING:
    import numpy as np

ROLES = ("system", "user", "assistant")


class ContextFull(RuntimeFault):
    """There is no room for that many tokens: roll back or slide first."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a token is drawn from the logits. Neutral values: top_k 0, top_p 1, min_p 0, repeat_penalty 1; temperature 0 is greedy."""

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.1
    repeat_last_n: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high, accepted in (
            ("temperature", 0.0, 100.0, "in [0, 100], 0 being greedy"),
            ("top_k", 0, 2**31 - 1, "0 (off) or more"),
            ("top_p", 0.0, 1.0, "in (0, 1], 1 being off"),
            ("min_p", 0.0, 1.0, "in [0, 1], 0 being off"),
            ("repeat_penalty", 1e-3, 100.0, "in [0.001, 100], 1 being off"),
            ("repeat_last_n", 0, 2**31 - 1, "0 or more"),
            ("seed", 0, 2**64 - 1, "in [0, 2^64)"),
        ):
            value = getattr(self, name)
            if not (low <= value <= high) or (name == "top_p" and value == 0):
                raise ConfigError(f"{name} = {value!r} must be {accepted}")

    @classmethod
    def greedy(cls) -> Sampling:
        """The likeliest token each time, with nothing else on."""
        return cls(temperature=0.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0)


@dataclasses.dataclass(frozen=True)
class Telemetry:
    """One record a token; docs/formats.md defines each field. phi, surprise, confidence, agency in [0, 1]; curvature in radians.

    coherence_drift in [0, sqrt 2]; regime 0 linear, 1 geometric, 2 breakdown (1 where the model has no detector). NaN: what a back end does not
    tell, or did not observe.
    """

    phi: float
    surprise: float
    confidence: float
    agency: float
    curvature: float
    kappa: float
    coherence_drift: float
    regime: int
    blocks_run: int
    bytes_read: float


@dataclasses.dataclass(frozen=True)
class CacheReads:
    """What a token read of the cache, summed over blocks and key/value heads: keys that stood there; of these the ones whose sketch was read, its
    bytes, those read in full; values read. Query heads that share a key count it once, as far as that is known: at most all."""

    keys_seen: int
    keys_sketched: int
    sketch_bytes: int
    keys_read: int
    values_read: int


@dataclasses.dataclass(frozen=True)
class Speculation:
    """Counts of drawing by exact speculation. rounds: passes that verified; tokens: that they left evaluated; drafted: tokens that were evaluated as
    drafts; tested, accepted: guesses of the draft held against the full model, and those that stood; draft_len: of the next round."""

    rounds: int = 0
    tokens: int = 0
    drafted: int = 0
    tested: int = 0
    accepted: int = 0
    draft_seconds: float = 0.0
    verify_seconds: float = 0.0
    draft_len: int = 0

    def since(self, before: Speculation) -> Speculation:
        """What came after `before`; the draft length is today's."""
        return self._each(before, -1)

    def plus(self, other: Speculation) -> Speculation:
        """Both together."""
        return self._each(other, 1)

    def _each(self, other: Speculation, sign: int) -> Speculation:
        fields = [f.name for f in dataclasses.fields(self) if f.name != "draft_len"]
        return dataclasses.replace(self, **{n: getattr(self, n) + sign * getattr(other, n) for n in fields})

    @property
    def acceptance(self) -> float:
        """Share of the tested guesses that stood, NaN without any."""
        return self.accepted / self.tested if self.tested else math.nan

    @property
    def tokens_a_round(self) -> float:
        """Mean number of tokens that a round leaves, NaN without rounds."""
        return self.tokens / self.rounds if self.rounds else math.nan


@runtime_checkable
class Session(Protocol):
    """One mutable timeline: cache, token history, sampler, telemetry. Belongs to one thread at a time."""

    @property
    def pos(self) -> int:
        """Tokens evaluated so far."""

    @property
    def n_ctx(self) -> int:
        """Positions there are."""

    @property
    def tokens(self) -> np.ndarray:
        """int32[pos], a copy of the history."""

    @property
    def cache_bytes(self) -> int:
        """Bytes of the key/value cache."""

    def eval(self, tokens: Sequence[int] | np.ndarray) -> None:
        """Evaluates tokens after the present position. Raises ContextFull where they do not fit; then nothing was evaluated."""

    def eval_all(self, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
        """As eval, and returns every row of logits, float32[n, vocab]."""

    def logits(self) -> np.ndarray:
        """float32[vocab] after the last token; raises RuntimeFault before the first eval."""

    def set_sampler(self, sampling: Sampling) -> None:
        """Sets how sample() draws and seeds it anew."""

    def sample(self) -> int:
        """A token drawn from the last logits; it is not evaluated."""

    def telemetry(self, pos: int) -> Telemetry:
        """The record of the token at position pos."""

    def rollback(self, pos: int) -> None:
        """Forgets everything from position pos on."""

    def slide(self, n_keep: int, n_tail: int) -> None:
        """Keeps the first n_keep and the last n_tail tokens and evaluates them anew: equal to a fresh session fed those tokens."""

    def close(self) -> None:
        """Frees the session; closing twice is allowed."""


@runtime_checkable
class SpeculativeSession(Session, Protocol):
    """A session that may draw several tokens at once."""

    @property
    def speculates(self) -> bool:
        """Whether next_tokens() may give more than one token."""

    def next_tokens(self, most: int) -> list[int]:
        """Draws and evaluates 1 to `most` tokens; an end of text or turn comes alone and is not evaluated. Raises ContextFull without room."""

    def speculation(self) -> Speculation:
        """What next_tokens() has done so far."""


@runtime_checkable
class KeepingSession(Session, Protocol):
    """A session that a file can hold."""

    def save(self, path: str | os.PathLike[str], note: bytes = b"") -> None:
        """Writes all of the session to a file with a note of the caller's: whole, or the file is as it was. Raises SessionFileError."""

    def load(self, path: str | os.PathLike[str]) -> bytes:
        """Becomes the session that was saved, and returns its note. Raises SessionFileError; the session is then as it was."""


@runtime_checkable
class Backend(Protocol):
    """An opened model: immutable, shared by its sessions, closed after the last of them."""

    @property
    def bos(self) -> int | None:
        """Token that a text or a conversation is to begin with, which tokenize() and chat_turn() leave to the caller; None: nothing."""

    @property
    def eos(self) -> int:
        """Token that ends a text."""

    @property
    def eot(self) -> int | None:
        """Token that ends a turn, or None: the model has no chat format."""

    @property
    def turn_end(self) -> list[int]:
        """What follows an answer before the next turn, eot among it; empty without a chat format."""

    def metadata(self, key: str) -> str | None:
        """A string of the model's description by its GGUF key, "qig.regime.on_breakdown"; None where there is none."""

    def tokenize(self, text: str | bytes, *, parse_special: bool = False) -> list[int]:
        """Token ids of a text. parse_special turns "<|end|>" and the like into their control token: never for what a user typed."""

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """The bytes of tokens; control tokens are empty unless special."""

    def chat_turn(self, role: str, content: str | None, *, first: bool = False) -> list[int]:
        """One turn as tokens; content None gives the header alone, the cue for an answer. role: "system", "user" or "assistant".

        first: nothing stands before it but `bos`.
        """

    def session(self, *, n_ctx: int = 0, n_threads: int = 0) -> Session:
        """A fresh timeline. n_ctx 0: the model's context length; n_threads 0: the back end's choice."""

    def close(self) -> None:
        """Frees the model; closing twice is allowed."""


def text_start(backend: Backend) -> list[int]:
    """What is to stand before a text or a conversation: `bos` or nothing."""
    return [] if backend.bos is None else [backend.bos]


def document_start(backend: Backend) -> int:
    """The token that a text from its beginning is scored after: `bos`, or the end of the text before it."""
    return backend.eos if backend.bos is None else backend.bos
