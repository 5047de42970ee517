"""Streams of problems: seeded, balanced over families, split by a hash of the instance.

    for problem in problems(1000, seed=0, split="test", levels=(1, 2)):
        print(problem.prompt, problem.answer)

Nothing else decides on which side of the split an instance lies, so any train file and any test file are disjoint.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from qig_edge.errors import ConfigError
from qig_edge.evals.puzzles.numbers import addition, comparison, counting, sequence
from qig_edge.evals.puzzles.problem import Problem
from qig_edge.evals.puzzles.stories import membership, order, story

FAMILIES: dict[str, Callable[[random.Random, int], Problem]] = {
    "addition": addition,
    "comparison": comparison,
    "order": order,
    "sequence": sequence,
    "counting": counting,
    "story": story,
    "membership": membership,
}
LEVELS = (1, 2, 3, 4, 5)
SPLITS = ("train", "test")
# one instance in five is a test instance
TEST_SHARE = 5
# draws without a new instance after which a family's level counts as told in full
PATIENCE = 500


def split_of(problem: Problem) -> str:
    """ "train" or "test", from the instance alone: no seed, no size and no level moves an instance to the other side."""
    digest = hashlib.blake2b(f"{problem.family}:{problem.key}".encode(), digest_size=8).digest()
    return "test" if int.from_bytes(digest, "little") % TEST_SHARE == 0 else "train"


def parse_levels(text: str) -> tuple[int, ...]:
    """Levels from "3", "1-5" or "1,3-4", sorted. Raises ConfigError naming the text and what is accepted."""
    found: set[int] = set()
    try:
        for part in text.split(","):
            first, dash, last = part.partition("-")
            span = range(int(first), int(last if dash else first) + 1)
            if not span or span[0] not in LEVELS or span[-1] not in LEVELS:
                raise ValueError
            found.update(span)
    except ValueError:
        raise ConfigError(
            f"levels = '{text}' must be levels from {LEVELS[0]} to {LEVELS[-1]}: 3, 1-5 or 1,3-4"
        ) from None
    return tuple(sorted(found))


def problems(
    count: int,
    seed: int,
    split: str = "train",
    levels: Sequence[int] = LEVELS,
    families: Sequence[str] = tuple(FAMILIES),
) -> Iterator[Problem]:
    """count problems, in rounds of random order that hold each family's each level: once in the test split, 6 - level times in the train split.

    A hard problem takes several times the tokens of an easy one: so no level gets twice the tokens of another, and what the hard
    ones build on is met often. Test instances do not repeat until a family's level has no new one left; training instances repeat as they are drawn.
    The same arguments give the same problems, a longer stream begins with the shorter one. Raises ConfigError for an unknown split, level or family.
    """
    if split not in SPLITS:
        raise ConfigError(f"split = '{split}' must be one of {', '.join(SPLITS)}")
    for name, given, known in (("level", levels, LEVELS), ("family", families, tuple(FAMILIES))):
        unknown = [g for g in given if g not in known]
        if unknown or not given:
            raise ConfigError(
                f"{name} = {unknown[0] if unknown else 'nothing'!r} must be of {', '.join(map(str, known))}"
            )
    return _stream(count, seed, split, [(family, level) for family in families for level in levels])


def weight_of(level: int, split: str) -> int:
    """How often a round holds a level of a family."""
    return 1 if split == "test" else LEVELS[-1] + 1 - level


def _stream(count: int, seed: int, split: str, cells: list[tuple[str, int]]) -> Iterator[Problem]:
    turns = random.Random(f"puzzles:{split}:{seed}")
    draws = {cell: _cell(*cell, seed, split) for cell in cells}
    in_round = [cell for cell in cells for _ in range(weight_of(cell[1], split))]
    round_: list[tuple[str, int]] = []
    for _ in range(count):
        if not round_:
            round_ = turns.sample(in_round, len(in_round))
        yield next(draws[round_.pop()])


def _cell(family: str, level: int, seed: int, split: str) -> Iterator[Problem]:
    """An endless stream of one family's level, with a random stream of its own, whatever else is drawn."""
    rng = random.Random(f"puzzles:{split}:{seed}:{family}:{level}")
    draw = FAMILIES[family]
    seen: set[str] | None = set() if split == "test" else None
    failed = 0
    while True:
        problem = draw(rng, level)
        if split_of(problem) != split:
            continue
        if seen is not None:
            if problem.key in seen:
                failed += 1
                if failed < PATIENCE:
                    continue
                seen = None
            else:
                failed = 0
                seen.add(problem.key)
        yield problem


def records(count: int, seed: int, split: str = "train", levels: Sequence[int] = LEVELS) -> Iterator[dict[str, Any]]:
    """count JSON records: family, level, prompt, answer, source; in the train split also the text to train on.

    A test record has no text, so that a test file given to training by mistake is refused.
    """
    return (p.record(with_text=split == "train") for p in problems(count, seed, split, levels))
