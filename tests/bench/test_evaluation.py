"""bench --eval: IPC of a row from an evaluation of the same model, what is undefined, and what is refused before anything is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qig_edge.bench.evaluation import with_evaluation
from qig_edge.bench.report import lines
from qig_edge.cli import main
from qig_edge.runtime.assets import shipped_model
from tests.bench.rows import full_row

Output = pytest.CaptureFixture[str]


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in args])
    return int(stopped.value.code or 0)


def evaluation(reasoning: float | None, adaptability: float | None, why: str | None) -> dict[str, object]:
    return {"model": {"name": "m", "sha256": "0" * 64}, "ipc": {"reasoning": reasoning, "adaptability": adaptability, "why": why}}


def test_factors_and_product() -> None:
    row = full_row()
    row["result"]["n_params"] = 2_000_000
    rate = row["result"]["decode"][0]["tokens_per_second"]["median"]
    told = with_evaluation(row, evaluation(0.5, 0.25, None))
    ipc = told["ipc"]
    assert ipc["value"] == pytest.approx(0.5 * 0.25 / (2 / rate)) and ipc["seconds_per_token"] == pytest.approx(1 / rate)
    assert ipc["parameters"] == 2_000_000 and ipc["reason"] is None and row["ipc"]["value"] is None
    (line,) = (said for what, _, said in lines(told) if "IPC" in what)
    assert line.startswith("reasoning 0.500 x adaptability 0.250 / (2.00 M x ")
    undefined = with_evaluation(row, evaluation(0.01, None, "reasoning cannot be told from chance"))["ipc"]
    assert undefined["value"] is None and undefined["reason"] == "undefined: reasoning cannot be told from chance"


def test_eval_then_bench(tmp_path: Path, capsys: Output) -> None:
    """The two commands, and an evaluation made of theirs that is above chance."""
    model, file = shipped_model(), tmp_path / "eval.json"
    assert run("eval", model, "--suite", "puzzles", "--limit", "35", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["ipc"]) == {"reasoning", "adaptability", "why"} and len(found["model"]["sha256"]) == 64
    found["ipc"] = {"reasoning": 0.5, "adaptability": 0.5, "why": None}
    file.write_text(json.dumps(found), "utf-8")
    quick = ("--suite", "quick", "--prefill", "8", "--decode", "4", "--repeat", "2", "-t", "1")
    assert run("bench", model, *quick, "--eval", file, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    assert row["ipc"]["value"] == pytest.approx(0.25 / (3.11528 * row["ipc"]["seconds_per_token"]), rel=1e-6)


def test_refusals(tmp_path: Path, capsys: Output) -> None:
    other, torn, bare = (tmp_path / name for name in ("other.json", "torn.json", "bare.json"))
    other.write_text(json.dumps(evaluation(0.5, 0.5, None)), "utf-8")
    torn.write_text('{"model": {', "utf-8")
    bare.write_text(json.dumps({"model": {"name": "m"}, "ipc": {"reasoning": "much", "adaptability": 1}}), "utf-8")
    cases = (
        ((other,), "is of another model (m, SHA-256 000000000000...)"),
        ((torn,), "is nothing that 'qig-edge eval MODEL --suite puzzles --json' wrote"),
        ((bare,), "lacks the model's hash or the factors"),
        ((tmp_path / "none.json",), "No such file"),
        ((other, "--draft"), "they go without --draft"),
        ((other, "--device", "rpi4"), "it goes with this machine, or with --host"),
    )
    for args, message in cases:
        assert run("bench", "--eval", *args) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err and err.count("\n") == 1, err
