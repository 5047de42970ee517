"""The suite "puzzles": test problems answered by a Backend, and whether the model's own state told what it could do.

Answers are greedy and compared exactly with the right one. What the state is held to is always the model's own answer: the right one
is never evaluated.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

from qig_edge.errors import ConfigError
from qig_edge.evals.answers import Answer, ask, fits
from qig_edge.evals.ipc import factors
from qig_edge.evals.puzzles.generate import LEVELS, problems
from qig_edge.evals.puzzles.problem import Problem
from qig_edge.evals.puzzles.score import Scores, score
from qig_edge.evals.puzzles.state import CLAIMS, COVERAGES, state_metrics
from qig_edge.evals.statistics import Proportion
from qig_edge.evals.suites import Options, Scored, Table
from qig_edge.runtime.backend import Backend, Sampling


@dataclasses.dataclass(frozen=True)
class Puzzles:
    """Scores over every problem, and each one's result; the state over those that were asked, with their answers. n_ctx in tokens."""

    seed: int
    scores: Scores
    scored: list[Scored]
    asked: list[Problem]
    answers: list[Answer]
    n_ctx: int

    @cached_property
    def state(self) -> dict[str, Any]:
        """The metrics of qig_edge.evals.puzzles.state."""
        return state_metrics(self.asked, self.answers)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON."""
        s = self.scores
        cells: dict[str, dict[str, Any]] = {family: {} for family in s.by_family}
        for (family, level), share in s.cells.items():
            cells[family][str(level)] = share.to_dict()
        return {
            "suite": "puzzles",
            "split": "test",
            "seed": self.seed,
            "problems": s.overall.total,
            "asked": len(self.asked),
            "accuracy": s.overall.to_dict(),
            "by_level": {str(level): share.to_dict() for level, share in s.by_level.items()},
            "by_family": {family: share.to_dict() for family, share in s.by_family.items()},
            "cells": cells,
            "ipc": factors(self.scored),
            "state": self.state,
        }

    def tables(self) -> list[Table]:
        """Accuracy by family and level; what phi, surprise and regimes told; claims of being right; means by level."""
        return [self._accuracy(), self._told(), self._claims(), self._levels()]

    def notes(self) -> list[str]:
        """What was left out, and what cannot be said."""
        notes, n = [], self.scores.overall
        left = n.total - len(self.asked)
        if left:
            notes.append(
                f"{left} problems do not fit the context of {self.n_ctx} tokens: they count as wrong, the state is that of the others."
            )
        if n.right in (0, n.total):
            notes.append(
                f"{'Every' if n.right else 'No'} answer is right: what would tell right ones from wrong ones is undefined."
            )
        if self.state["regimes"] and self.state["regimes"]["geometric"] == 1:
            notes.append("Every token is geometric: a model without a regime detector reports the same.")
        return notes

    def _accuracy(self) -> Table:
        s = self.scores
        rows = [
            (family, *(_percent(s.cells.get((family, n))) for n in s.by_level), _percent(share), f"{share.chance:.0%}")
            for family, share in s.by_family.items()
        ]
        rows.append(("all", *map(_percent, s.by_level.values()), _percent(s.overall), f"{s.overall.chance:.0%}"))
        columns = ("% right", *(f"level {n}" for n in s.by_level), "all", "chance")
        return Table(f"accuracy on {s.overall.total} test problems, with standard errors", columns, tuple(rows))

    def _told(self) -> Table:
        s = self.state
        error = s["surprise_error_auroc_stderr"]
        regimes = s["regimes"]
        told = "not reported" if regimes is None else ", ".join(f"{name} {x:.1%}" for name, x in regimes.items())
        rows = (
            ("phi and level, rank correlation", _number(s["phi_level_spearman"])),
            ("  within families, mean", _number(s["phi_level_spearman_within_families"])),
            ("  prompt's length taken out", _number(s["phi_level_spearman_given_length"])),
            (
                "surprise for errors, AUROC",
                _number(s["surprise_error_auroc"]) + ("" if error is None else f" ±{error:.2f}"),
            ),
            ("  within families, mean", _number(s["surprise_error_auroc_within_families"])),
            ("tokens by regime", told),
        )
        return Table("what the state told", ("", "value"), rows)

    def _claims(self) -> Table:
        rows = []
        for name, label in CLAIMS.items():
            claim = self.state["claims"][name]
            if claim is None:
                rows.append((label, *["-"] * (2 + len(COVERAGES))))
                continue
            surest = [_number(row["accuracy"]) for row in claim["selective"]]
            rows.append((label, _number(claim["calibration_error"]), _number(claim["error_auroc"]), *surest))
        columns = ("claim to be right", "ECE", "AUROC", *(f"{c:.0%}" for c in COVERAGES))
        return Table("calibration error, lack of it for errors, accuracy of the surest", columns, tuple(rows))

    def _levels(self) -> Table:
        columns = ("level", "prompt", "phi", "surprise", "confid.", "agency", "blocks", "kB/token")
        rows = []
        for row in self.state["by_level"]:
            fields = [_number(row[name], 3) for name in ("phi", "surprise", "confidence", "agency")]
            kilobytes = None if row["bytes_read"] is None else row["bytes_read"] / 1e3
            rows.append(
                (
                    str(row["level"]),
                    _number(row["prompt_tokens"], 1),
                    *fields,
                    _number(row["blocks_run"]),
                    _number(kilobytes, 0),
                )
            )
        return Table("means by level", columns, tuple(rows))


def run(backend: Backend, options: Options) -> Puzzles:
    """Asks options.limit test problems. Raises ConfigError where the context holds none of them, and for options of other suites."""
    options.refuse("puzzles", "data", "held_out", "stride", "tasks", "data_dir")
    chosen = list(problems(options.limit, options.seed, "test", options.levels or LEVELS))
    asked: list[Problem] = []
    answers: list[Answer] = []
    right: list[bool] = []
    session = backend.session(n_threads=options.threads)
    try:
        session.set_sampler(Sampling.greedy())
        for i, problem in enumerate(chosen):
            if fits(backend, session, problem.prompt):
                asked.append(problem)
                answers.append(ask(backend, session, problem.prompt))
            right.append(bool(asked) and asked[-1] is problem and answers[-1].text == problem.answer)
            options.progress(i + 1, len(chosen))
        if not asked:
            raise ConfigError(f"none of {len(chosen)} problems fits this model's context of {session.n_ctx} tokens")
        scored = [Scored(p.family, p.level, p.chance, ok) for p, ok in zip(chosen, right, strict=True)]
        return Puzzles(options.seed, score(chosen, right), scored, asked, answers, session.n_ctx)
    finally:
        session.close()


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(p: Proportion | None) -> str:
    return "-" if p is None else f"{100 * p.share:.0f} ±{100 * p.stderr:.0f}"
