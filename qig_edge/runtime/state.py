"""What a user sees of a model's state: words for its numbers, a row or a JSON line a token, an answer as a whole.

kernels/src/main_state.c writes the same texts, character by character; docs/formats.md ("Telemetry in words") says what the words mean.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qig_edge.runtime.backend import Telemetry

if TYPE_CHECKING:
    from qig_edge.runtime.opening import OpenedModel

REGIMES = ("linear", "geometric", "breakdown")
BREAKDOWN = 2
SHOWN_WIDTH = 24

# Cut points of the words: below low the first, below high the second, else the third.
LEVELS: dict[str, tuple[float, float, tuple[str, str, str]]] = {
    "phi": (0.3, 0.7, ("loose", "moderate", "strong")),
    "confidence": (0.2, 0.5, ("unsure", "fairly sure", "sure")),
    "surprise": (0.55, 0.95, ("expected", "surprising", "astonishing")),
}
# in the order in which lines show them; the last two are whole numbers
FIELDS = (
    "phi",
    "surprise",
    "confidence",
    "agency",
    "curvature",
    "kappa",
    "coherence_drift",
    "blocks_run",
    "bytes_read",
)
WHOLE = FIELDS[-2:]


@dataclasses.dataclass(frozen=True)
class TokenState:
    """One token of an answer, evaluated at pos. text: the characters that became whole with it."""

    pos: int
    token: int
    text: str
    telemetry: Telemetry


class AnswerState:
    """Sums of telemetry over the tokens of an answer that were evaluated; what was not observed (NaN) is left out of the means."""

    def __init__(self) -> None:
        self.tokens = 0
        self.regimes = [0] * len(REGIMES)
        self._sums = dict.fromkeys(FIELDS, 0.0)
        self._counts = dict.fromkeys(FIELDS, 0)

    def add(self, telemetry: Telemetry) -> None:
        """Takes the record of one more token."""
        self.tokens += 1
        self.regimes[telemetry.regime] += 1
        for name in FIELDS:
            value = float(getattr(telemetry, name))
            if not math.isnan(value):
                self._sums[name] += value
                self._counts[name] += 1

    def mean(self, name: str) -> float:
        """Mean of one of FIELDS over the tokens, NaN where none was observed."""
        return self._sums[name] / self._counts[name] if self._counts[name] else math.nan

    def share(self, regime: int) -> float:
        """Share of the tokens in a regime, NaN without tokens."""
        return self.regimes[regime] / self.tokens if self.tokens else math.nan

    @property
    def uncertain(self) -> bool:
        """Whether any token of the answer was in breakdown."""
        return self.regimes[BREAKDOWN] > 0

    def facts(self) -> dict[str, Any]:
        """The JSON fields of an answer: uncertain, share of the tokens by regime, mean of every field; None where nothing was observed."""
        shares = {name: _number(self.share(i)) for i, name in enumerate(REGIMES)}
        return {"uncertain": self.uncertain, "regimes": shares, **{name: _number(self.mean(name)) for name in FIELDS}}


def adaptive(model: OpenedModel, state: AnswerState) -> bool:
    """Whether the model decides token by token what it computes, or pairs were cut."""
    return model.decides or state.mean("agency") < 1


def word(field: str, value: float) -> str:
    """The word for a value of phi, confidence or surprise; a dash for NaN."""
    low, high, words = LEVELS[field]
    return "-" if math.isnan(value) else words[0] if value < low else words[1] if value < high else words[2]


def token_line(t: TokenState) -> str:
    """One token as a JSON object with every field, in the order and with the digits that the qig program prints."""
    values = {"pos": str(t.pos), "token": str(t.token), "text": _quoted(t.text)}
    values["regime"] = _quoted(REGIMES[t.telemetry.regime])
    for name in FIELDS:
        value = getattr(t.telemetry, name)
        values[name] = "null" if not math.isfinite(value) else str(value) if name in WHOLE else f"{value:.9g}"
    return "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"


def token_table(trace: Sequence[TokenState]) -> list[str]:
    """Aligned lines: a head, and for each token its text, its regime, number and word of its state, blocks run and pairs active."""
    texts = [_shown(t.text) for t in trace]
    width = max([5, *map(len, texts)])
    out = [_row(width, "token", "regime", "phi", "confidence", "surprise", "drift", "blocks", "pairs")]
    for t, text in zip(trace, texts, strict=True):
        v = t.telemetry
        cells = [_cell(name, getattr(v, name)) for name in ("phi", "confidence", "surprise")]
        drift = "-" if math.isnan(v.coherence_drift) else f"{v.coherence_drift:.2f}"
        pairs = "-" if math.isnan(v.agency) else f"{100 * v.agency:.0f}%"
        out.append(_row(width, text, REGIMES[v.regime], *cells, drift, str(v.blocks_run), pairs))
    return out


def summary(state: AnswerState) -> str:
    """One line in words about an answer: means over its tokens, and the regimes that came up."""
    if not state.tokens:
        return "[no token was evaluated, so there is no telemetry]"
    means = ", ".join(f"{name} {_cell(name, state.mean(name))}" for name in ("phi", "confidence", "surprise"))
    agency = state.mean("agency")
    return f"[mean of {state.tokens} tokens: {means}, agency {'-' if math.isnan(agency) else f'{agency:.2f}'}; {_shares(state)}]"


def state_part(state: AnswerState, n_layers: int) -> str:
    """What an adaptive model's statistics line says of an answer, from its separator on; empty without tokens."""
    if not state.tokens:
        return ""
    return (
        f"; blocks {state.mean('blocks_run'):.2f} of {n_layers}, pairs active {100 * state.mean('agency'):.0f}%, {_shares(state)}"
        + (", uncertain" if state.uncertain else "")
    )


def notice(state: AnswerState, end: str, conversation: bool) -> str | None:
    """The line about breakdown that follows an answer whatever the user asked for, None where there was none."""
    if end == "breakdown":
        return f"(the model lost the thread: it {'waits for you' if conversation else 'stopped'})"
    if state.uncertain:
        return f"(uncertain: {state.regimes[BREAKDOWN]} of {state.tokens} tokens in breakdown)"
    return None


def _row(width: int, token: str, regime: str, phi: str, confidence: str, surprise: str, *right: str) -> str:
    drift, blocks, pairs = right
    return f"{token:<{width}}  {regime:<9}  {phi:<13}  {confidence:<16}  {surprise:<16}  {drift:>5}  {blocks:>6}  {pairs:>5}"


def _cell(field: str, value: float) -> str:
    return "   -" if math.isnan(value) else f"{value:.2f} {word(field, value)}"


def _shares(state: AnswerState) -> str:
    return ", ".join(f"{name} {100 * state.share(i):.0f}%" for i, name in enumerate(REGIMES) if state.regimes[i])


def _shown(text: str) -> str:
    quoted = _quoted(text)
    return quoted if len(quoted) <= SHOWN_WIDTH else quoted[: SHOWN_WIDTH - 1] + "…"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
