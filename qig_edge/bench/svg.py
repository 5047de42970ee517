"""Plots as inline SVG: no library, no script. Colours come from the page's style, so that they follow its light and dark.

The drawing is WIDTH x HEIGHT units, about the width of a phone: on one it is shown at nearly its own size, so that its text stays readable. Axes
with zero in them begin there; a logarithmic one says so in its label.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT = 400, 250
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 24, 44
TICKS = 5
Point = tuple[float, "float | None"]


@dataclasses.dataclass(frozen=True)
class Axis:
    """From low to high with labelled ticks; log: positions go by logarithms, low is then above 0."""

    label: str
    low: float
    high: float
    ticks: list[float]
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value stands, 0 at low and 1 at high."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclasses.dataclass(frozen=True)
class Series:
    """A named set of points in one colour (1 to 4). joined: a line through them; dots: their places; a point without y is a gap. tips: words shown
    where a pointer rests on a dot, one for each point."""

    name: str
    points: Sequence[Point]
    colour: int = 1
    joined: bool = True
    dots: bool = False
    dashed: bool = False
    tips: Sequence[str] = ()


def nice_step(span: float, most: int = TICKS) -> float:
    """1, 2 or 5 times a power of ten, so that at most `most` steps fill the span."""
    raw = span / most
    power = 10.0 ** math.floor(math.log10(raw))
    # the last factor is for a raw that rounding put a hair above 5 powers
    return next(f * power for f in (1, 2, 5, 10, 20) if f * power >= raw * (1 - 1e-9))


def linear(label: str, values: Sequence[float], zero: bool = True, whole: bool = False, tight: bool = False) -> Axis:
    """An axis that holds the values; from zero, where zero is not false. whole: no ticks between whole numbers. tight: it ends with the largest
    value, not at the tick after it."""
    low, high = min(values), max(values)
    low = min(low, 0.0) if zero else low
    if high - low < 1e-9 * max(abs(high), 1e-9):
        high = low + (abs(low) or 1.0)
    step = nice_step(high - low)
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if tight:
        last = math.floor(high / step + 1e-9)
        return Axis(label, first * step, high, [i * step for i in range(first, last + 1)])
    return Axis(label, first * step, last * step, [i * step for i in range(first, last + 1)])


def logarithmic(label: str, values: Sequence[float]) -> Axis:
    """An axis of whole 1-2-5 steps around positive values."""
    steps = [f * 10.0**e for e in range(-9, 13) for f in (1, 2, 5)]
    low = max(s for s in steps if s <= min(values) * (1 + 1e-9))
    high = min(s for s in steps if s >= max(values) * (1 - 1e-9))
    if low == high:
        low, high = low / 2, high * 2
    inside = [s for s in steps if low <= s <= high]
    if len(inside) > 8:  # powers of ten alone, or there is no room
        inside = [s for s in inside if math.log10(s) == round(math.log10(s))]
    return Axis(f"{label} (logarithmic)", low, high, inside, log=True)


def labels(ticks: Sequence[float]) -> list[str]:
    """Short words for an axis' ticks, all in the unit that the largest needs: 0.05, 20, 1,500; from ten thousand on 5k, 10k."""
    most = max((abs(t) for t in ticks), default=0.0)
    unit, letter = (1e6, "M") if most >= 1e7 else (1e3, "k") if most >= 1e4 else (1.0, "")
    return [f"{t / unit:,.6g}{letter if t else ''}" for t in ticks]


def chart(x: Axis, y: Axis, series: Sequence[Series], says: str) -> str:
    """An <svg> of lines and dots over two axes. says: what it shows, for people who do not see it."""
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def px(value: float) -> float:
        return LEFT + across * x.at(value)

    def py(value: float) -> float:
        return TOP + down * (1 - y.at(value))

    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(says)}">']
    for tick, words in zip(y.ticks, labels(y.ticks), strict=True):
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(tick):.1f}" y2="{py(tick):.1f}"/>')
        out.append(f'<text class="tick" x="{LEFT - 6}" y="{py(tick) + 4:.1f}" text-anchor="end">{words}</text>')
    for tick, words in zip(x.ticks, labels(x.ticks), strict=True):
        out.append(f'<line class="grid" x1="{px(tick):.1f}" x2="{px(tick):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        out.append(_under(px(tick), HEIGHT - BOTTOM + 18, words))
    out.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>')
    out.append(f'<text class="label" x="2" y="12">{escape(y.label)}</text>')
    out.append(f'<text class="label" x="{WIDTH - 2}" y="{HEIGHT - 6}" text-anchor="end">{escape(x.label)}</text>')
    for s in series:
        out += _drawn(s, px, py)
    return "".join([*out, "</svg>"])


def _drawn(s: Series, px, py) -> list[str]:  # type: ignore[no-untyped-def]
    out = []
    if s.joined:
        path, pen = [], False
        for vx, vy in s.points:
            if vy is None:
                pen = False
                continue
            path.append(f"{'L' if pen else 'M'}{px(vx):.1f} {py(vy):.1f}")
            pen = True
        out.append(f'<path class="line c{s.colour}{" dashed" if s.dashed else ""}" d="{"".join(path)}"/>')
    if s.dots:
        for i, (vx, vy) in enumerate(s.points):
            if vy is not None:
                tip = f"<title>{escape(s.tips[i])}</title>" if s.tips else ""
                out.append(
                    f'<circle class="dot c{s.colour}" cx="{px(vx):.1f}" cy="{py(vy):.1f}" r="3.5">{tip}</circle>'
                )
    return out


def bars(items: Sequence[tuple[str, float, str]], label: str, says: str) -> str:
    """An <svg> of horizontal bars from zero: (name, value, the value in words)."""
    row, top, bottom, left = 38, 4, 34, 2
    height = top + row * len(items) + bottom
    x = linear(label, [v for _, v, _ in items])
    across = WIDTH - left - RIGHT

    def px(value: float) -> float:
        return left + across * x.at(value)

    out = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(says)}">']
    for i, (tick, words) in enumerate(zip(x.ticks, labels(x.ticks), strict=True)):
        at = px(tick)
        out.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{height - bottom}"/>')
        out.append(_under(at, height - bottom + 14, words, first=i == 0))
    for i, (name, value, words) in enumerate(items):
        y = top + row * i
        out.append(f'<text class="bar" x="{left + 2}" y="{y + 14}">{escape(name)}</text>')
        out.append(f'<text class="bar" x="{WIDTH - 2}" y="{y + 14}" text-anchor="end">{escape(words)}</text>')
        out.append(
            f'<rect class="fill c{i % 4 + 1}" x="{left}" y="{y + 19}" width="{max(px(value) - left, 0.5):.1f}" height="12"/>'
        )
    out.append(f'<text class="label" x="{WIDTH - 2}" y="{height - 4}" text-anchor="end">{escape(label)}</text>')
    return "".join([*out, "</svg>"])


def _under(x: float, y: float, words: str, first: bool = False) -> str:
    """A tick's label under its place; the outermost ones would hang over the edge and lean inward."""
    anchor = "start" if first else "end" if x > WIDTH - RIGHT - 8 else "middle"
    at = x + RIGHT - 2 if anchor == "end" else x
    return f'<text class="tick" x="{at:.1f}" y="{y}" text-anchor="{anchor}">{words}</text>'
