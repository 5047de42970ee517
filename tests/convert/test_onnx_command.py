"""qig-edge convert --onnx, and the commands that take what it writes; what is refused, and that nothing is left behind when it fails.

One export is made for all of these tests: `export` itself is replaced by a copy of its result.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qig_edge.bench.identity import model_hash
from qig_edge.cli import main
from qig_edge.convert import onnx_export, onnx_int8
from qig_edge.convert.onnx_folder import FILES
from qig_edge.convert.origin import card_licence
from qig_edge.convert.recipe import load_onnx_recipe
from qig_edge.runtime.native import NativeModel
from qig_edge.runtime.onnx_session import OnnxSession
from qig_edge.train import checkpoint
from tests.convert.onnx_models import GOLDEN, folder
from tests.convert.tiny import random_kernel, tiny_config, tiny_tokenizer

pytestmark = pytest.mark.slow  # for the export
Output = pytest.CaptureFixture[str]
FILE = GOLDEN.parent / "golden-f32.gguf"


@pytest.fixture(autouse=True)
def exported(monkeypatch: pytest.MonkeyPatch) -> None:
    made = folder("golden") / "model.onnx"
    monkeypatch.setattr(onnx_export, "export", lambda model, path, metadata: shutil.copy(made, path))


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([*map(str, args)])
    assert isinstance(stopped.value.code, int)
    return stopped.value.code


def one_line(capsys: Output) -> str:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize(
    ("options", "name", "kl"),
    [
        (["--onnx"], "checkpoint-onnx", 1e-9),
        (["--onnx", "--f32"], "checkpoint-onnx", 1e-9),
        (["--onnx", "--int8"], "checkpoint-onnx-int8", 0.02),
        (["--int8", "--device", "rpi4"], "checkpoint-onnx-int8", 0.02),
        (["--recipe", "int8-x86"], "checkpoint-onnx-int8", 0.02),
        (["--int8", "--static"], "checkpoint-onnx-int8", 0.05),
    ],
)
def test_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, options: list[str], name: str, kl: float
) -> None:
    monkeypatch.chdir(tmp_path)
    described: dict[str, str] = {}
    copied = onnx_export.export
    monkeypatch.setattr(
        onnx_export, "export", lambda model, path, metadata: described.update(metadata) or copied(model, path, metadata)
    )
    assert run("convert", GOLDEN, *options, "--license", "CC0-1.0", "--json") == 0
    out, err = capsys.readouterr()
    facts = json.loads(out)
    assert facts["folder"] == name
    assert -1e-9 <= facts["kl"] <= kl
    assert facts["file_bits_per_byte"] <= 1.03 * facts["checkpoint_bits_per_byte"]
    assert "KL divergence" in err and "largest error" in err
    static = "--static" in options
    if name.endswith("int8"):
        expected = "int8-arm64" if "rpi4" in options else "int8-x86" if "int8-x86" in options else onnx_int8.host_recipe()
        assert facts["recipe"] == expected and load_onnx_recipe(expected).what in err
        assert facts["bits_per_weight"] < 10
        assert facts["static"] == static and ("ranges of activations from generated stories and talk" in err) == static
    else:
        assert facts["max_error"] <= 1e-3 and facts["recipe"] == "f32"
    assert {p.name for p in (tmp_path / name).iterdir()} <= set(FILES)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert facts["file_bytes"] == (tmp_path / name / "model.onnx").stat().st_size
    card = (tmp_path / name / "README.md").read_text()
    assert "past_key_values.1.value" in card and "119,112 parameters" in card
    assert card_licence(tmp_path / name) == "CC0-1.0"
    told = [described[key] for key in ("general.license", "general.name", "qig.checkpoint.sha256", "qig.recipe")]
    recipe = facts["recipe"] + (" static" if static else "")
    weights = hashlib.sha256((GOLDEN / "model.safetensors").read_bytes()).hexdigest()
    assert told == ["CC0-1.0", "checkpoint", weights, recipe]


def test_tools_take_it(tmp_path: Path, capsys: Output) -> None:
    path = folder("golden")
    texts = []
    for model in (path, FILE):
        assert run("generate", model, "-p", "One day", "-n", "12", "--temperature", "0", "-t", "1", "--stats") == 0
        out, err = capsys.readouterr()
        assert re.search(r"decode [\d.]+ tok/s.*MiB of it cache", err), err
        assert run("chat", model, "-p", "What is your name?", "--seed", "3", "-n", "12", "--telemetry") == 0
        texts.append((out, capsys.readouterr().out))
    assert texts[0] == texts[1]
    words = tmp_path / "words.txt"
    words.write_text("The little fox saw a bird. The bird began to say that the day was cold. " * 4)
    found = []
    for model in (path, FILE):
        assert run("eval", model, "--suite", "text", "--data", words, "--json") == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["bits_per_byte"] == pytest.approx(found[1]["bits_per_byte"], rel=1e-4)
    assert found[0]["phi"] == pytest.approx(found[1]["phi"], abs=1e-3)
    assert found[0]["model"] == {"name": "golden", "file_type": "ONNX F32", "n_params": 119112, "sha256": model_hash(path)}
    assert run("info", path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0] == "logits"


def test_bench(tmp_path: Path, capsys: Output) -> None:
    """A row has the fields that the report of a GGUF file's reads."""
    path = folder("golden")
    fast = ["-t", "1", "--prefill", "16", "--decode", "4", "--depths", "0,8", "--repeat", "2"]
    assert run("bench", path, *fast, "--json") == 0
    row = json.loads(capsys.readouterr().out)
    result = row["result"]
    assert result["file_type"] == "ONNX F32" and result["threads"] == 1
    assert [d["depth"] for d in result["decode"]] == [0, 8]
    assert all(r > 0 for d in (result["prefill"], *result["decode"]) for r in d["tokens_per_second"]["samples"])
    assert result["decode"][0]["bytes_per_token"] > result["weight_bytes"]
    from qig_edge.bench.report import print_report

    print_report(row)
    assert "decode 4 at depth 8" in capsys.readouterr().out
    assert run("bench", FILE, "--beside", path, "--beside", FILE, *fast, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [m["file_type"] for m in found["models"]] == ["F32", "ONNX F32", "F32"]
    assert len(found["tests"]) == 3
    for test in found["tests"]:
        first, second, _ = test["models"]
        assert first["against_first"]["samples"] == [1.0, 1.0]
        pairs = zip(second["tokens_per_second"]["samples"], first["tokens_per_second"]["samples"], strict=True)
        assert second["against_first"]["samples"] == pytest.approx([a / b for a, b in pairs])
    assert run("bench", FILE, "--beside", path, *fast) == 0
    out = capsys.readouterr().out
    assert "ONNX F32" in out and "prefill 16, tok/s" in out
    text = tmp_path / "text.txt"
    text.write_text("Pip had a red ball. " * 3)
    assert run("bench", FILE, "--beside", path, *fast, "--text", text, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tokens"] == str(text) and len(found["tests"]) == 3
    text.write_text("")
    assert run("bench", FILE, "--beside", path, *fast, "--text", text) == 2
    assert "has no tokens" in one_line(capsys)
    assert run("bench", FILE, "--beside", path, "--set", "gate.margin=3") == 2
    assert "--beside is a measurement of its own" in one_line(capsys)


def test_refusals(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    torn, sick, alien = (tmp_path / n for n in ("torn", "sick", "alien"))
    shutil.copytree(GOLDEN, torn)
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:-100])
    model = random_kernel(tiny_config(), 1)
    model.norm.weight.data[3] = float("nan")
    checkpoint.write(sick, model, tiny_tokenizer(), None)
    model.norm.weight.data[3] = 1.0
    checkpoint.write(alien, random_kernel(tiny_config(vocab_size=290), 1), tiny_tokenizer(), None)
    taken, full = tmp_path / "file", tmp_path / "full"
    taken.write_text("x")
    full.mkdir()
    (full / "diary.txt").write_text("precious")
    tight = tmp_path / "tight.toml"
    tight.write_text('what = "w"\nsuffix = "s"\nmax_kl = 1e-9\nonnx = "avx2"\n[types]\n"*" = "int8"\n')
    cases: list[tuple[list[Any], str]] = [
        ([GOLDEN, "--onnx", "--q4", "-o", out], "--onnx and --q4 exclude each other"),
        ([GOLDEN, "--int8", "--f32", "-o", out], "--int8 and --f32 exclude each other"),
        ([GOLDEN, "--onnx", "--recipe", "q8", "-o", out], "--onnx and --recipe exclude each other"),
        ([GOLDEN, "--onnx", "--measure", "-o", out], "--onnx and --measure exclude each other"),
        ([GOLDEN, "--int8", "--ollama", "-o", out], "--int8 and --ollama exclude each other"),
        ([GOLDEN, "--onnx", "--calibration", FILE, "-o", out], "--calibration is of 4-bit rounding and of --static"),
        ([GOLDEN, "--int8", "--calibration", FILE, "-o", out], "--int8 has no use for it"),
        ([GOLDEN, "--int8", "--static", "--calibration", FILE, "-o", out], "is not UTF-8"),
        ([GOLDEN, "--int8", "--static", "--calibration", tmp_path / "none.txt", "-o", out], "No such file"),
        ([GOLDEN, "--onnx", "--static", "-o", out], "--static is of 8-bit activations"),
        ([GOLDEN, "--int8", "--recipe", "q8", "-o", out], "--int8 and --recipe exclude each other"),
        ([GOLDEN, "--recipe", "int8-x86", "--ollama", "-o", out], "--recipe int8-x86 and --ollama exclude each other"),
        ([GOLDEN, "--recipe", tight, "-o", out], "passes max_kl = 1e-09 of recipe 'tight': it is not kept; leave tensors in f32"),
        ([GOLDEN, "--onnx", "--ffn-down", "sparse", "-o", out], "--ffn-down sparse is of GGUF files"),
        ([tmp_path / "none", "--onnx", "-o", out], "it does not exist"),
        ([tmp_path, "--onnx", "-o", out], "neither step-* folders nor"),
        ([torn, "--onnx", "-o", out], "does not hold this model's weights"),
        ([sick, "--onnx", "-o", out], "norm.weight holds values that are not finite"),
        ([alien, "--onnx", "-o", out], "the tokenizer has the id 299, the model's vocab_size is 290"),
        ([GOLDEN, "--onnx", "-o", taken], "is a file, an ONNX model is a folder"),
        ([GOLDEN, "--onnx", "-o", full, "--force"], "holds 'diary.txt', which is no part of an ONNX model"),
        ([GOLDEN, "--onnx", "-o", tmp_path / "no" / "where"], "there is no folder"),
    ]
    before = sorted(tmp_path.iterdir())
    for args, message in cases:
        assert run("convert", *args) == 2
        assert message in one_line(capsys)
    monkeypatch.setitem(sys.modules, "optimum.onnxruntime", None)
    assert run("convert", GOLDEN, "--int8", "-o", out) == 2
    assert "qig-edge convert --int8 needs the 'onnx' extra" in one_line(capsys)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run("convert", GOLDEN, "--onnx", "-o", out) == 2
    assert "qig-edge convert --onnx needs the 'onnx' extra" in one_line(capsys)
    assert sorted(tmp_path.iterdir()) == before
    assert (full / "diary.txt").read_text() == "precious"


def test_a_folder_is_replaced_only_by_force(tmp_path: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    assert run("convert", GOLDEN, "--onnx", "-o", out, "--no-verify") == 0
    (out / "README.md").write_text("mine")
    capsys.readouterr()
    assert run("convert", GOLDEN, "--onnx", "-o", out, "--no-verify") == 2
    assert "exists" in one_line(capsys)
    with monkeypatch.context() as patch:  # what computes nonsense does not take the old one's place
        patch.setattr(OnnxSession, "eval_all", lambda self, ids: np.full((len(ids), 512), np.nan, np.float32))
        assert run("convert", GOLDEN, "--onnx", "-o", out, "--force") == 2
        assert "not finite" in capsys.readouterr().err
    assert (out / "README.md").read_text() == "mine"
    assert run("convert", GOLDEN, "--onnx", "-o", out, "--no-verify", "--force") == 0
    assert (out / "README.md").read_text() != "mine"
    assert list(tmp_path.iterdir()) == [out]


CHILD = """
import shutil, sys, time
from pathlib import Path
from qig_edge.convert import onnx_export
made, limit, wait, *args = sys.argv[1:]
def export(model, path, metadata):
    print('writing', flush=True)
    shutil.copyfile(made, path)
    time.sleep(float(wait))
onnx_export.export = export
if int(limit):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
from qig_edge.cli import main
main(args)
"""


def child(tmp_path: Path, limit: int, wait: float) -> list[str]:
    made = folder("golden") / "model.onnx"
    args = ["convert", str(GOLDEN), "--onnx", "-o", str(tmp_path / "out")]
    return [sys.executable, "-c", CHILD, str(made), str(limit), str(wait), *args]


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits there")
def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, repository: Path) -> None:
    """A limit on file sizes stands for the full disk."""
    done = subprocess.run(child(tmp_path, 20_000, 0), capture_output=True, text=True, cwd=repository)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: cannot write '{tmp_path / 'out'}': "), line
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_leaves_nothing(tmp_path: Path, repository: Path, number: int) -> None:
    process = subprocess.Popen(
        child(tmp_path, 0, 30), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repository,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "writing\n"
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


def test_libqig_says_what_a_folder_is(capsys: Output, tmp_path: Path) -> None:
    assert run("generate", tmp_path, "-p", "x") == 2
    assert "is a folder, a GGUF file is needed" in one_line(capsys)
    with NativeModel(FILE) as model:
        assert not model.decides
