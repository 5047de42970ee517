"""Intelligence per compute:

    IPC = (reasoning x adaptability) / (parameters x compute time)

reasoning      at most 1: (accuracy - chance) / (1 - chance), the mean over the families of problems (or tasks). IPC is undefined where the lower
               end of its 95% interval is not above 0: such a score cannot be told from guessing, and no quotient of it means anything
adaptability   in [0, 1]: 1 - (easy - hard) / easy, with easy and hard the same score on the easiest and the hardest level; 1 where the hardest is no
               worse. Undefined where the lower end of the easiest's 95% interval is not above 0, or there is one level only, or none
parameters     millions, those that are stored, whether a token reads them or not
compute time   seconds a decoded token, on the machine and at the depth that it was timed on

Of the suite "reasoning" a task counts by the metric that its scores are published in, and the levels are ARC-easy and ARC-challenge: the other tasks
have none, and count for reasoning alone.

The unit is 1 / (million parameters x second). What it cannot tell: it compares two models on one machine and one set of problems; a value by itself
says nothing, and values of two suites do not compare. It rewards a small model for being small as much as for being right, in proportion, which need
not be anybody's trade. A model that is equally bad at everything is called adaptable. Time is that of one sequence on a machine at rest, not of many
at once.

Intervals are of a bootstrap: problems are drawn anew within nothing but the whole set, both models on the same draw; rounds of timing likewise. A
ratio of times is the median over rounds, in which the two lay next to each other, and not that of their medians. Problems that nothing tells apart,
neither what they are nor which of the models solved them, are counted together: a draw of ten thousand questions is a few numbers.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from qig_edge.evals.suites import Scored

DRAWS = 4000
DRAWN_AT_ONCE = 1 << 22  # numbers held while draws are counted
TAIL = 2.5  # percent at each end of an interval
FACTORS = ("reasoning", "adaptability", "parameters_millions", "seconds_per_token")


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value and its 95% interval; None: undefined. An end of the interval may be infinite."""

    value: float | None
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        """JSON has no infinity: such an end is None."""
        return {k: v if v is None or math.isfinite(v) else None for k, v in dataclasses.asdict(self).items()}


@dataclasses.dataclass(frozen=True)
class Ipc:
    """IPC of a model and its four factors; why: the reason where it is undefined."""

    factors: dict[str, Estimate]
    value: Estimate
    why: str | None

    def to_dict(self) -> dict[str, Any]:
        return {**{name: f.to_dict() for name, f in self.factors.items()}, "ipc": self.value.to_dict(), "why": self.why}


@dataclasses.dataclass(frozen=True)
class Compared:
    """Two models: each by itself, and the first over the second of every factor, with the factors as IPC uses them (less time is more)."""

    models: tuple[Ipc, Ipc]
    ratios: dict[str, Estimate]
    ratio: Estimate
    why: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "models": [m.to_dict() for m in self.models],
            "ratios": {**{name: r.to_dict() for name, r in self.ratios.items()}, "ipc": self.ratio.to_dict()},
            "why": self.why,
        }


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model's results. scored: one a problem; parameters: how many, at least 1; seconds: of a decoded token, one a round of timing."""

    scored: Sequence[Scored]
    parameters: int
    seconds: Sequence[float]


def measure(subject: Subject, seed: int = 0) -> Ipc:
    """IPC of one model. Raises ValueError without problems or rounds."""
    return _drawn([subject], seed)[0][0].ipc


def factors(scored: Sequence[Scored], seed: int = 0) -> dict[str, Any]:
    """Of one evaluation: reasoning and adaptability, and why IPC would be undefined, if it would."""
    found = measure(Subject(scored, 1, [1.0]), seed)
    return {**{name: found.factors[name].value for name in ("reasoning", "adaptability")}, "why": found.why}


def compare(first: Subject, second: Subject, seed: int = 0) -> Compared:
    """The first model over the second. Raises ValueError where the two did not have the same problems and as many rounds."""
    asked = [[(s.group, s.level, s.chance) for s in subject.scored] for subject in (first, second)]
    if asked[0] != asked[1] or len(first.seconds) != len(second.seconds):
        raise ValueError("two models are compared on the same problems and in the same rounds")
    (a, b), which = _drawn([first, second], seed)
    # round by round: what else the machine did slowed both
    faster = np.median((np.asarray(second.seconds) / np.asarray(first.seconds))[which], -1)
    ratios = {
        "reasoning": _ratio(a.reasoning, b.reasoning),
        "adaptability": _ratio(a.adaptability, b.adaptability),
        "parameters_millions": _ratio(np.full(1, 1 / first.parameters), np.full(1, 1 / second.parameters)),
        "seconds_per_token": _estimate(faster),
    }
    why = next((f"{which} model: {m.ipc.why}" for which, m in (("first", a), ("second", b)) if m.ipc.why), None)
    if why:
        undefined = Estimate(None, None, None)
        ratios |= {name: undefined for name in ("reasoning", "adaptability")}
        return Compared((a.ipc, b.ipc), ratios, undefined, why)
    return Compared((a.ipc, b.ipc), ratios, _ratio(a.worth * faster, b.worth), None)


