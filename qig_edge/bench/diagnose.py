"""The verdict in words on a bench row: what bounds decoding, how far it is from the ceiling, what to change.

Rules, in the order in which the first that holds is the bound. Each looks at numbers of the row and says them:

swap       pages came back from disk during the run (more than SWAPPED), or the model's weights and cache are larger than the memory.
thermal    the machine said that it throttled; or a sustained run kept less than KEPT of its speed while frequency fell as well.
threads    more threads than cores: they wait for each other.
memory     decode reads at BOUND or more of what plain reading reaches on a buffer of the model's size: fewer bytes a token is the only way.
           Where weights and cache fit into the last-level cache that ceiling is the cache's, and the rule is named cache.
compute    decode reads less than BOUND of the ceiling. Where prefill, which reads the weights once for many tokens, is less than AMORTIZED times as
           fast as decode with as many tokens in sight, arithmetic is what both wait for; else it is waiting (latency, starting and joining
           threads, small tensors). Instructions a cycle settle it where they were measured: below STALLED the processor waits, at COMPUTING or
           more it computes.

Beside the bound, whatever it is:
depth      decode at the greatest depth reaches less than DEEP of the first one. The part that the bytes of the cache explain is theirs, the rest is
           attention's arithmetic.
slowing    a sustained run kept less than KEPT and nothing says why: other work, or throttling that the machine does not tell.
governor   the frequency governor is one that keeps the processor slow.
kernels    the scalar reference kernels ran.
others     other programs, or other guests of the host, took OTHERS cores or more just before or after: numbers are rough.
spread     a decode test's samples are further apart than SPREAD of their median: numbers are rough.
predicted  nothing was measured: the row says what a profile makes likely.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

BOUND = 0.6
AMORTIZED = 2.0
STALLED, COMPUTING = 1.0, 2.0
DEEP = 0.8
KEPT = 0.9
FELL = 0.95  # of the frequency: less than this is a fall
OTHERS = 0.5
SPREAD = 0.2
SWAPPED = 256  # pages
SLOW_GOVERNORS = ("powersave", "conservative", "userspace")

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One rule that holds. rule: its name above; says: what the numbers show; do: what to change, empty where there is nothing."""

    rule: str
    says: str
    do: str = ""


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """bound: the first bounding rule that holds, None where no decode test fits; share: of the ceiling, None where not told; beside: the rest."""

    bound: Finding | None
    share: float | None
    ceiling: str
    beside: list[Finding]

    def as_dict(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return dataclasses.asdict(self)


def diagnose(row: Row) -> Diagnosis:
    """The verdict on a row of schema 5; a part of it that is missing or null makes the rules that read it silent."""
    decoded = measured(row)
    bounds = (_swap, _thermal, _threads, _memory, _compute)
    beside = (_predicted, _depth, _slowing, _governor, _kernels, _others, _spread)
    if not decoded:
        return Diagnosis(None, None, "No decode test fits the context.", _hold(beside[:1], row))
    held = _hold(bounds, row)
    return Diagnosis(
        held[0] if held else None, decoded[0].get("ceiling_fraction"), ceiling(row), held[1:] + _hold(beside, row)
    )


def lines(row: Row) -> list[str]:
    """The verdict as sentences, a line each: that it is of a prediction, where it is; bound and remedy, distance from the ceiling, then what else was
    found."""
    found = diagnose(row)
    first = [f for f in found.beside if f.rule == "predicted"]
    bound = [found.bound] if found.bound else []
    return [*map(_sentence, first + bound), found.ceiling, *(_sentence(f) for f in found.beside if f not in first)]


def measured(row: Row) -> list[dict[str, Any]]:
    """The decode tests that ran, shallowest first."""
    return sorted((d for d in row["result"]["decode"] if d["fits"]), key=lambda d: d["depth"])


def ceiling(row: Row) -> str:
    """How far decoding is from what plain reading of memory would allow."""
    result, decode = row["result"], measured(row)[0]
    share = decode.get("ceiling_fraction")
    if share is None:
        return f"What a token makes {result['isa']} read is not told, so neither is the share of the memory bandwidth."
    most = result["bandwidth_bytes_per_second"] / decode["bytes_per_token"]
    return (
        f"Decode reaches {_percent(share)} of the ceiling: {_rate(decode['tokens_per_second']['median'])} of {_rate(most)} tok/s, reading"
        f" {decode['bytes_per_second'] / 1e9:.2f} of {result['bandwidth_bytes_per_second'] / 1e9:.2f} GB/s."
    )


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else f"{share:.1%}"


def _sentence(finding: Finding) -> str:
    return f"{finding.says} {finding.do}".strip()


def _hold(rules: tuple[Callable[[Row], Finding | None], ...], row: Row) -> list[Finding]:
    return [finding for rule in rules if (finding := rule(row)) is not None]


def _in_memory(row: Row) -> int:
    return int(row["result"]["file_bytes"] + row["result"]["cache_bytes"])


def _swap(row: Row) -> Finding | None:
    memory = row["machine"].get("memory_bytes")
    before, after = row["state_before"].get("swapped_in_pages"), row["state_after"].get("swapped_in_pages")
    pages = after - before if before is not None and after is not None else 0
    do = "Use a smaller model, fewer bits a weight (convert --q4), a shorter context, or close other programs."
    if memory and _in_memory(row) > memory:
        return Finding(
            "swap",
            f"Model and cache take {_in_memory(row) / 2**30:.1f} GiB of a memory of {memory / 2**30:.1f}: they come from disk.",
            do,
        )
    if pages > SWAPPED:
        return Finding("swap", f"Memory is short: {pages} pages came back from swap during the run.", do)
    return None


def _thermal(row: Row) -> Finding | None:
    said = row.get("throttling") or {}
    cooler = "Cool the processor, or compare rows of a cold one."
    if said.get("throttled"):
        if "under-voltage" in said["why"]:
            return Finding(
                "thermal",
                f"The machine slowed itself down: {said['why']}.",
                "Use a stronger power supply and a short, thick cable.",
            )
        return Finding("thermal", f"The machine slowed itself down: {said['why']}.", cooler)
    run = row.get("sustained")
    if not run or run["kept"] is None or run["kept"] >= KEPT:
        return None
    clocks = [s["frequency_mhz"] for s in run["samples"] if s["frequency_mhz"] is not None]
    n = max(2, len(clocks) // 10)
    if len(clocks) < 4 or sum(clocks[-n:]) / sum(clocks[:n]) >= FELL:
        return None
    return Finding(
        "thermal",
        f"Sustained decode kept {run['kept']:.0%} of its first speed while the clock fell from {clocks[0]:.0f} to {clocks[-1]:.0f} MHz{_heat(run)}.",
        cooler,
    )


def _heat(run: dict[str, Any]) -> str:
    heat = [s["temperature_c"] for s in run["samples"] if s["temperature_c"] is not None]
    return f" at up to {max(heat):.0f} °C" if heat else ""


def _threads(row: Row) -> Finding | None:
    threads, cores = row["result"]["threads"], row["machine"].get("cores")
    if cores and threads > cores:
        return Finding(
            "threads", f"{threads} threads share {cores} cores and wait for each other.", f"Use at most -t {cores}."
        )
    return None


def _memory(row: Row) -> Finding | None:
    share, cache = measured(row)[0].get("ceiling_fraction"), row["machine"].get("last_cache_bytes")
    if share is None or share < BOUND:
        return None
    if cache and _in_memory(row) <= cache:
        return Finding(
            "cache",
            f"Decode is bound by the processor's cache, into which the whole model fits ({_in_memory(row) / 2**20:.1f} of {cache / 2**20:.0f} MiB).",
            "Fewer bytes a token (--q4, a smaller model) make it faster.",
        )
    return Finding(
        "memory",
        "Decode is bound by memory bandwidth.",
        "Fewer bytes a token (--q4, a smaller model) make it faster; more threads do not.",
    )


def _compute(row: Row) -> Finding | None:
    decode, result = measured(row)[0], row["result"]
    share, prefill, ipc = decode.get("ceiling_fraction"), result["prefill"], (row.get("hw") or {}).get("ipc")
    if share is None or share >= BOUND:
        return None
    cache = row["machine"].get("last_cache_bytes")
    small = (
        " A model this small sits in the processor's cache, and what a token costs besides its bytes counts."
        if cache and _in_memory(row) <= cache
        else ""
    )
    do = _other_threads(row)
    amortized = _amortized(row) if prefill["fits"] else None
    if ipc is not None and ipc < STALLED:
        return Finding("compute", f"Decode waits: {ipc:.2f} instructions a cycle, and no bandwidth limit.{small}", do)
    why = ""
    if ipc is not None and ipc >= COMPUTING:
        why = f"{ipc:.2f} instructions a cycle"
    elif ipc is None and amortized is not None and amortized < AMORTIZED:
        why = f"prefill is only {amortized:.1f} times as fast, though it reads weights once for many tokens"
    if why:
        return Finding("compute", f"Decode is bound by arithmetic: {why}.", f"A smaller model makes it faster. {do}".strip())
    return Finding("compute", f"Decode is bound by arithmetic and waiting more than by bytes.{small}", do)


def _amortized(row: Row) -> float:
    """Prefill over decode where as many tokens are in sight: at the depth next to half of the prefill's length."""
    prefill = row["result"]["prefill"]
    near = min(measured(row), key=lambda d: abs(d["depth"] - prefill["tokens"] / 2))
    return float(prefill["tokens_per_second"]["median"] / near["tokens_per_second"]["median"])


def _other_threads(row: Row) -> str:
    threads, cores = row["result"]["threads"], row["machine"].get("cores")
    if cores and threads < cores:
        return f"Try more threads (-t {cores})."
    return "Try other thread counts (-t)." if cores and cores > 1 else ""


def _predicted(row: Row) -> Finding | None:
    said = {
        "PREDICTED": "nothing was measured, the row says what the device's profile makes likely.",
        "EMULATED": "another processor played the device's: the program is checked, no time here is the device's.",
    }.get(row.get("kind", ""))
    return Finding("predicted", f"{row['kind']}: {said}") if said else None


def _depth(row: Row) -> Finding | None:
    first, last = measured(row)[0], measured(row)[-1]
    ratio = last["tokens_per_second"]["median"] / first["tokens_per_second"]["median"]
    if last is first or ratio >= DEEP:
        return None
    says = f"At depth {last['depth']} decode is {1 / ratio:.1f} times as slow as at depth {first['depth']}"
    do = "A shorter context, or a gate that leaves out more pairs (--set gate.margin=N), makes it faster."
    if first.get("bytes_per_token") is None or last.get("bytes_per_token") is None:
        return Finding("depth", f"{says}.", do)
    more = last["bytes_per_token"] / first["bytes_per_token"]
    if more >= 0.8 / ratio:
        return Finding("depth", f"{says}, as the {more:.1f} times as many bytes that it reads explain.", do)
    return Finding(
        "depth",
        f"{says}, though it reads only {more:.1f} times as many bytes: attention's arithmetic costs more than the cache's bytes.",
        do,
    )


def _slowing(row: Row) -> Finding | None:
    run = row.get("sustained")
    if not run or run["kept"] is None or run["kept"] >= KEPT or _thermal(row) is not None:
        return None
    return Finding(
        "slowing",
        f"Sustained decode kept {run['kept']:.0%} of its first speed{_heat(run)}, and no clock or flag here says why.",
        "Look at what else runs; measure again.",
    )


def _governor(row: Row) -> Finding | None:
    governor = row["state_before"].get("governor")
    if governor is None or not set(governor.split(",")) & set(SLOW_GOVERNORS):
        return None
    # intel_pstate's powersave is a governor that does raise the clock: only a clock that stayed low counts
    clock, limit = row["state_after"].get("frequency_mhz"), row["state_after"].get("frequency_limit_mhz")
    run = [
        s["frequency_mhz"] for s in (row.get("sustained") or {}).get("samples", []) if s["frequency_mhz"] is not None
    ]
    at = max(run) if run else clock
    if at is not None and limit is not None and at >= KEPT * limit:
        return None
    return Finding(
        "governor",
        f"The frequency governor is '{governor}', which may keep the clock low.",
        "sudo cpupower frequency-set -g performance",
    )


def _kernels(row: Row) -> Finding | None:
    return (
        Finding("kernels", "The scalar reference kernels ran, the slowest there are.", "Use --isa auto.")
        if row["result"]["isa"] == "ref"
        else None
    )


def _others(row: Row) -> Finding | None:
    found = [b for s in ("state_before", "state_after") if (b := row[s].get("busy_cores")) is not None]
    if not found or max(found) < OTHERS:
        return None
    return Finding(
        "others",
        f"Other work took {max(found):.1f} cores beside the run: read the numbers as rough ones.",
        "Measure on a quiet machine.",
    )


def _spread(row: Row) -> Finding | None:
    found = [
        (d["tokens_per_second"]["spread"] / d["tokens_per_second"]["median"], d["depth"])
        for d in measured(row)
        if "spread" in d["tokens_per_second"]
    ]
    if not found or max(found)[0] < SPREAD:
        return None
    return Finding(
        "spread",
        f"Samples at depth {max(found)[1]} are {max(found)[0]:.0%} apart: read the numbers as rough ones.",
        "Take more (--repeat).",
    )
