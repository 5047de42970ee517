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
from tests.evals.items import write_sets

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
    assert line.startswith("reasoning 0.500 x adaptability 0.250 / (2.00 M x ") and line.endswith(" ms a token)")
    (line,) = (said for what, _, said in lines(with_evaluation(row, evaluation(0.5, 0.25, None) | {"suite": "reasoning"})) if "IPC" in what)
    assert line.endswith(" ms a token), suite reasoning")
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


def test_an_evaluation_on_question_sets_is_taken_too(tmp_path: Path, capsys: Output) -> None:
    """Four items of two tasks, none of them graded: the row has the factors that there are, and says why it has no IPC."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: extra eval")
    golden, file = Path(__file__).resolve().parents[1] / "golden" / "golden-q4_0.gguf", tmp_path / "eval.json"
    tasks = ("--suite", "reasoning", "--tasks", "hellaswag,piqa", "--data-dir", write_sets(tmp_path))
    assert run("eval", golden, *tasks, "-t", "1", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ipc"]["adaptability"] is None and found["ipc"]["why"]
    quick = ("--suite", "quick", "--prefill", "8", "--decode", "4", "--repeat", "2", "-t", "1")
    for known in (found["ipc"], {"reasoning": 0.5, "adaptability": None, "why": "adaptability is undefined: no problem has a level"}):
        file.write_text(json.dumps(found | {"ipc": known}), "utf-8")
        assert run("bench", golden, *quick, "--eval", file, "--json") == 0
        ipc = json.loads(capsys.readouterr().out)["ipc"]
        assert ipc["value"] is None and ipc["suite"] == "reasoning" and ipc["reasoning"] == known["reasoning"]
        assert ipc["reason"] == f"undefined: {known['why']}"


def test_refusals(tmp_path: Path, capsys: Output) -> None:
    other, torn, bare, odd = (tmp_path / name for name in ("other.json", "torn.json", "bare.json", "odd.json"))
    odd.write_text(json.dumps(evaluation(0.5, 0.5, None) | {"suite": ["puzzles"]}), "utf-8")
    other.write_text(json.dumps(evaluation(0.5, 0.5, None)), "utf-8")
    torn.write_text('{"model": {', "utf-8")
    bare.write_text(json.dumps({"model": {"name": "m"}, "ipc": {"reasoning": "much", "adaptability": 1}}), "utf-8")
    cases = (
        ((other,), "is of another model (m, SHA-256 000000000000...)"),
        ((torn,), "is nothing that 'qig-edge eval MODEL --suite puzzles --json' wrote"),
        ((bare,), "lacks the model's hash or the factors"),
        ((odd,), "the suite's name or the reason why IPC is undefined is no text"),
        ((tmp_path / "none.json",), "No such file"),
        ((other, "--draft"), "they go without --draft"),
        ((other, "--device", "rpi4"), "it goes with this machine, or with --host"),
    )
    for args, message in cases:
        assert run("bench", "--eval", *args) == 2
        out, err = capsys.readouterr()
        assert out == "" and message in err and err.count("\n") == 1, err
