"""How much larger one set of samples is than another, by ranks: the shift that makes them alike, and the interval that the samples allow.

Nothing is assumed of how samples are spread, but that two sets differ by a factor. The estimate is the median of all ratios b/a (Hodges and Lehmann),
the interval is cut from the same ratios, sorted, at the quantile of the Mann-Whitney statistic: for two sets of five it leaves out two ratios at
either end. With fewer than four samples each, no interval of 95% exists.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Sequence
from functools import cache

LEVEL = 0.95
EXACT = 30  # samples a side up to which the statistic's distribution is counted, not approximated


@dataclasses.dataclass(frozen=True)
class Ratio:
    """b over a: the estimate, and the ends of the interval, None where the samples are too few for one."""

    estimate: float
    low: float | None
    high: float | None


def ratio(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> Ratio:
    """The factor from a to b, all samples positive. Raises ValueError for an empty side or a sample that is not."""
    if not a or not b or not all(x > 0 and math.isfinite(x) for x in (*a, *b)):
        raise ValueError("samples must be positive numbers, at least one a side")
    ratios = sorted(y / x for x in a for y in b)
    cut = left_out(len(a), len(b), level)
    estimate = statistics.median(ratios)
    return Ratio(estimate, None, None) if cut is None else Ratio(estimate, ratios[cut], ratios[-1 - cut])


def left_out(n: int, m: int, level: float) -> int | None:
    """How many of the n m sorted ratios the interval leaves out at either end: the largest c with P(U <= c) <= (1 - level) / 2 where both sides are
    alike; None where even the whole range holds less than `level`."""
    tail = (1 - level) / 2
    if max(n, m) > EXACT:
        spread = math.sqrt(n * m * (n + m + 1) / 12)
        k = math.floor(n * m / 2 - statistics.NormalDist().inv_cdf(1 - tail) * spread)
        return k - 1 if k > 0 else None
    total, below = math.comb(n + m, n), 0
    for u in range(n * m + 1):
        below += ways(n, m, u)
        if below / total > tail:
            return u - 1 if u > 0 else None
    return None


@cache
def ways(n: int, m: int, u: int) -> int:
    """In how many orders of n and m samples exactly u pairs stand the wrong way round."""
    if u < 0:
        return 0
    if n == 0 or m == 0:
        return int(u == 0)
    return ways(n - 1, m, u - m) + ways(n, m - 1, u)
