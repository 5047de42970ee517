"""bench --peer: libqig and llama.cpp by turns on real, tiny files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from qig_edge.bench.peer import compare, lines
from qig_edge.bench.random_model import write_random
from qig_edge.cli import main
from qig_edge.config import ModelConfig

TWIN = ModelConfig(
    vocab_size=320,
    d_model=64,
    n_layers=2,
    n_heads=2,
    n_kv_heads=1,
    head_dim=32,
    hidden_dim=96,
    basin_dim=0,
    context_length=256,
    attention="dot",
    decay=False,
)


@pytest.fixture
def twin(tmp_path: Path) -> Path:
    write_random(TWIN, "twin", tmp_path / "twin.gguf", kind="q8_0")
    return tmp_path / "twin.gguf"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    write_random(dataclasses.replace(TWIN, attention="qfi", basin_dim=32, decay=True), "ours", tmp_path / "ours.gguf")
    return tmp_path / "ours.gguf"


def test_the_same_file_in_both(twin: Path) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    row = compare(twin, None, threads=1, prefill=40, decode=6, depths=[60, 0], repeat=3)
    assert [t["test"] for t in row["tests"]] == ["prefill 40", "decode 6 at depth 0", "decode 6 at depth 60"]
    for test in row["tests"]:
        assert len(test["ours"]) == len(test["theirs"]) == len(test["ratios"]) == 3
        assert test["ratio"]["min"] <= test["ratio"]["median"] <= test["ratio"]["max"] and test["ratio"]["min"] > 0
        assert test["ratios"][1] == test["ours"][1] / test["theirs"][1] and "cache" in test["setting"]
    assert 1 <= row["same_greedy_tokens"]["same"] <= row["same_greedy_tokens"]["of"] == 16
    json.dumps(row)
    text = "\n".join(lines(row))
    assert "decode 6 at depth 60" in text and f"{row['tests'][0]['ratio']['median']:.2f}" in text and "greedy tokens" in text


def test_a_model_and_its_twin(ours: Path, twin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    small = ("--prefill", "16", "--decode", "4", "--depths", "0", "--repeat", "2", "-t", "2", "--json")
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(ours), "--peer", "llama.cpp", "--peer-model", str(twin), *small])
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    row = json.loads(out)
    assert row["threads"] == 2 and row["same_greedy_tokens"] is None
    assert row["model"]["file"] == str(ours) and row["peer"]["file"] == str(twin)


BAD = {
    "another engine": ("bench {ours} --peer ollama", "--peer 'ollama' must be llama.cpp"),
    "a file without a peer": ("bench {ours} --peer-model {ours}", "it goes with --peer"),
    "a missing file": ("bench {ours} --peer llama.cpp --peer-model {ours}x", "no such model file"),
    "a qig file alone": ("bench {ours} --peer llama.cpp", "--peer-model FILE names the model to hold it against"),
    "drafts as well": ("bench {ours} --peer llama.cpp --draft", "it goes without --draft, --text and --device"),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_one_line(ours: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    line, expected = BAD[name]
    with pytest.raises(SystemExit) as ended:
        main(line.format(ours=ours).split())
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and not out and err.startswith("error: ") and err.count("\n") == 1 and expected in err


def test_llama_cpp_refuses_a_qig_file(ours: Path) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    from qig_edge.bench.llama_cpp_engine import LlamaCpp
    from qig_edge.errors import ModelFileError

    with pytest.raises(ModelFileError, match="llama.cpp does not open it"):
        LlamaCpp(ours, 64, 1)
