"""bench and diagnose on the command line: forms of output, comparison, and options that do not go together."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qig_edge.cli.bench_output import Output
from tests.bench.rows import full_row

Run = Callable[..., Any]  # the fixture of conftest.py: code, out, err
SHORT = ["--suite", "quick", "--prefill", "8", "--decode", "8", "--repeat", "4", "-t", "1"]


@pytest.fixture()
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two results of one machine, the second with another governor."""
    other = full_row()
    other["state_before"]["governor"] = "powersave"
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, row in zip(paths, (full_row(), other), strict=True):
        path.write_text(json.dumps(row))
    return paths


def test_a_suite_with_one_value_overridden(qig_edge: Run, tiny_model: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    code, out, err = qig_edge("bench", tiny_model, *SHORT, "--depths", "0,16", "--json", "--html", page)
    row = json.loads(out)
    assert code == 0 and not err and row["suite"] == "quick" and row["sustained"] is None
    assert [(d["depth"], d["tokens"], len(d["tokens_per_second"]["samples"])) for d in row["result"]["decode"]] == [(0, 8, 4), (16, 8, 4)]
    assert row["result"]["prefill"]["tokens"] == 8 and page.read_text("utf-8").startswith("<!DOCTYPE html>")
    (tmp_path / "row.json").write_text(out)
    code, out, err = qig_edge("bench", "--compare", tmp_path / "row.json", tmp_path / "row.json")
    assert code == 0 and "No difference seen: prefill 8" in out and not err
    code, out, err = qig_edge("diagnose", tmp_path / "row.json")
    assert code == 0 and "of the ceiling" in out and not err


def test_csv_and_markdown(qig_edge: Run, tiny_model: Path) -> None:
    code, out, err = qig_edge("bench", tiny_model, *SHORT, "--csv")
    assert code == 0 and not err and [line["test"] for line in csv.DictReader(io.StringIO(out))][:2] == ["prefill 8", "decode 8 at depth 0"]
    code, out, err = qig_edge("bench", tiny_model, *SHORT, "--md")
    assert code == 0 and not err and out.startswith("| device | model |") and "| decode 8 at depth 0 |" in out


def test_diagnose_measures_a_model(qig_edge: Run, tiny_model: Path) -> None:
    code, out, err = qig_edge("diagnose", tiny_model, "--suite", "quick", "-t", 1, "--json")
    found = json.loads(out)
    assert code == 0 and not err and found["bound"]["rule"] and found["share"] > 0 and "ceiling" in found["ceiling"]


def test_unlike_results(qig_edge: Run, files: tuple[Path, Path]) -> None:
    code, out, err = qig_edge("bench", "--compare", *files)
    assert code == 2 and not out and err.count("\n") == 1
    assert "not alike (governor before: performance / powersave): --anyway" in err
    code, out, err = qig_edge("bench", "--compare", *files, "--anyway")
    assert code == 0 and out.startswith("NOT ALIKE") and "performance / powersave" in out and not err
    code, out, _ = qig_edge("bench", "--compare", *files, "--anyway", "--json")
    assert code == 0 and json.loads(out)["differences"] == ["governor before: performance / powersave"]


def test_a_page_that_cannot_be_written_does_not_lose_the_row(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    output = Output(True, False, False, folder / "page.html")
    folder.rmdir()  # while it was measured
    with pytest.raises(FileNotFoundError):
        output.show(full_row())
    assert json.loads(capsys.readouterr().out) == full_row()


BAD = {
    "two forms": ("bench {model} --json --csv", "--json and --csv"),
    "a page in no folder": ("bench {model} --html {tmp}/no/page.html", "--html"),
    "a page that is a folder": ("bench {model} --html {tmp}", "--html"),
    "an unknown suite": ("bench {model} --suite slow", "--suite 'slow' must be one of long-context, quick, standard, sustained"),
    "an unknown suite to diagnose": ("diagnose {model} --suite slow", "--suite 'slow'"),
    "negative minutes": ("bench {model} --minutes -1", "--minutes"),
    "a suite without its minutes and a peer": ("bench {model} --suite sustained --peer llama.cpp", "without --draft, --peer"),
    "a page of drafts": ("bench {model} --draft --html {tmp}/page.html", "without --draft"),
    "a model to compare": ("bench {model} --compare {a} {b}", "measures nothing"),
    "a page of a comparison": ("bench --compare {a} {b} --html {tmp}/page.html", "measures nothing"),
    "one result to compare": ("bench --compare {a}", "--compare"),
    "anyway alone": ("bench {model} --anyway", "--compare"),
    "a model for a result": ("bench --compare {a} {model}", "no text"),
    "a result that is not there": ("bench --compare {a} {tmp}/none.json", "No such file"),
    "threads of a result": ("diagnose {a} -t 2", "measured already"),
    "words to diagnose": ("diagnose {tmp}/words.txt", "not a GGUF"),
    "nothing to diagnose": ("diagnose {tmp}/none.gguf", "no such model file"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors(qig_edge: Run, files: tuple[Path, Path], tiny_model: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "words.txt").write_text("words " * 20)
    line, expected = BAD[name]
    words = {"model": tiny_model, "tmp": tmp_path, "a": files[0], "b": files[1]}
    before = sorted(tmp_path.iterdir())
    code, out, err = qig_edge(*(word.format(**words) for word in line.split()))
    assert code == 2 and not out and err.startswith("error: ") and err.count("\n") == 1 and expected in err, err
    assert sorted(tmp_path.iterdir()) == before
