"""Ratios of two sets of samples: the interval's rank against tables and brute force, its coverage by simulation."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from qig_edge.bench.rank import LEVEL, left_out, ratio, ways
from tests.conftest import SEED


@pytest.mark.parametrize(("n", "m", "cut"), [(3, 3, None), (3, 4, None), (4, 4, 0), (3, 5, 0), (5, 5, 2), (10, 10, 23), (20, 20, 127)])
def test_ranks_are_those_of_the_tables(n: int, m: int, cut: int | None) -> None:
    assert left_out(n, m, LEVEL) == left_out(m, n, LEVEL) == cut


def test_the_count_is_that_of_all_orders() -> None:
    n, m = 4, 3
    counts = [0] * (n * m + 1)
    for chosen in itertools.combinations(range(n + m), n):
        others = [i for i in range(n + m) if i not in chosen]
        counts[sum(a > b for a in chosen for b in others)] += 1
    assert [ways(n, m, u) for u in range(n * m + 1)] == counts and sum(counts) == math.comb(7, 4)


def test_many_samples_agree_with_few() -> None:
    exact, about = left_out(30, 30, LEVEL), left_out(31, 31, LEVEL)
    assert exact is not None and about is not None and 0 < about - exact < 40


def test_turned_round_it_is_the_inverse() -> None:
    a, b = [10.0, 11.0, 12.0, 13.0, 14.5], [20.0, 21.0, 24.0, 26.0, 27.0]
    there, back = ratio(a, b), ratio(b, a)
    assert there.low and there.high and back.low and back.high
    assert there.estimate == pytest.approx(1 / back.estimate) and there.low == pytest.approx(1 / back.high)
    assert 1 < there.low <= there.estimate <= there.high


def test_coverage() -> None:
    rng, held, runs = random.Random(SEED), 0, 400
    for _ in range(runs):
        a = [rng.lognormvariate(0, 0.3) for _ in range(5)]
        b = [1.5 * rng.lognormvariate(0, 0.3) for _ in range(5)]
        found = ratio(a, b)
        assert found.low is not None and found.high is not None
        held += found.low <= 1.5 <= found.high
    assert held / runs > 0.92  # 96.8% is exact for five and five; 400 runs scatter by 1%


@pytest.mark.parametrize(("a", "b"), [([], [1.0]), ([1.0], []), ([0.0], [1.0]), ([1.0], [math.nan]), ([math.inf], [1.0])])
def test_bad_samples(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        ratio(a, b)
