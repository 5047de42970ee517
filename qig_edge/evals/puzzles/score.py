"""Accuracy by family and level, counted the same for every executor."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from qig_edge.evals.puzzles.generate import FAMILIES
from qig_edge.evals.puzzles.problem import Problem
from qig_edge.evals.statistics import Proportion


@dataclasses.dataclass(frozen=True)
class Scores:
    """Proportions of right answers: over everything, and by level, by family, by (family, level) in the order of the families."""

    overall: Proportion
    by_level: dict[int, Proportion]
    by_family: dict[str, Proportion]
    cells: dict[tuple[str, int], Proportion]


def score(problems: Sequence[Problem], right: Sequence[bool]) -> Scores:
    """Counts at least one problem. Raises ValueError where the two sequences do not pair."""
    pairs = list(zip(problems, right, strict=True))
    if not pairs:
        raise ValueError("there are no problems to score")

    def share(chosen: Iterable[tuple[Problem, bool]]) -> Proportion:
        mine = list(chosen)
        return Proportion(sum(ok for _, ok in mine), len(mine), sum(p.chance for p, _ in mine) / len(mine))

    present = {(p.family, p.level) for p in problems}
    levels = sorted({level for _, level in present})
    families = [f for f in FAMILIES if any(f == family for family, _ in present)]
    return Scores(
        share(pairs),
        {n: share(x for x in pairs if x[0].level == n) for n in levels},
        {f: share(x for x in pairs if x[0].family == f) for f in families},
        {
            (f, n): share(x for x in pairs if (x[0].family, x[0].level) == (f, n))
            for f in families
            for n in levels
            if (f, n) in present
        },
    )