class _Drawn:
    """Factors of a model: [0] as measured, then of each draw. kinds: of problems, with this model's result; counts [DRAWS + 1, kinds]."""

    def __init__(self, subject: Subject, kinds: Sequence[Scored], counts: np.ndarray, rounds: np.ndarray) -> None:
        above = np.array([(s.right - s.chance) / (1 - s.chance) for s in kinds])
        groups, levels = np.array([s.group for s in kinds]), np.array([np.nan if s.level is None else s.level for s in kinds])
        self.reasoning = _score(above, groups, counts)
        self.adaptability, no_adaptability = _adaptability(above, groups, levels, counts)
        self.seconds = np.median(np.asarray(subject.seconds)[rounds], -1)
        parameters = subject.parameters / 1e6
        self.worth = self.reasoning * self.adaptability / parameters
        factors = {
            "reasoning": _estimate(self.reasoning),
            "adaptability": _estimate(self.adaptability),
            "parameters_millions": Estimate(parameters, parameters, parameters),
            "seconds_per_token": _estimate(self.seconds),
        }
        why = None
        if not _above_chance(self.reasoning):
            why = "reasoning cannot be told from chance"
        elif no_adaptability:
            why = f"adaptability is undefined: {no_adaptability}"
        self.ipc = Ipc(factors, Estimate(None, None, None) if why else _estimate(self.worth / self.seconds), why)


def _drawn(subjects: Sequence[Subject], seed: int) -> tuple[list[_Drawn], np.ndarray]:
    """Every subject on the same draws, and which rounds these are of, [DRAWS + 1, rounds]. Raises ValueError without problems or rounds."""
    n, rounds = len(subjects[0].scored), len(subjects[0].seconds)
    if not n or not rounds:
        raise ValueError("there are no problems or no rounds")
    number: dict[tuple[Scored, ...], int] = {}
    kind = np.array([number.setdefault(results, len(number)) for results in zip(*(s.scored for s in subjects), strict=True)])
    rng = np.random.default_rng(seed)
    counts = np.vstack([np.bincount(kind), _counts(kind, rng)])
    which = np.vstack([np.arange(rounds), rng.integers(0, rounds, (DRAWS, rounds))])
    return [_Drawn(s, [results[i] for results in number], counts, which) for i, s in enumerate(subjects)], which


def _counts(kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often problems of each kind are in a draw of as many problems as there are, [DRAWS, kinds]; kind: of each problem, none without one."""
    n = len(kind)
    by_kind = np.argsort(kind, kind="stable")
    firsts = np.searchsorted(kind[by_kind], np.arange(kind.max() + 1))
    step = max(1, DRAWN_AT_ONCE // n)
    sizes = [min(step, DRAWS - done) for done in range(0, DRAWS, step)]
    return np.vstack([np.add.reduceat(rng.multinomial(n, np.full(n, 1 / n), size)[:, by_kind], firsts, axis=1) for size in sizes])


def _adaptability(above: np.ndarray, groups: np.ndarray, levels: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, str | None]:
    """[draws], and why it is undefined where it is; levels: NaN for a problem that has none."""
    undefined = np.full(len(counts), np.nan)
    there = np.unique(levels[~np.isnan(levels)])
    if len(there) < 2:
        among = np.unique(groups[~np.isnan(levels)])
        return undefined, f"one level only{f', {among[0]}' if len(among) == 1 else ''}" if len(there) else "no problem has a level"
    easy, hard = (_score(above, groups, counts, levels == n) for n in (there[0], there[-1]))
    if not _above_chance(easy):
        return undefined, "the easiest level is at chance"
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(easy > 0, np.clip(hard / easy, 0, 1), np.nan), None


def _above_chance(score: np.ndarray) -> bool:
    """Whether a score can be told from guessing: the lower end of its interval is above 0."""
    low = _estimate(score).low
    return low is not None and low > 0


def _score(above: np.ndarray, groups: np.ndarray, counts: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """Mean over groups of the mean of what is above chance, [draws]; a group that a draw lacks counts in no mean of it."""
    parts = []
    for group in np.unique(groups):
        mine = (groups == group) & (True if among is None else among)
        if not mine.any():
            continue
        weight = counts[:, mine].sum(-1)
        parts.append(np.where(weight > 0, counts[:, mine] @ above[mine] / np.maximum(weight, 1), np.nan))
    means = np.stack(parts)
    there = np.isfinite(means).sum(0)
    return np.where(there > 0, np.nansum(means, 0) / np.maximum(there, 1), np.nan)


def _estimate(values: np.ndarray) -> Estimate:
    """Draws that are undefined count at both ends: they are the worst that could be."""
    first, draws = float(values[0]), values[1:]
    if math.isnan(first):
        return Estimate(None, None, None)
    if not len(draws):
        return Estimate(first, first, first)
    low = np.percentile(np.where(np.isnan(draws), -np.inf, draws), TAIL, method="inverted_cdf")
    high = np.percentile(np.where(np.isnan(draws), np.inf, draws), 100 - TAIL, method="inverted_cdf")
    return Estimate(first, float(low), float(high))


def _ratio(a: np.ndarray, b: np.ndarray) -> Estimate:
    with np.errstate(divide="ignore", invalid="ignore"):
        return _estimate(np.where(b > 0, a / b, np.nan))
