"""The statistics behind evaluation tables. Every function takes plain sequences and returns a float, or None where the quantity is undefined.

Values that are not finite are a mistake of the caller: ValueError.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

Z95 = 1.959963984540054


@dataclasses.dataclass(frozen=True)
class Proportion:
    """right of total; chance is the mean probability of a lucky guess."""

    right: int
    total: int
    chance: float = 0.0

    @property
    def share(self) -> float:
        return self.right / self.total

    @property
    def stderr(self) -> float:
        """Standard error of the share, sqrt(p (1 - p) / n): 0 where all or none are right, which the interval does not believe."""
        return math.sqrt(self.share * (1 - self.share) / self.total)

    @property
    def interval(self) -> tuple[float, float]:
        """95% interval of Wilson's score, which holds near 0 and 1 too."""
        n, p, z2 = self.total, self.share, Z95 * Z95
        centre, half = p + z2 / (2 * n), Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
        return max(0.0, (centre - half) / (1 + z2 / n)), min(1.0, (centre + half) / (1 + z2 / n))

    def to_dict(self) -> dict[str, float | int]:
        low, high = self.interval
        counts = {"right": self.right, "total": self.total}
        return {
            **counts,
            "accuracy": self.share,
            "stderr": self.stderr,
            "low": low,
            "high": high,
            "chance": self.chance,
        }


@dataclasses.dataclass(frozen=True)
class Bin:
    """One bin of a calibration curve over [low, high): how sure the model was and how often it was right; None in an empty bin."""

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


def ranks(values: Sequence[float]) -> np.ndarray:
    """float64[n], ranks from 1; equal values share the mean of their ranks."""
    data = _finite(values)
    order = np.argsort(data, kind="stable")
    _, inverse, counts = np.unique(data[order], return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    out = np.empty(len(data))
    out[order] = (last - (counts - 1) / 2)[inverse]
    return out


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation in [-1, 1], ties at their mean rank; None for fewer than two pairs or where one side is constant."""
    x, y = ranks(a), ranks(b)
    _same_length(x, y)
    if len(x) < 2:
        return None
    x, y = x - x.mean(), y - y.mean()
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return float(np.clip(x @ y / norm, -1, 1)) if norm > 0 else None


def partial_spearman(a: Sequence[float], b: Sequence[float], given: Sequence[float]) -> float | None:
    """Rank correlation of a and b with what both owe to `given` taken out; None where it is undefined."""
    ab, ac, bc = spearman(a, b), spearman(a, given), spearman(b, given)
    if ab is None:
        return None
    ac, bc = ac or 0.0, bc or 0.0  # a constant explains nothing
    rest = (1 - ac * ac) * (1 - bc * bc)
    return max(-1.0, min(1.0, (ab - ac * bc) / math.sqrt(rest))) if rest > 1e-12 else None


def auroc(scores: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Probability that a positive scores higher than a negative, ties counting half; None where one of the two kinds is missing."""
    data, is_positive = ranks(scores), np.asarray(positive, bool)
    _same_length(data, is_positive)
    n = int(is_positive.sum())
    others = len(data) - n
    if not n or not others:
        return None
    return float((data[is_positive].sum() - n * (n + 1) / 2) / (n * others))


def auroc_stderr(area: float, positives: int, negatives: int) -> float:
    """Standard error of an AUROC after Hanley and McNeil (1982)."""
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    spread = area * (1 - area) + (positives - 1) * (q1 - area * area) + (negatives - 1) * (q2 - area * area)
    return math.sqrt(max(0.0, spread) / (positives * negatives))


def calibration_curve(confidence: Sequence[float], right: Sequence[bool], bins: int = 10) -> list[Bin]:
    """Bins of equal width over [0, 1]; 1 belongs to the last."""
    sure, ok = _finite(confidence), np.asarray(right, bool)
    _same_length(sure, ok)
    if len(sure) and not (sure.min() >= 0 and sure.max() <= 1):
        raise ValueError(f"confidence must be in [0, 1], got {sure.min()} to {sure.max()}")
    index = np.minimum((sure * bins).astype(int), bins - 1)
    curve = []
    for i in range(bins):
        mine = index == i
        n = int(mine.sum())
        means = (float(sure[mine].mean()), float(ok[mine].mean())) if n else (None, None)
        curve.append(Bin(i / bins, (i + 1) / bins, n, *means))
    return curve


def calibration_error(curve: Sequence[Bin]) -> float | None:
    """Expected calibration error: mean distance of confidence and accuracy over the bins, weighted by their counts; None without a value."""
    total = sum(b.count for b in curve)
    if not total:
        return None
    return (
        sum(
            b.count * abs(b.accuracy - b.confidence)
            for b in curve
            if b.accuracy is not None and b.confidence is not None
        )
        / total
    )


def selective_accuracy(confidence: Sequence[float], right: Sequence[bool], coverage: float) -> float | None:
    """Accuracy on the surest `coverage` of the answers, at least one; None without answers.

    Among equal confidences at the cut it is the mean over all choices.
    """
    sure, ok = _finite(confidence), np.asarray(right, bool)
    _same_length(sure, ok)
    if not 0 < coverage <= 1:
        raise ValueError(f"coverage must be in (0, 1], got {coverage}")
    if not len(sure):
        return None
    keep = max(1, round(coverage * len(sure)))
    cut = np.sort(sure)[len(sure) - keep]
    above, at = sure > cut, sure == cut
    from_ties = (keep - above.sum()) * ok[at].mean()
    return float((ok[above].sum() + from_ties) / keep)


def groups(values: Sequence[float], flags: Sequence[bool], count: int = 10) -> list[tuple[float, float, int]]:
    """(mean value, share of flags, size) of groups of nearly equal size, by rising value; fewer groups where there are fewer values.

    Equal values may fall on both sides of a border: their flags count in the order given.
    """
    data, flagged = _finite(values), np.asarray(flags, bool)
    _same_length(data, flagged)
    if not len(data):
        return []
    order = np.argsort(data, kind="stable")
    parts = np.array_split(order, min(count, len(data)))
    return [(float(data[part].mean()), float(flagged[part].mean()), len(part)) for part in parts]


def mean(values: Sequence[float]) -> float | None:
    """Mean, None of nothing."""
    return math.fsum(_finite(values)) / len(values) if len(values) else None


def _finite(values: Sequence[float]) -> np.ndarray:
    data = np.asarray(values, np.float64)
    if not np.isfinite(data).all():
        raise ValueError("values must be finite numbers")
    return data


def _same_length(a: np.ndarray, b: np.ndarray) -> None:
    if len(a) != len(b):
        raise ValueError(f"sequences of {len(a)} and {len(b)} values do not pair")
