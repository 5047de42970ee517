"""`qig-edge convert` of Jarvis checkpoints: folders, runs and .npz files, both layouts, refusals, and no partial file."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("tokenizers")
from qig_edge.cli import app, guarded
from qig_edge.jarvis.files import CONFIG, NPZ, config_json, write_npz
from qig_edge.runtime.backend import Sampling
from qig_edge.runtime.native import NativeModel
from qig_edge.train.tokenizer import save_tokenizer
from tests.convert.modelfile import parse
from tests.jarvis.models import network
from tests.jarvis.test_gguf import BASE, words

Output = pytest.CaptureFixture[str]


def convert(*args: object) -> int:
    return guarded(lambda: app(["convert", *map(str, args)], prog_name="qig-edge", standalone_mode=False))


def one_line(capsys: Output) -> str:
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    return err


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = network(BASE)
    folder = tmp_path / "run" / "step-00000002"
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(json.dumps(config_json(BASE)))
    write_npz(folder / NPZ, BASE, made.weights)
    save_tokenizer(words(), folder, BASE.context_length)
    return folder


@pytest.mark.parametrize("recipe", ["f32", "f16", "q8", "q4"])
def test_a_file_and_what_it_costs(tmp_path: Path, folder: Path, recipe: str, capsys: Output) -> None:
    out = tmp_path / "m.gguf"
    for source in (folder / NPZ, folder.parent):
        assert convert(source, f"--{recipe}", "--json", "-o", out, "--force") == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["file"] == str(out) and facts["layout"] == "jarvis" and facts["tokens"] > 100
        assert facts["kl"] <= {"f32": 1e-6, "f16": 0.005, "q8": 0.02, "q4": 0.5}[recipe]
        assert facts["parameters"] == BASE.param_counts()["total"]
    assert not [p for p in tmp_path.rglob("*") if "partial" in p.name]


def test_the_library_writes_numpys_text(tmp_path: Path, folder: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert convert(folder / NPZ, "--f32") == 0
    assert capsys.readouterr().out.strip() == "run-f32.gguf"
    start = words().encode("The cat").ids
    wanted = network(BASE).greedy(start, 12)
    with NativeModel(tmp_path / "run-f32.gguf") as model, model.session(n_threads=1) as session:
        assert model.tokenize("The cat") == start
        session.set_sampler(Sampling.greedy())
        session.eval(start)
        got = []
        for _ in range(12):
            got.append(session.sample())
            session.eval(got[-1:])
    assert got == wanted


def test_the_layout_of_gpt2(tmp_path: Path, folder: Path, capsys: Output) -> None:
    out = tmp_path / "m.gguf"
    assert convert(folder, "--q8", "--layout", "gpt2", "--json", "-o", out) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["layout"] == "gpt2" and "identities" in facts["notes"][-1]
    if importlib.util.find_spec("llama_cpp"):
        assert facts["tokens"] == 256 and facts["kl"] <= 0.02 and "llama.cpp" in facts["text"]
    else:
        assert "kl" not in facts and "not compared" in facts["notes"][0]


@pytest.mark.parametrize(("options", "runs"), [([], True), (["--layout", "jarvis"], False)])
def test_a_folder_for_ollama(tmp_path: Path, folder: Path, capsys: Output, options: list[str], runs: bool) -> None:
    assert convert(folder / NPZ, "--ollama", "--q8", "--no-verify", *options, "-o", tmp_path / "o") == 0
    assert ("stock Ollama runs it" in capsys.readouterr().err) == runs
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["Modelfile", "o.gguf"]
    found, comments = parse((tmp_path / "o" / "Modelfile").read_text("utf-8"))
    assert found[0] == ("FROM", "./o.gguf") and ("TEMPLATE", "{{ .Prompt }}") in found and ("PARAMETER", "stop <eos>") in found
    assert ("PARAMETER", f"num_ctx {BASE.context_length}") in found and len(comments) == 1
    assert ("--layout gpt2 is for it" in comments[0]) != runs


def test_refusals_leave_nothing(tmp_path: Path, folder: Path, capsys: Output) -> None:
    out = tmp_path / "m.gguf"
    cases: list[tuple[list[Any], str]] = [
        ([folder / NPZ, "--layout", "bert"], "--layout 'bert' must be one of jarvis, gpt2"),
        ([folder / NPZ, "--ollama", "--system", "Be kind."], "--system: a Jarvis model goes on with a text"),
        ([folder / NPZ, "--recipe", "int8-x86"], "--recipe int8-x86 is for QIG models"),
        ([folder / NPZ, "--ffn-down", "sparse"], "--ffn-down is for QIG models"),
        ([folder / NPZ, "--layout", "gpt2", "--verify-text", "x"], "--verify-text is for files that libqig runs"),
        ([tmp_path / "none.npz"], "No such file"),
        ([tmp_path / "none", "--layout", "gpt2"], "--layout gpt2 is for Jarvis checkpoints"),
    ]
    for args, message in cases:
        assert convert(*args, "-o", out) == 2
        assert message in one_line(capsys)
    weights = network(BASE).weights
    weights["layer_1_k"][0, 0] = np.nan
    write_npz(folder / NPZ, BASE, weights)
    assert convert(folder, "-o", out) == 2
    assert "layer_1_k holds values that are not finite" in one_line(capsys)
    write_npz(folder / NPZ, BASE, network(BASE).weights)
    (folder / "tokenizer.json").write_text('{"word_to_id": {"<pad>": 0}}')
    assert convert(folder, "-o", out) == 2
    assert "is not a tokenizer" in one_line(capsys)
    (folder / "tokenizer.json").unlink()
    assert convert(folder / NPZ, "-o", out) == 2
    assert "expected a tokenizer.json" in one_line(capsys)
    assert not out.exists() and not [p for p in tmp_path.rglob("*") if "partial" in p.name]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, folder: Path) -> None:
    """The size limit of a file stands in for the end of the disk."""
    import subprocess
    import sys

    out = tmp_path / "m.gguf"
    out.write_bytes(b"precious")
    code = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000));"
    code += "from qig_edge.cli import main; main(sys.argv[1:])"
    args = [sys.executable, "-c", code, "convert", str(folder), "--f32", "--force", "-o", str(out)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.count("error: ") == 1 and "Traceback" not in done.stderr, done.stderr
    assert f"cannot write '{out}'" in done.stderr
    assert out.read_bytes() == b"precious" and not [p for p in tmp_path.rglob("*") if "partial" in p.name]
