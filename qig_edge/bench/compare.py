"""Two bench rows held against each other: a verdict for each test that respects the spread, and no verdict in silence between unlike machines.

A test is faster or slower where the interval of its ratio (rank.py, 95% from the raw samples of both) leaves out 1, else no difference is seen.
The samples of one row share what the machine did in those seconds: an interval says what repeating the test there and then would give. Two rows of
the same thing, measured an hour apart, show how much that leaves out.
"""

from __future__ import annotations

from typing import Any

from qig_edge.bench.diagnose import OTHERS
from qig_edge.bench.rank import LEVEL, ratio
from qig_edge.bench.rows import series
from qig_edge.errors import ConfigError

Row = dict[str, Any]


def differences(a: Row, b: Row) -> list[str]:
    """What makes two rows unlike besides their numbers, a line each: "governor: performance / powersave"."""
    pairs: list[tuple[str, Any, Any]] = [("kind", a["kind"], b["kind"])]
    for what, key in (
        ("device", "device"),
        ("model", "model_sha256"),
        ("back end", "backend"),
        ("settings", "settings"),
    ):
        pairs.append((what, a.get(key), b.get(key)))
    for key in ("cpu", "board", "arch", "cores", "memory_bytes"):
        pairs.append((f"machine, {key}", a["machine"].get(key), b["machine"].get(key)))
    for what, key in (
        ("kernels", "isa"),
        ("threads", "threads"),
        ("threads of prefill", "threads_batch"),
        ("tokens", "tokens"),
    ):
        pairs.append((what, a["result"].get(key), b["result"].get(key)))
    for when in ("before", "after"):
        pairs.append((f"governor {when}", *(r[f"state_{when}"].get("governor") for r in (a, b))))
    out = [f"{what}: {_shown(x)} / {_shown(y)}" for what, x, y in pairs if x != y]
    if a["throttling"].get("throttled") != b["throttling"].get("throttled"):
        out.append("throttled: " + " / ".join(_throttled(r) for r in (a, b)))
    elif a["throttling"].get("throttled"):
        out.append("throttled, both: " + " / ".join(_throttled(r) for r in (a, b)))
    busy = [_busy(r) for r in (a, b)]
    if None not in busy and abs(float(busy[0] or 0) - float(busy[1] or 0)) >= OTHERS:
        out.append(f"cores that other work took: {busy[0]} / {busy[1]}")
    return out


def compare(a: Row, b: Row, names: tuple[str, str], anyway: bool = False) -> dict[str, Any]:
    """{"a", "b", "level", "differences", "tests": [{"test", "unit", "a", "b", "ratio", "low", "high", "verdict"}]}; ratios are speeds, b over a.

    Raises ConfigError where the rows differ in more than their numbers and `anyway` is not given, and where they have no test in common.
    """
    found = differences(a, b)
    if found and not anyway:
        raise ConfigError(
            f"{names[0]} and {names[1]} are not alike ({'; '.join(found)}): --anyway compares them all the same"
        )
    ours, theirs = series(a), series(b)
    common = [what for what in ours if what in theirs]
    if not common:
        raise ConfigError(f"{names[0]} and {names[1]} have no test in common: {', '.join(ours)} / {', '.join(theirs)}")
    tests = []
    for what in common:
        unit, first = ours[what]
        second = theirs[what][1]
        got, verdict = _verdict(unit, first, second)
        tests.append(
            {"test": what, "unit": unit, "a": first["median"], "b": second["median"], **got, "verdict": verdict}
        )
    return {
        "a": names[0], "b": names[1], "level": LEVEL, "differences": found, "tests": tests,
        "only": sorted({*ours, *theirs} - set(common)),
    }  # fmt: skip


def _verdict(unit: str, first: dict[str, Any], second: dict[str, Any]) -> tuple[dict[str, float | None], str]:
    a, b = (list(s.get("samples") or []) for s in (first, second))
    if not a or not b:  # a prediction has none
        times = second["median"] / first["median"] if unit == "tok/s" else first["median"] / second["median"]
        return {"ratio": times, "low": None, "high": None}, "not told: no samples"
    found = ratio(a, b) if unit == "tok/s" else ratio(b, a)  # times: less is faster
    got = {"ratio": found.estimate, "low": found.low, "high": found.high}
    if found.low is None or found.high is None:
        return got, f"not told: {len(a)} and {len(b)} samples are too few"
    if found.low > 1:
        return got, "faster"
    return got, "slower" if found.high < 1 else "no difference seen"


def lines(found: dict[str, Any]) -> list[str]:
    """What compare() found, for a terminal: differences on top, a line a test, the verdict in words."""
    out = []
    if found["differences"]:
        out.append("NOT ALIKE, so what follows is no verdict on the two models or programs alone:")
        out += [f"  {line}" for line in found["differences"]] + [""]
    heads = ["", found["a"], found["b"], "speed, b / a", f"{found['level']:.0%} interval", "b is"]
    rows = [heads]
    for t in found["tests"]:
        between = "-" if t["low"] is None else f"{t['low']:.3f} to {t['high']:.3f}"
        rows.append([t["test"], *(f"{t[k]:.2f} {t['unit']}" for k in "ab"), f"{t['ratio']:.3f}", between, t["verdict"]])
    widths = [max(len(row[c]) for row in rows) for c in range(len(heads))]
    out += ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    out.append("")
    for verdict in ("faster", "slower", "no difference seen"):
        of = [t["test"] for t in found["tests"] if t["verdict"] == verdict]
        if of:
            out.append(
                f"{found['b']} is {verdict}: {', '.join(of)}."
                if verdict != "no difference seen"
                else f"No difference seen: {', '.join(of)}."
            )
    untold = [t["test"] for t in found["tests"] if t["verdict"].startswith("not told")]
    if untold:
        out.append(f"Not told, for want of samples (four a side are the fewest): {', '.join(untold)}.")
    if found["only"]:
        out.append(f"In one of the two only: {', '.join(found['only'])}.")
    return out


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items()) or "none"
    text = "unknown" if value is None else str(value)
    return text[:12] if len(text) == 64 else text  # a hash


def _throttled(row: Row) -> str:
    told = row["throttling"].get("throttled")
    return "not known" if told is None else f"yes ({row['throttling']['why']})" if told else "no"


def _busy(row: Row) -> float | None:
    found = [b for s in ("state_before", "state_after") if (b := row[s].get("busy_cores")) is not None]
    return max(found, default=None)
