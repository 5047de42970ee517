"""Two rows side by side: verdicts that respect the spread, and none in silence between unlike machines."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from qig_edge.bench.compare import compare, differences, lines
from qig_edge.bench.rows import is_row, load_row
from qig_edge.errors import ConfigError, DataError
from tests.bench.rows import full_row, series

NAMES = ("a.json", "b.json")


def faster(factor: float, spread: float = 0.02) -> dict[str, Any]:
    row = full_row()
    for test in row["result"]["decode"]:
        test["tokens_per_second"] = series(test["tokens_per_second"]["median"] * factor, spread=spread)
    return row


def verdicts(found: dict[str, Any]) -> dict[str, str]:
    return {t["test"]: t["verdict"] for t in found["tests"]}


@pytest.mark.parametrize(
    ("factor", "spread", "verdict"),
    [(1.1, 0.02, "faster"), (0.9, 0.02, "slower"), (1.0, 0.02, "no difference seen"), (1.1, 0.6, "no difference seen")],
)
def test_verdict(factor: float, spread: float, verdict: str) -> None:
    found = compare(full_row(), faster(factor, spread), NAMES)
    told = verdicts(found)
    assert [told[f"decode 128 at depth {d}"] for d in (0, 1024, 4096)] == [verdict] * 3
    assert told["prefill 512"] == "no difference seen" and found["differences"] == []
    assert told["open, cold"].startswith("not told: 3 and 3 samples")
    text = "\n".join(lines(found))
    assert verdict in text.lower() and "Not told, for want of samples" in text and "NOT ALIKE" not in text


def test_times_are_speeds_too() -> None:
    quicker = full_row()
    quicker["result"]["load_ms"] = series(1.0)
    found = compare(full_row(), quicker, NAMES)
    assert verdicts(found)["open, warm"] == "faster"
    assert next(t for t in found["tests"] if t["test"] == "open, warm")["ratio"] == pytest.approx(3.1, rel=0.02)


CHANGES: dict[str, tuple[list[Any], Any]] = {
    "governor before": (["state_before", "governor"], "powersave"),
    "machine, cpu": (["machine", "cpu"], "Cortex-A72"),
    "machine, cores": (["machine", "cores"], 2),
    "threads": (["result", "threads"], 1),
    "threads of prefill": (["result", "threads_batch"], 1),
    "kernels": (["result", "isa"], "ref"),
    "model": (["model_sha256"], "f" * 64),
    "settings": (["settings"], {"gate.margin": "4"}),
    "throttled": (["throttling"], {"throttled": True, "why": "under-voltage"}),
    "cores that other work took": (["state_after", "busy_cores"], 1.7),
    "kind": (["kind"], "PREDICTED"),
    "back end": (["backend"], "llama"),
    "tokens": (["result", "tokens"], "words.txt"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_unlike_rows_are_refused_or_said_to_be(what: str) -> None:
    path, value = CHANGES[what]
    other = full_row()
    place = other
    for key in path[:-1]:
        place = place[key]
    assert place[path[-1]] != value
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=f"not alike.*{what}.*--anyway"):
        compare(full_row(), other, NAMES)
    found = compare(full_row(), other, NAMES, anyway=True)
    assert len(found["differences"]) == 1 and found["differences"][0].startswith(what)
    told = lines(found)
    assert told[0].startswith("NOT ALIKE") and what in told[1]


def test_both_throttled_is_no_comparison_either() -> None:
    row = full_row()
    row["throttling"] = {"throttled": True, "why": "soft temperature limit"}
    assert differences(row, copy.deepcopy(row))[0].startswith("throttled, both: yes (soft temperature limit)")


def test_tests_of_one_alone_are_named() -> None:
    other = full_row()
    other["result"]["decode"] = other["result"]["decode"][:1]
    found = compare(full_row(), other, NAMES)
    assert "decode 128 at depth 1024" in found["only"] and "decode 128 at depth 1024" not in verdicts(found)


def test_a_prediction_has_no_samples() -> None:
    other = full_row()
    other["kind"] = "PREDICTED"
    for test in other["result"]["decode"]:
        del test["tokens_per_second"]["samples"]
    assert verdicts(compare(full_row(), other, NAMES, anyway=True))["decode 128 at depth 0"] == "not told: no samples"


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "row.json"
    file.write_text(json.dumps(full_row()))
    assert load_row(file) == full_row() and is_row(file)
    file.write_text(json.dumps([full_row()]))
    assert load_row(file) == full_row() and is_row(file)
    older = full_row()
    older["schema"] = 4
    torn = full_row()
    del torn["result"]["decode"]
    for text, match in (
        ("GGUF", "no JSON"), ("{}", "no row"), ("[]", "0 rows"), ("3", "no row"), (json.dumps(older), "schema 4 where this version reads 5"),
        (json.dumps(torn), "'result.decode' is missing"), (2 * (json.dumps(full_row()) + "\n"), "holds 2 rows"),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(DataError, match=match):
            load_row(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="no text"):
        load_row(file)
    with pytest.raises(DataError, match="No such file"):
        load_row(tmp_path / "none.json")
    assert not is_row(tmp_path / "none.json")
