"""qig-edge eval, and qig-edge data puzzles."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.evals.items import write_sets

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "golden-q4_0.gguf"
Run = Callable[..., Any]  # the fixture of conftest.py: code, out, err


def test_tables_and_json(qig_edge: Run) -> None:
    args = ("eval", GOLDEN, "--limit", 35, "--seed", 3, "-t", 1)
    code, out, err = qig_edge(*args)
    assert code == 0 and not err
    for word in ("addition", "membership", "level 5", "rank correlation", "AUROC", "regime", "confidence", "chance"):
        assert word in out, out
    assert max(map(len, out.splitlines())) <= 120
    code, out, err = qig_edge(*args, "--json")
    facts = json.loads(out)
    assert code == 0 and not err and out.count("\n") == 1
    assert facts["suite"] == "puzzles" and facts["problems"] == 35 and facts["model"]["file_type"] == "Q4_0"
    assert qig_edge(*args, "--json").out == out


@pytest.fixture
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts") / "tales.jsonl"
    tales = (f"The fox {name} went over the hill and met {name} again. " * n for n, name in enumerate(("Ann", "Bob", "Cleo"), 1))
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in tales))
    return path


def test_texts(qig_edge: Run, text: Path) -> None:
    args = ("eval", GOLDEN, "--suite", "text", "--data", text, "-t", 1)
    code, out, err = qig_edge(*args)
    assert code == 0 and not err and "tales.jsonl" in out and "64 to 255" in out, out
    facts = json.loads(qig_edge(*args, "--json").out)
    assert facts["documents"] == 3 and facts["bytes"] == sum(len(json.loads(x)["text"]) for x in text.read_text().splitlines())
    assert 0 < facts["agency"] < 1 and facts["context"] == 128 and facts["stride"] == 64
    code, out, err = qig_edge(*args, "--sweep", "gate.margin=0,3", "--json")
    open_, gated = json.loads(out)["sweep"]
    assert open_["change"] == 0 and gated["agency"] < open_["agency"]
    fixed = json.loads(qig_edge(*args, "--set", "gate.margin=3", "--json").out)
    assert fixed["bits_per_byte"] == gated["bits_per_byte"] != open_["bits_per_byte"]
    assert gated["change"] == pytest.approx(fixed["bits_per_byte"] / open_["bits_per_byte"] - 1)
    code, out, err = qig_edge(*args, "--sweep", "gate.margin=0,3")
    assert code == 0 and f"{gated['change']:+.2%}" in out, out


def test_levels(qig_edge: Run) -> None:
    facts = json.loads(qig_edge("eval", GOLDEN, "--limit", 14, "--levels", "1,3", "--json", "-t", 1).out)
    assert list(facts["by_level"]) == ["1", "3"]


@pytest.fixture
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sets(tmp_path_factory.mktemp("sets"))


def test_question_sets(qig_edge: Run, sets: Path, tmp_path: Path) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: extra eval")
    args = ("eval", GOLDEN, "--suite", "reasoning", "--data-dir", sets, "--tasks", "arc_challenge:train,piqa", "-t", 1)
    code, out, err = qig_edge(*args, "--plot", tmp_path / "p.png")
    assert code == 0 and not err and "arc_challenge:train" in out and "acc_norm" in out and "published on 'test'" in out, out + err
    assert (tmp_path / "p.png").is_file()
    facts = json.loads(qig_edge(*args, "--json").out)
    assert {n: t["items"] for n, t in facts["tasks"].items()} == {"arc_challenge:train": 4, "piqa": 4}
    facts = json.loads(qig_edge(*args, "--json", "--limit", 2).out)
    assert [t["items"] for t in facts["tasks"].values()] == [2, 2] and facts["answers_resumed"] == 0


def test_a_checkpoint_is_evaluated_by_torch(qig_edge: Run, sets: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed: extra train")
    folder = GOLDEN.parent / "checkpoint"
    facts = json.loads(qig_edge("eval", folder, "--limit", 7, "--json", "-t", 1).out)
    file = json.loads(qig_edge("eval", GOLDEN.parent / "golden-f32.gguf", "--limit", 7, "--json", "-t", 1).out)
    assert facts["model"]["n_params"] == file["model"]["n_params"] and facts["accuracy"] == file["accuracy"]
    for name in ("phi", "surprise", "agency", "blocks_run"):  # libqig does not observe the surprise of prompts, which confidence hangs on
        a, b = ([row[name] for row in f["state"]["by_level"]] for f in (facts, file))
        assert a == pytest.approx(b, abs=2e-3), name


def test_an_interrupted_run_goes_on(qig_edge: Run, sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed: extra eval")
    from qig_edge.evals.reasoning.model import BackendLM

    args = ("eval", GOLDEN, "--suite", "reasoning", "--data-dir", sets, "--tasks", "piqa", "-t", 1, "--json")
    whole = json.loads(qig_edge(*args).out)
    score, asked = BackendLM._score, []

    def three(self: BackendLM, *request: Any) -> tuple[float, bool]:
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append(request)
        return score(self, *request)

    monkeypatch.setattr(BackendLM, "_score", three)
    code, out, err = qig_edge(*args)
    assert code == 130 and not out and err == "interrupted: the answers so far are kept, the same command goes on from there\n"
    monkeypatch.undo()
    other = json.loads(qig_edge("eval", GOLDEN.parent / "golden-q8_0.gguf", *args[2:]).out)
    assert other["answers_resumed"] == 0
    again = json.loads(qig_edge(*args).out)
    assert again["answers_resumed"] == 3 and again["tasks"] == whole["tasks"]
    assert json.loads(qig_edge(*args).out)["answers_resumed"] == 0


def test_without_the_harness(qig_edge: Run, sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    code, out, err = qig_edge("eval", GOLDEN, "--suite", "reasoning", "--data-dir", sets)
    assert (code, out, err) == (2, "", "error: the reasoning suite needs the 'eval' extra: pip install 'qig-edge[eval]'\n")


BAD = {
    "an unknown suite": ("eval {model} --suite chess", "unknown suite 'chess' (suites: puzzles"),
    "levels that are none": ("eval {model} --levels 0-9", "levels = '0-9' must be levels from 1 to 5"),
    "texts without a file": ("eval {model} --suite text", "the text suite needs --data FILE"),
    "a text that is missing": ("eval {model} --suite text --data {tmp}/none.txt", "none.txt' does not exist"),
    "a stride beyond the context": ("eval {model} --suite text --data {text} --stride 9999", "--stride 9999 must be from 1 to the context"),
    "data of puzzles": ("eval {model} --data {text}", "--data says nothing to the suite 'puzzles'"),
    "a sweep of puzzles": ("eval {model} --sweep gate.margin=0,4", "it goes with --suite text, not puzzles"),
    "a sweep of one": ("eval {model} --suite text --data {text} --sweep gate.margin=4", "--sweep gate.margin=4: KEY=V,V with two values"),
    "a sweep of nothing": ("eval {model} --suite text --data {text} --sweep gate.depth=0,4", "gate.depth"),
    "no items": ("eval {model} --limit 0", "--limit"),
    "an unknown task": ("eval {model} --suite reasoning --tasks arc_hard", "unknown task 'arc_hard' (tasks: gsm8k, arc_easy"),
    "an unknown split of a task": ("eval {model} --suite reasoning --tasks piqa:all", "split 'all' must be one of train, validation, test"),
    "a task twice": ("eval {model} --suite reasoning --tasks piqa,piqa:test", "--tasks names 'piqa' more than once"),
    "items without a folder": ("eval {model} --suite reasoning --data-dir {tmp}/none", "none' is no folder"),
    "a folder without items": ("eval {model} --suite reasoning --data-dir {tmp}", "holds none of gsm8k_test.jsonl, arc_easy_test.jsonl"),
    "a missing set": ("eval {model} --suite reasoning --data-dir {tmp} --tasks piqa", "has no piqa_validation.jsonl, which task 'piqa' needs"),
    "a set of another split": ("eval {model} --suite reasoning --data-dir {sets} --tasks arc_challenge",
                               "there is another split: --tasks arc_challenge:train"),
    "levels of reasoning": ("eval {model} --suite reasoning --data-dir {sets} --levels 1", "--levels says nothing to the suite 'reasoning'"),
    "tasks of puzzles": ("eval {model} --tasks piqa", "--tasks says nothing to the suite 'puzzles'"),
    "a folder for texts": ("eval {model} --suite text --data {text} --data-dir {sets}", "--data-dir says nothing to the suite 'text'"),
    "plots of texts": ("eval {model} --suite text --data {text} --plot {tmp}/p.png", "the suite 'text' has no plots"),
    "a plot in no folder": ("eval {model} --plot {tmp}/none/p.png", "give a file that ends in .png"),
    "a folder that is no checkpoint": ("eval {tmp}", "no checkpoint"),
    "settings of a checkpoint": ("eval {checkpoint} --set gate.margin=3", "--set is for GGUF files: torch runs the checkpoint"),
    "a backend of a checkpoint": ("eval {checkpoint} --backend llama", "--backend is for GGUF files: torch runs the checkpoint"),
    "a missing model": ("eval {tmp}/none.gguf", "no such model file"),
    "puzzles among tales": ("data puzzles tales -o {tmp}/x.jsonl", "kinds puzzles, tales: puzzles go into a file of their own"),
    "an unknown split": ("data puzzles --split dev -o {tmp}/x.jsonl", "'dev' is not one of 'train', 'test'"),
    "levels of data": ("data puzzles --levels six -o {tmp}/x.jsonl", "levels = 'six' must be levels from 1 to 5"),
    "a split of tales": ("data tales --split test -o {tmp}/x.jsonl", "--split test goes with the kind puzzles, not with tales"),
    "levels of tales": ("data talk facts --levels 1 -o {tmp}/x.jsonl", "--levels 1 goes with the kind puzzles, not with talk, facts"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_errors_are_one_line(qig_edge: Run, tmp_path: Path, text: Path, sets: Path, name: str) -> None:
    line, expected = BAD[name]
    places = {"model": GOLDEN, "checkpoint": GOLDEN.parent / "checkpoint", "tmp": tmp_path, "text": text, "sets": sets}
    code, out, err = qig_edge(*(word.format(**places) for word in line.split()))
    assert code == 2 and not out and err.startswith("error: ") and err.count("\n") == 1 and expected in err, err
    assert not list(tmp_path.iterdir())


def test_interrupt_is_quiet(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "qig_edge.cli", "eval", str(GOLDEN), "--limit", "1000000", "-t", "1"]
    # a line from the first answer on tells that it runs: the signal is not sent before
    script = "import sys, qig_edge.evals.puzzles.suite as s\nask = s.ask\n"
    script += "def told(*a):\n    print('asked', flush=True)\n    return ask(*a)\n"
    script += "s.ask = told\ns.problems = lambda n, *a, p=s.problems: p(2000, *a)\n"
    script += f"from qig_edge.cli import main\nmain({command[3:]!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and not err and set(out.split()) <= {"asked"}


def test_data_puzzles(qig_edge: Run, tmp_path: Path) -> None:
    written = {}
    for split in ("train", "test"):
        path = tmp_path / f"{split}.jsonl"
        code, out, _ = qig_edge(
            "data", "puzzles", "-o", path, "-n", 60, "--seed", 5, "--split", split, "--levels", "2-3"
        )
        assert code == 0 and out == f"{path}\n"
        written[split] = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert len(written[split]) == 60 and {r["level"] for r in written[split]} == {2, 3}
    assert all(r["text"] == f"{r['prompt']} {r['answer']}\n" for r in written["train"])
    assert not any("text" in r for r in written["test"])
    assert not {r["prompt"] for r in written["train"]} & {r["prompt"] for r in written["test"]}
    again = tmp_path / "again.jsonl"
    assert qig_edge("data", "puzzles", "-o", again, "-n", 60, "--seed", 5, "--levels", "2-3").code == 0
    assert again.read_bytes() == (tmp_path / "train.jsonl").read_bytes()
