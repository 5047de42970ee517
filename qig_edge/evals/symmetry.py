"""The suite "symmetry": role-swapped pairs about promises, requests, fairness, help, harm and ownership, written for it.

Each line of symmetry_pairs.jsonl is a prompt, a reply, and the twin of both: the same exchange with the two sides' roles exchanged. What is
reported of a model (qig_edge.runtime.symmetry has the formulas):

- score: exp(-|l - l'|), l and l' the mean log-likelihood per token of reply and twin; its mean, median, and the share of pairs that reach LIMIT;
- lean: mean of l - l', positive where the model prefers the exchange as it is written to its twin;
- unrelated: mean of exp(-|l - l'|) over replies of different pairs, each after its own prompt: the score that texts with nothing in common
  reach, which a score has to exceed to say anything;
- divergence: mean Jensen-Shannon divergence in bits of the next-token distributions at the same place of reply and twin, one of them carried
  over by the permutation of role tokens; a pair whose sides differ in tokens is compared at the first place only.

The replies are given, not the model's own. It is a measure of even-handedness, no test of values: a model that assigns the same probability
to everything scores 1.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from importlib import resources
from typing import Any

from qig_edge.evals import statistics as st
from qig_edge.evals.suites import Options, Table
from qig_edge.runtime.backend import Backend
from qig_edge.runtime.symmetry import LIMIT, Scorer, Symmetry


@dataclasses.dataclass(frozen=True)
class Pair:
    """One exchange and its twin, by topic."""

    topic: str
    prompt: str
    reply: str
    twin_prompt: str
    twin_reply: str


@dataclasses.dataclass(frozen=True)
class Compared:
    """What was found for a pair: its scores; summed divergence in bits over so many places."""

    pair: Pair
    symmetry: Symmetry
    divergence: float
    places: int


def load_pairs() -> list[Pair]:
    """All pairs of the file, topics in turn, so that the first n hold every topic."""
    text = (resources.files("qig_edge.evals") / "symmetry_pairs.jsonl").read_text("utf-8")
    by_topic: dict[str, list[Pair]] = {}
    for line in text.splitlines():
        pair = Pair(**json.loads(line))
        by_topic.setdefault(pair.topic, []).append(pair)
    most = max(len(pairs) for pairs in by_topic.values())
    return [pairs[i] for i in range(most) for pairs in by_topic.values() if i < len(pairs)]


@dataclasses.dataclass(frozen=True)
class Result:
    """Figures over all pairs and by topic."""

    compared: list[Compared]
    limit: float = LIMIT

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON, the pairs included."""
        return {
            "suite": "symmetry",
            "limit": self.limit,
            **figures(self.compared, self.limit),
            "unrelated": unrelated(self.compared),
            "by_topic": {topic: figures(found, self.limit) for topic, found in self._topics().items()},
            "items": [
                {
                    **dataclasses.asdict(c.pair),
                    "score": c.symmetry.score,
                    "log_likelihood": c.symmetry.log_likelihood,
                    "twin_log_likelihood": c.symmetry.twin_log_likelihood,
                    "divergence": c.divergence / c.places,
                    "places": c.places,
                }
                for c in self.compared
            ],
        }

    def tables(self) -> list[Table]:
        """One row a topic, and all."""
        columns = ("topic", "pairs", "score", "median", "passed", "lean", "divergence")
        groups = [*self._topics().items(), ("all", self.compared)]
        rows = [_row(topic, figures(found, self.limit)) for topic, found in groups]
        return [Table("role-swapped pairs", columns, tuple(rows))]

    def notes(self) -> list[str]:
        chance = unrelated(self.compared)
        whole = sum(c.places > 1 for c in self.compared)
        return [
            f"Passed: a score of at least {self.limit:g}. Lean: nats a token by which reply exceeds twin. Divergence: bits, 0 to 1.",
            *([] if chance is None else [f"Replies of different pairs, compared in the same way, score {chance:.2f}."]),
            f"Divergence is over {sum(c.places for c in self.compared)} places; {len(self.compared) - whole} pairs with unequal numbers of"
            " tokens are compared at the first.",
            "Even-handedness in wording, no content filter: docs/symmetry.md.",
        ]

    def _topics(self) -> dict[str, list[Compared]]:
        found: dict[str, list[Compared]] = {}
        for c in self.compared:
            found.setdefault(c.pair.topic, []).append(c)
        return found


def figures(compared: Sequence[Compared], limit: float) -> dict[str, Any]:
    """Means over at least one pair; the divergence over all their places."""
    scores = sorted(c.symmetry.score for c in compared)
    middle = len(scores) // 2
    return {
        "pairs": len(compared),
        "score": st.mean(scores),
        "median_score": scores[middle] if len(scores) % 2 else (scores[middle - 1] + scores[middle]) / 2,
        "share_above_limit": sum(s >= limit for s in scores) / len(scores),
        "lean": st.mean([c.symmetry.log_likelihood - c.symmetry.twin_log_likelihood for c in compared]),
        "divergence": sum(c.divergence for c in compared) / sum(c.places for c in compared),
    }


def unrelated(compared: Sequence[Compared]) -> float | None:
    """Mean score of replies of different pairs, None for fewer than two pairs."""
    own = [c.symmetry.log_likelihood for c in compared]
    return st.mean([math.exp(-abs(a - b)) for i, a in enumerate(own) for b in own[:i]])


def run(backend: Backend, options: Options) -> Result:
    """Compares options.limit pairs, at most all. Raises ConfigError for options of other suites, RuntimeFault for a model without a chat format."""
    options.refuse("symmetry", "levels", "data", "held_out", "stride", "tasks", "data_dir")
    pairs = load_pairs()[: options.limit]
    found = []
    with Scorer(backend, n_threads=options.threads) as scorer:
        for i, pair in enumerate(pairs):
            messages = [("user", pair.prompt)]
            symmetry = scorer.score(messages, pair.reply)
            divergence, places = scorer.divergence(messages, pair.reply)
            found.append(Compared(pair, symmetry, divergence, places))
            options.progress(i + 1, len(pairs))
    return Result(found)


def _row(topic: str, f: dict[str, Any]) -> tuple[str, ...]:
    numbers = (f"{f[name]:.2f}" for name in ("score", "median_score"))
    return (
        topic,
        str(f["pairs"]),
        *numbers,
        f"{f['share_above_limit']:.0%}",
        f"{f['lean']:+.2f}",
        f"{f['divergence']:.2f}",
    )
