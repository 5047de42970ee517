"""The verdict in words: a row for each condition, and the line that it must bring about."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qig_edge.bench import diagnose as module
from qig_edge.bench.diagnose import diagnose, lines
from tests.bench.rows import full_row, series

Row = dict[str, Any]


def steady(row: Row) -> Row:
    row["sustained"] = None
    return row


def with_share(row: Row, share: float) -> Row:
    steady(row)
    for test in row["result"]["decode"]:
        test["ceiling_fraction"] *= share / 0.8
    return row


def swapped(row: Row) -> None:
    steady(row)["state_after"]["swapped_in_pages"] = 40000


def too_large(row: Row) -> None:
    steady(row)["machine"]["memory_bytes"] = 64 << 20


def throttled(row: Row) -> None:
    steady(row)["throttling"] = {"throttled": True, "why": "soft temperature limit"}


def under_voltage(row: Row) -> None:
    steady(row)["throttling"] = {"throttled": True, "why": "throttled, under-voltage"}


def crowded(row: Row) -> None:
    with_share(row, 0.2)["result"]["threads"] = 6


def in_cache(row: Row) -> None:
    steady(row)["machine"]["last_cache_bytes"] = 1 << 30


def stalled(row: Row) -> None:
    with_share(row, 0.3)["hw"]["ipc"] = 0.4


def computing(row: Row) -> None:
    with_share(row, 0.3)["hw"]["ipc"] = 2.8


def computing_without_prefill(row: Row) -> None:
    computing(row)
    row["result"]["prefill"] = {"tokens": 1 << 20, "fits": False}


def arithmetic(row: Row) -> None:
    with_share(row, 0.3)["hw"]["ipc"] = None
    row["result"]["prefill"]["tokens_per_second"] = series(200.0)


def few_threads(row: Row) -> None:
    with_share(row, 0.3)["hw"]["ipc"] = None
    row["result"]["threads"] = 2


BOUNDS: dict[str, tuple[Callable[[Row], None], str, str]] = {
    "swap": (swapped, "40000 pages came back from swap", "smaller model"),
    "swap, too large": (too_large, "of a memory of 0.1", "shorter context"),
    "thermal": (throttled, "slowed itself down: soft temperature limit", "Cool"),
    "thermal, supply": (under_voltage, "under-voltage", "power supply"),
    "thermal, sustained": (lambda row: None, "kept 70% of its first speed while the clock fell from 2400 to 1681 MHz at up to 85 °C", "Cool"),
    "threads": (crowded, "6 threads share 4 cores", "-t 4"),
    "memory": (lambda row: steady(row) and None, "bound by memory bandwidth", "--q4"),
    "cache": (in_cache, "bound by the processor's cache", "--q4"),
    "compute, stalled": (stalled, "waits: 0.40 instructions a cycle", "-t"),
    "compute, full": (computing, "bound by arithmetic: 2.80 instructions a cycle", "smaller model"),
    "compute, no prefill": (computing_without_prefill, "2.80 instructions a cycle", "smaller model"),
    "compute, by prefill": (arithmetic, "prefill is only 1.3 times as fast", "smaller model"),
    "compute, few threads": (few_threads, "arithmetic and waiting more than by bytes", "-t 4"),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_what_bounds(name: str) -> None:
    change, says, do = BOUNDS[name]
    row = full_row()
    change(row)
    found = diagnose(row)
    assert found.bound is not None and found.bound.rule == name.partition(",")[0]
    assert says in found.bound.says and do in found.bound.do
    told = lines(row)
    assert says in told[0] and "of the ceiling" in told[1] and "tok/s" in told[1]
    assert json.loads(json.dumps(found.as_dict()))["bound"]["rule"] == found.bound.rule


def deep(row: Row) -> None:
    row["result"]["decode"][-1]["tokens_per_second"] = series(40.0)


def slowing(row: Row) -> None:
    for sample in row["sustained"]["samples"]:
        sample["frequency_mhz"] = None


def slow_governor(row: Row) -> None:
    for when in ("state_before", "state_after"):
        row[when] |= {"governor": "powersave", "frequency_mhz": 1000.0}
    row["sustained"] = None


def reference(row: Row) -> None:
    row["result"]["isa"] = "ref"


def disturbed(row: Row) -> None:
    row["state_before"]["busy_cores"] = 1.4


def scattered(row: Row) -> None:
    row["result"]["decode"][1]["tokens_per_second"] = series(140.0, spread=0.5)


def predicted(row: Row) -> None:
    row["kind"] = "PREDICTED"


BESIDE: dict[str, tuple[Callable[[Row], None], str]] = {
    "depth": (deep, "At depth 4096 decode is 3.9 times as slow as at depth 0, though it reads only 1.3 times as many bytes"),
    "slowing": (slowing, "no clock or flag here says why"),
    "governor": (slow_governor, "'powersave'"),
    "kernels": (reference, "scalar reference kernels"),
    "others": (disturbed, "1.4 cores"),
    "spread": (scattered, "Samples at depth 1024 are 50% apart"),
    "predicted": (predicted, "PREDICTED"),
}


@pytest.mark.parametrize("rule", BESIDE)
def test_what_is_said_beside(rule: str) -> None:
    change, says = BESIDE[rule]
    quiet = full_row()
    assert rule == "depth" or rule not in [f.rule for f in diagnose(quiet).beside]
    row = full_row()
    change(row)
    found = {f.rule: f.says for f in diagnose(row).beside}
    assert says in found[rule]


def test_depth_that_bytes_explain() -> None:
    assert "as the 1.3 times as many bytes that it reads explain" in {f.rule: f.says for f in diagnose(full_row()).beside}["depth"]


def test_a_governor_that_raises_the_clock_is_no_fault() -> None:
    row = full_row()
    slow_governor(row)
    row["state_after"]["frequency_mhz"] = 2390.0
    assert "governor" not in [f.rule for f in diagnose(row).beside]


def test_two_bounds_are_both_said() -> None:
    row = full_row()
    throttled(row)
    found = diagnose(row)
    assert found.bound and found.bound.rule == "thermal" and found.beside[0].rule == "memory"


def test_what_is_not_told() -> None:
    row = steady(full_row())
    for test in row["result"]["decode"]:
        test["ceiling_fraction"] = test["bytes_per_token"] = None
    row["hw"] = row["throttling"] = None
    row["state_before"] = row["state_after"] = {}
    found = diagnose(row)
    assert found.bound is None and "is not told" in found.ceiling and lines(row)[0] == found.ceiling
    for test in row["result"]["decode"]:
        test["fits"] = False
    assert lines(row) == ["No decode test fits the context."]


def test_every_rule_is_in_the_docstring() -> None:
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    made = {
        node.args[0].value for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding" and isinstance(node.args[0], ast.Constant)
    }  # fmt: skip
    assert made == {name.partition(",")[0] for name in (*BOUNDS, *BESIDE)}
    said = {line.split()[0] for line in (module.__doc__ or "").splitlines() if line[:1].islower()}
    assert made - {"cache"} <= said and "the rule is named cache" in (module.__doc__ or "")
