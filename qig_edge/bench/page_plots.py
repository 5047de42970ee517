"""The plots of the bench page, each from one row: a figure with its title, legend and drawing, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from qig_edge.bench.diagnose import measured
from qig_edge.bench.svg import Axis, Series, bars, chart, linear, logarithmic

Row = dict[str, Any]


def figures(row: Row) -> list[str]:
    """All figures of a row, in reading order."""
    return [by_depth(row), roofline(row), memory(row), *sustained(row), *telemetry(row)]


def by_depth(row: Row) -> str:
    """Decode speed over the positions in the cache, every sample a dot, of a prediction its interval; speed from zero."""
    tests = measured(row)
    title = "Speed by depth"
    if not tests:
        return _missing(title, "no decode test fits the context")
    rates = [(float(d["depth"]), d["tokens_per_second"]) for d in tests]
    median = [(depth, rate["median"]) for depth, rate in rates]
    shown = [Series("median", median, dots=len(median) == 1, tips=[f"{y:.1f} tok/s" for _, y in median])]
    dots = [(depth, s) for depth, rate in rates for s in rate.get("samples") or []]
    # a stroke from end to end at each depth, the pen lifted in between
    strokes = [
        (depth, rate.get(end)) for depth, rate in rates if not rate.get("samples") and rate.get("min") is not None for end in ("min", "max", "")
    ]
    if dots:
        tips = [f"depth {x:.0f}: {y:.1f} tok/s" for x, y in dots]
        shown.append(Series("samples", dots, colour=2, joined=False, dots=True, tips=tips))
    if strokes:
        shown.append(Series("interval", strokes, colour=2))
    marks = ", a dot for each sample" if dots else ", a stroke for each interval" if strokes else ""
    note = f"Decode, one token at a time; a line through the medians{marks}."
    ys = [y for _, y in (*median, *dots, *strokes) if y is not None]
    x = linear("positions in the cache", [depth for depth, _ in median], whole=True, tight=True)
    says = "decode speed by depth: " + ", ".join(f"{y:.1f} tok/s at {depth:.0f}" for depth, y in median)
    return _figure(title, note, chart(x, linear("tok/s", ys), shown, says), shown if len(shown) > 1 else [])


def roofline(row: Row) -> str:
    """Tokens a second over bytes a token: what memory allows, what prefill reached, and where decode stands."""
    result, tests = row["result"], [d for d in measured(row) if d.get("bytes_per_token")]
    title = "Roofline"
    if not tests:
        return _missing(title, f"{result['isa']} does not tell what a token makes it read")
    bandwidth = result["bandwidth_bytes_per_second"]
    points = [(d["bytes_per_token"] / 1e6, d["tokens_per_second"]["median"]) for d in tests]
    tips = [
        f"depth {d['depth']}: {d['bytes_per_token'] / 1e6:.2f} MB a token, {d['ceiling_fraction']:.0%} of the ceiling"
        for d in tests
    ]
    x = logarithmic("MB read a token", [p for p, _ in points] + [points[0][0] / 2, points[-1][0] * 2])
    ends = [x.low, x.high]
    roofs = [Series(f"memory: {bandwidth / 1e9:.1f} GB/s", [(e, bandwidth / 1e6 / e) for e in ends], colour=1)]
    ys = [y for _, y in points] + [bandwidth / 1e6 / e for e in ends]
    if result["prefill"]["fits"]:
        prefill = result["prefill"]["tokens_per_second"]["median"]
        roofs.append(Series("arithmetic that prefill reached", [(e, prefill) for e in ends], colour=3, dashed=True))
        ys.append(prefill)
    dots = Series("decode, one dot a depth", points, colour=2, joined=False, dots=True, tips=tips)
    drawn = chart(x, logarithmic("tok/s", ys), [*roofs, dots], "roofline: " + "; ".join(tips))
    note = "A dot on the slanted line is as fast as memory allows. Prefill reads the weights once for many tokens: what it reaches is arithmetic."
    return _figure(title, note, drawn, [*roofs, dots])


def memory(row: Row) -> str:
    """Bars from zero: the file, the cache, the peak of the process."""
    result = row["result"]
    parts = [
        ("model file", result["file_bytes"]),
        (f"cache, {result['context']} positions", result["cache_bytes"]),
        ("peak of the process", result["peak_rss_bytes"]),
    ]
    items = [(name, size / 2**20, f"{size / 2**20:.1f} MiB") for name, size in parts if size is not None]
    total = row["machine"].get("memory_bytes")
    share = (
        f" The peak is {_share(result['peak_rss_bytes'] / total)} of this machine's {total / 2**30:.1f} GiB."
        if total and result["peak_rss_bytes"]
        else ""
    )
    note = f"The file is mapped: pages of it count in the peak once they are read.{share}"
    return _figure("Memory", note, bars(items, "MiB", "; ".join(f"{n}: {w}" for n, _, w in items)), [])


def _share(part: float) -> str:
    return f"{part:.1%}" if part >= 0.001 else "less than 0.1%"


def sustained(row: Row) -> list[str]:
    """Rate, temperature and clock over the minutes of a sustained run; nothing where there was none."""
    run = row.get("sustained")
    if not run:
        return []
    samples = run["samples"]
    if not samples:
        return [_missing("Sustained decode", "it was interrupted before the first sample")]
    minutes = [s["seconds"] / 60 for s in samples]
    x = linear("minutes", minutes, tight=True)
    rates = [(t, s["tokens_per_second"]) for t, s in zip(minutes, samples, strict=True)]
    slowed = [point for point, on in zip(rates, _throttled(samples), strict=True) if on]
    lines = [Series("tok/s", rates, dots=len(rates) < 4)]
    if slowed:
        lines.append(Series("the machine says that it throttles", slowed, colour=2, joined=False, dots=True))
    kept = "" if run["kept"] is None else f" At the end {run['kept']:.0%} of the speed at the beginning."
    cut = f" Interrupted after {minutes[-1]:.1f} of {run['minutes']:g} minutes." if run["interrupted"] else ""
    note = f"Decoding without a pause, a sample every {run['interval_seconds']:g} s.{kept}{cut}"
    drawn = chart(x, linear("tok/s", [y for _, y in rates]), lines, note)
    return [_figure("Sustained decode", note, drawn, lines if slowed else []), *_sensors(run, minutes, x)]


def _throttled(samples: Sequence[dict[str, Any]]) -> list[bool]:
    """Whether the machine told of throttling in each sample: by a flag, or by a counter that rose."""
    counts = [s["throttle_count"] for s in samples]
    rose = [False, *(a is not None and b is not None and b > a for a, b in zip(counts, counts[1:], strict=False))]
    return [bool(s["throttled"]) or up for s, up in zip(samples, rose, strict=True)]


def _sensors(run: dict[str, Any], minutes: Sequence[float], x: Axis) -> list[str]:
    """A figure for each sensor that told something, and one that says why the others are not there."""
    out, missing = [], []
    no_sensor, no_meter = "no sensor is readable on this machine", run["energy_reason"] or "the meter gave no value"
    for title, key, label, why in (
        ("Temperature", "temperature_c", "°C", no_sensor),
        ("Clock", "frequency_mhz", "MHz", no_sensor),
        ("Power", "watts", "W", no_meter),
    ):
        values = [(t, s[key]) for t, s in zip(minutes, run["samples"], strict=True)]
        known = [v for _, v in values if v is not None]
        if not known:
            missing.append(f"{title.lower()} ({why})")
            continue
        # degrees Celsius have no zero that means none; clocks and watts have
        y = linear(label, known, zero=key != "temperature_c")
        low, high = (f"{v:,.0f}" if v >= 100 else f"{v:.1f}" for v in (min(known), max(known)))
        said = f"{low} to {high} {label}."
        if y.low != 0:
            said += " The axis does not begin at zero."
        drawn = chart(x, y, [Series(label, values, colour=2, dots=len(known) < 4)], f"{title}: {said}")
        out.append(_figure(f"{title} while sustained", said, drawn, []))
    return [*out, _missing("While sustained", "; ".join(missing))] if missing else out


def telemetry(row: Row) -> list[str]:
    """What the model says of itself, token by token, in [0, 1]; and what it read for each token."""
    state = row.get("own_state")
    if not state:
        return []
    out = []
    for title, fields in (
        ("Surprise and confidence", ("surprise", "confidence")),
        ("Integration and agency", ("phi", "agency")),
    ):
        told = [f for f in fields if any(v is not None for v in state[f])]
        if not told:
            out.append(_missing(title, "this back end does not tell"))
            continue
        names = {"phi": "integration (phi)", "agency": "pairs active (agency)"}
        series = [Series(names.get(f, f), list(enumerate(state[f])), colour=1 + fields.index(f)) for f in told]
        x = linear("token", [float(len(state[told[0]]) - 1), 1.0], whole=True, tight=True)
        says = f"{title} of {len(state[told[0]])} tokens"
        out.append(_figure(title, f"Of {state['of']}.", chart(x, linear("0 to 1", [0.0, 1.0]), series, says), series))
    read = [(i, None if v is None else v / 1e6) for i, v in enumerate(state["bytes_read"])]
    known = [v for _, v in read if v is not None]
    if known:
        x = linear("token", [float(len(read) - 1), 1.0], whole=True, tight=True)
        drawn = chart(
            x, linear("MB", known), [Series("MB", read)], f"bytes read a token: {min(known):.2f} to {max(known):.2f} MB"
        )
        blocks = [b for b in state["blocks_run"] if b is not None]
        note = (
            f"Weights and cache. Blocks run: {sum(blocks) / len(blocks):.2f} of {row['result']['n_layers']} on average."
            if blocks
            else "Weights and cache."
        )
        out.append(_figure("Bytes read a token", note, drawn, []))
    return out


def _figure(title: str, note: str, drawn: str, legend: Sequence[Series]) -> str:
    marks = "".join(
        f'<li class="c{s.colour}"><i class="{"points" if not s.joined else "dashed" if s.dashed else ""}"></i>{escape(s.name)}</li>'
        for s in legend
    )
    marks = f'<ul class="legend">{marks}</ul>' if marks else ""
    return f"<figure><figcaption><b>{escape(title)}</b><span>{escape(note)}</span>{marks}</figcaption>{drawn}</figure>"


def _missing(title: str, why: str) -> str:
    head = f'<figure class="missing"><figcaption><b>{escape(title)}</b></figcaption>'
    return f'{head}<p class="note">Not shown: {escape(why)}.</p></figure>'
