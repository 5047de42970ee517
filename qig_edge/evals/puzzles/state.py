"""Whether the model's own state told how hard a problem was, which answers were wrong, and how sure it could be.

Everything is measured on the model's own answers; None stands for what is undefined (no error, no variation) or was not observed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from qig_edge.evals import statistics as st
from qig_edge.evals.answers import Answer
from qig_edge.evals.puzzles.problem import Problem

COVERAGES = (0.25, 0.5, 0.75, 1.0)
REGIMES = ("linear", "geometric", "breakdown")
# Numbers that claim to be the probability of being right. Softmax is the plain measure that confidence has to beat.
CLAIMS = {
    "token_confidence": "confidence, each token",
    "token_probability": "softmax, each token",
    "first_confidence": "confidence before the answer",
    "answer_confidence": "confidence, product",
    "answer_probability": "softmax, product",
}


def state_metrics(problems: Sequence[Problem], answers: Sequence[Answer]) -> dict[str, Any]:
    """Everything about the state, for JSON. The sequences pair.

    phi_level_spearman: rank correlation of an answer's phi with its problem's level; within families (their mean); with the length of
    the prompt taken out. surprise_error_auroc: that a wrong answer's surprise exceeds a right one's; over everything it profits from
    families that differ in both, so the mean within families stands beside it. surprise_error_curve: share of wrong answers in groups of
    equal size by rising surprise. claims: by name in CLAIMS, the
    number of values, calibration error over ten bins with its curve, AUROC of the lack of it for errors, accuracy of the surest.
    """
    right = [a.text == p.answer for p, a in zip(problems, answers, strict=True)]
    wrong = [not ok for ok in right]
    levels = [float(p.level) for p in problems]
    phi, surprise = _observed([a.phi for a in answers]), _observed([a.surprise for a in answers])
    by_family, areas = {}, {}
    for family in dict.fromkeys(p.family for p in problems):
        mine = [i for i, p in enumerate(problems) if p.family == family]
        by_family[family] = st.spearman([phi[i] for i in mine], [levels[i] for i in mine]) if phi else None
        areas[family] = st.auroc([surprise[i] for i in mine], [wrong[i] for i in mine]) if surprise else None
    lengths = [float(a.prompt_tokens) for a in answers]
    area = st.auroc(surprise, wrong) if surprise else None
    return {
        "phi_level_spearman": st.spearman(phi, levels) if phi else None,
        "phi_level_spearman_within_families": st.mean([r for r in by_family.values() if r is not None]),
        "phi_level_spearman_given_length": st.partial_spearman(phi, levels, lengths) if phi else None,
        "phi_level_spearman_by_family": by_family,
        "surprise_error_auroc": area,
        "surprise_error_auroc_stderr": None if area is None else st.auroc_stderr(area, sum(wrong), sum(right)),
        "surprise_error_curve": [
            {"surprise": x, "errors": share, "answers": n} for x, share, n in (st.groups(surprise, wrong) if surprise else [])
        ],
        "surprise_error_auroc_within_families": st.mean([a for a in areas.values() if a is not None]),
        "surprise_error_auroc_by_family": areas,
        "claims": {name: _claim(*values) for name, values in _claims(problems, answers, right).items()},
        "regimes": regime_shares(answers),
        "by_level": [_level(level, problems, answers) for level in sorted({p.level for p in problems})],
    }


def regime_shares(answers: Sequence[Answer]) -> dict[str, float] | None:
    """Share of the tokens, those of the prompts too, in each regime; None where a model reports none."""
    seen = [getattr(r, "regime", None) for a in answers for r in a.records]
    if not seen or any(s is None for s in seen):
        return None
    return {name: sum(s == i for s in seen) / len(seen) for i, name in enumerate(REGIMES)}


def _claims(
    problems: Sequence[Problem], answers: Sequence[Answer], right: Sequence[bool]
) -> dict[str, tuple[list[float], list[bool]]]:
    """Values of each claim with what they are held to: whether the token, or the answer, was right."""
    tokens = [a.tokens_right(p.answer) for p, a in zip(problems, answers, strict=True)]
    each = [ok for told in tokens for ok in told]

    def by_token(name: str) -> list[float]:
        return [v for a, told in zip(answers, tokens, strict=True) for v in getattr(a, name)[: len(told)]]

    return {
        "token_confidence": (by_token("confidences"), each),
        "token_probability": (by_token("probabilities"), each),
        "first_confidence": ([a.confidences[0] for a in answers], list(right)),
        "answer_confidence": ([math.prod(a.confidences) for a in answers], list(right)),
        "answer_probability": ([math.prod(a.probabilities) for a in answers], list(right)),
    }


def _claim(values: list[float], right: list[bool]) -> dict[str, Any] | None:
    if not _observed(values):
        return None
    curve = st.calibration_curve(values, right)
    return {
        "values": len(values),
        "calibration_error": st.calibration_error(curve),
        "error_auroc": st.auroc([-v for v in values], [not ok for ok in right]),
        "selective": [{"coverage": c, "accuracy": st.selective_accuracy(values, right, c)} for c in COVERAGES],
        "curve": [dataclasses.asdict(b) for b in curve],
    }


def _level(level: int, problems: Sequence[Problem], answers: Sequence[Answer]) -> dict[str, Any]:
    """Means over the answers of one level, and over all tokens of their texts."""
    mine = [a for p, a in zip(problems, answers, strict=True) if p.level == level]
    columns: dict[str, list[float | None]] = {
        "prompt_tokens": [float(a.prompt_tokens) for a in mine],
        "phi": [a.phi for a in mine],
        "surprise": [a.surprise for a in mine],
        "confidence": [st.mean(_observed(a.confidences)) for a in mine],
    }
    for name in ("agency", "blocks_run", "bytes_read"):
        columns[name] = [float(getattr(r, name)) for a in mine for r in a.records]
    means = {name: st.mean(_observed(values)) for name, values in columns.items()}
    return {"level": level, "answers": len(mine), **means}


def _observed(values: Sequence[float | None]) -> list[float]:
    """The values, or nothing where any of them was not observed."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    return known if len(known) == len(values) else []
