"""Suites, and the forms in which a row is written."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from qig_edge.bench.formats import as_csv, as_markdown, flat
from qig_edge.bench.measure import parse_depths
from qig_edge.bench.report import lines, print_report
from qig_edge.bench.rows import series
from qig_edge.bench.suite import DEFAULT, load_suite, suite_names
from qig_edge.errors import ConfigError
from tests.bench.rows import full_row, predicted


def test_suites() -> None:
    assert set(suite_names()) == {"quick", "standard", "long-context", "sustained"} and DEFAULT in suite_names()
    for name in suite_names():
        suite = load_suite(name)
        assert suite.name == name and suite.description
        # fewer than four samples a test cannot be compared
        assert suite.repeat >= 4 and suite.prefill > 0 and suite.decode > 0
        assert suite.depths == parse_depths(",".join(map(str, suite.depths))) == sorted(suite.depths)
        assert (suite.minutes == 10) == (name == "sustained")


def test_options_override_single_values() -> None:
    plain, changed = load_suite("sustained"), load_suite("sustained", minutes=60.0, repeat=7, depths=None)
    assert (changed.minutes, changed.repeat) == (60, 7) and (changed.depths, changed.decode) == (plain.depths, plain.decode)
    with pytest.raises(ConfigError, match="--suite 'slow' must be one of long-context, quick, standard, sustained"):
        load_suite("slow")


def test_csv() -> None:
    row = full_row()
    row["result"]["name"] = 'a, "b"'
    read = list(csv.DictReader(io.StringIO(as_csv([row, row]))))
    assert len(read) == 2 * len(series(row)) == 2 * len(flat(row)) and len(read) > 10
    deep = next(line for line in read if line["test"] == "decode 128 at depth 4096")
    assert deep["model"] == 'a, "b"' and float(deep["bytes_per_token"]) > 60e6 and len(deep["samples"].split()) == 5
    assert float(deep["joules_per_token"]) == 0.051 and deep["ipc"] == "" and deep["kind"] == "MEASURED"
    assert as_csv([]) == "test\n"


def test_markdown() -> None:
    row = full_row()
    row["result"]["name"] = "a|b"
    row["kind"] = "PREDICTED"
    table = as_markdown([row]).splitlines()
    assert len(table) == 2 + len(series(row)) and table[1].startswith("|---|")
    assert all(line.count("|") - line.count("\\|") == 11 for line in table)
    assert all("PREDICTED" in line for line in table[2:]) and "80%" in as_markdown([row])


def test_report_of_a_full_row(capsys: pytest.CaptureFixture[str]) -> None:
    row = full_row()
    row["interrupted"] = row["sustained"]["interrupted"] = True
    told = {what: (middle, detail) for what, middle, detail in lines(row)}
    assert told["energy a token"] == ("51 mJ", "7.4 W (2.9 W idle); the Pi 5's supplies (pmic_read_adc)")
    assert told["instructions a cycle (hw_ipc)"][0] == "1.31" and told["intelligence per compute (IPC)"] == ("-", "no reasoning factor")
    assert "10.0 of 10 minutes, INTERRUPTED, 70% of the first speed kept" in told["sustained decode"][1]
    assert told["temperature"] == ("84.9 °C", "48.5 °C before; cpu-thermal") and told["frequency governor"][0] == "performance"
    row["sustained"]["samples"] = []
    row["throttling"] = {"throttled": True, "why": "under-voltage"}
    told = {what: (middle, detail) for what, middle, detail in lines(row)}
    assert told["sustained decode"] == ("-", "interrupted before the first sample") and told["throttled"] == ("yes", "under-voltage")
    print_report(row)
    assert "power supply" in capsys.readouterr().out


def test_a_prediction_is_called_one_everywhere(capsys: pytest.CaptureFixture[str]) -> None:
    row = predicted()
    print_report(row)
    out = capsys.readouterr().out
    assert out.splitlines()[0].rstrip().endswith("PREDICTED") and out.count("PREDICTED") >= 5
    told = {what: detail for what, _, detail in lines(row)}
    assert told["decode 128 at depth 0"].endswith("PREDICTED") and "open, cold" not in told
    assert all(line["kind"] == "PREDICTED" and line["samples"] == "" and line["min"] is not None for line in flat(row)) and len(flat(row)) == 4
    assert as_markdown([row]).count("PREDICTED") == 4


def test_every_suite_is_in_the_package(repository: Path) -> None:
    assert {p.stem for p in (repository / "qig_edge" / "bench" / "suites").glob("*.toml")} == set(suite_names())
