"""What a bench times, and the tokens that it times it on: the same for every engine and back end."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import DataError

if TYPE_CHECKING:
    from qig_edge.runtime.backend import Backend


@dataclasses.dataclass(frozen=True)
class Test:
    """So many tokens at a depth; at once (prefill), or one by one."""

    tokens: int
    depth: int
    one_by_one: bool

    def __str__(self) -> str:
        return f"decode {self.tokens} at depth {self.depth}" if self.one_by_one else f"prefill {self.tokens}"

    @property
    def positions(self) -> int:
        return self.depth + self.tokens


def tests(prefill: int, decode: int, depths: Sequence[int]) -> list[Test]:
    """The tests of a run, in its order."""
    return [Test(prefill, 0, False), *(Test(decode, depth, True) for depth in depths)]


def random_tokens(vocab_size: int, n: int) -> list[int]:
    """n ids behind the control tokens, the same in every run."""
    rng = random.Random(1)
    return [rng.randint(5, vocab_size - 1) for _ in range(n)]


def text_tokens(model: Backend, n: int, text: Path) -> list[int]:
    """n tokens of a text, from its start again where it is short. Raises DataError for a text that cannot be read or has none."""
    try:
        found = model.tokenize(text.read_bytes())
    except OSError as e:
        raise DataError(f"text '{text}': {e.strerror}") from None
    if not found:
        raise DataError(f"text '{text}' has no tokens")
    return (found * (n // len(found) + 1))[:n]
