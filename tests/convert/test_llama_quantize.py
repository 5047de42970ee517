"""qig-edge convert FILE.gguf: types, what it costs, what it refuses, and that nothing is left behind when it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from qig_edge.cli import main
from qig_edge.runtime.native import NativeModel
from tests.convert.tiny import TWINS, random_kernel, tiny_config, write

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
pytest.importorskip("transformers")
from qig_edge.runtime.llama import LlamaModel  # noqa: E402
from tests.runtime.other_files import random_torch  # noqa: E402
from tests.runtime.other_files import write as write_other  # noqa: E402

Output = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense twin's file, F32."""
    path = tmp_path_factory.mktemp("files") / "twin-f32.gguf"
    write(path, random_kernel(tiny_config(**TWINS["twin"]), 1), "f32")
    return path


def convert(*args: Any) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["convert", *map(str, args)])
    return int(stopped.value.code or 0)


def one_line(capsys: Output) -> str:
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    return err


@pytest.mark.parametrize(
    ("option", "suffix", "words", "matrices", "kl"),
    [
        ("--q4", "q4_0", "Q8_0", "Q4_0", 0.1),
        ("--q8", "q8_0", "Q8_0", "Q8_0", 1e-3),
        ("--f16", "f16", "F16", "F16", 1e-5),
        ("--f32", "f32", "F32", "F32", 0.0),
    ],
)
def test_types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output, source: Path, option: str, suffix: str, words: str, matrices: str, kl: float
) -> None:
    """libqig runs what comes out, tokenizer and chat format stay."""
    monkeypatch.chdir(tmp_path)
    assert convert(source, option, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    path = tmp_path / f"twin-{suffix}.gguf"
    assert facts["file"] == path.name and list(tmp_path.iterdir()) == [path]
    assert 0 <= facts["kl"] <= kl and facts["tokens"] > 500 and facts["file_bytes"] == path.stat().st_size
    with NativeModel(path) as model, NativeModel(source) as before:
        types = {t.name: t.type for t in model.tensors()}
        assert types["token_embd.weight"] == words and types["blk.0.ffn_down.weight"] == matrices and types["output_norm.weight"] == "F32"
        assert model.eot == before.eot and model.tokenize("The fox ran.") == before.tokenize("The fox ran.")
        assert model.metadata("tokenizer.chat_template") == before.metadata("tokenizer.chat_template")


def test_a_file_that_libqig_does_not_run(tmp_path: Path, capsys: Output) -> None:
    write_other(tmp_path / "m.gguf", "gpt2", random_torch("gpt2", 1), kind="Q8_0")
    assert convert(tmp_path / "m.gguf", "--q4", "-o", tmp_path / "q.gguf", "--no-verify") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'q.gguf'}\n" and "Q8_0 -> Q4_0" in err and "rounded twice" in err and "KL" not in err
    with LlamaModel(tmp_path / "q.gguf") as model:
        assert (model.info.architecture, model.info.file_type) == ("gpt2", "Q4_0")


def test_refusals(tmp_path: Path, capsys: Output, source: Path, tiny_model: Path) -> None:
    target = tmp_path / "out.gguf"
    data = source.read_bytes()
    (tmp_path / "cut.gguf").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.gguf").write_text("Once upon a time")
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "short.txt").write_text("")
    (tmp_path / "kept.gguf").write_bytes(b"precious")
    cases: list[tuple[list[Any], str]] = [
        ([tiny_model, "-o", target], "is a QIG model"),
        ([tmp_path / "cut.gguf", "-o", target], "cut.gguf"),
        ([tmp_path / "text.gguf", "-o", target], "text.gguf"),
        ([source, "-o", tmp_path / "kept.gguf"], "--force"),
        ([source, "-o", source, "--force"], "is the file itself"),
        ([source, "-o", tmp_path], "is a folder"),
        ([source, "-o", tmp_path / "no" / "m.gguf"], "there is no folder"),
        ([source, "-o", target, "--name", "x"], "--name is for checkpoints"),
        ([source, "-o", target, "--ffn-down", "sparse"], "--ffn-down is for checkpoints"),
        ([source, "-o", target, "--recipe", "q8"], "--recipe is for checkpoints"),
        ([source, "-o", target, "--ollama"], "--ollama is for checkpoints"),
        ([source, "-o", target, "--onnx"], "--onnx is for checkpoints"),
        ([source, "-o", target, "--verify-text", tmp_path / "bad.txt"], "is not UTF-8"),
        ([source, "-o", target, "--verify-text", tmp_path / "short.txt"], "too short"),
        ([source, "-o", target, "--verify-text", tmp_path / "none.txt"], "No such file"),
    ]
    for args, message in cases:
        assert convert(*args) == 2, args
        assert message in one_line(capsys)
    assert not target.exists() and (tmp_path / "kept.gguf").read_bytes() == b"precious"
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]


LIMITED = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); from qig_edge.cli import main; main(sys.argv[1:])"


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits there")
def test_a_disk_that_refuses_leaves_nothing(tmp_path: Path, source: Path, repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, "convert", str(source), "--f16", "-o", str(tmp_path / "m.gguf")],
        capture_output=True, text=True, cwd=repository,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: llama.cpp does not quantize") and line.endswith("nothing was left"), line
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_leaves_nothing(tmp_path: Path, source: Path, repository: Path, number: int) -> None:
    long = tmp_path / "long.txt"
    long.write_text("The fox ran over the hill. " * 4000)
    out = tmp_path / "out"
    out.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "qig_edge.cli", "convert", str(source), "-o", str(out / "m.gguf"), "--verify-text", str(long)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=repository, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not any("partial" in p.name for p in out.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not list(out.iterdir())
