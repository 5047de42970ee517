"""bench --peer: libqig and llama.cpp by turns on real, tiny files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from qig_edge.bench.llama_cpp_engine import SETTINGS, LlamaCpp
from qig_edge.bench.llama_shape import SHAPES, LlamaShape
from qig_edge.bench.peer import compare, lines
from qig_edge.bench.random_model import random_model, write_random
from qig_edge.cli import main
from qig_edge.config import ModelConfig
from qig_edge.runtime.native import NativeModel

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
        assert test["tried"][test["setting"]] == min(test["tried"].values())
    assert len(row["tests"][1]["tried"]) == 3 >= len(row["tests"][2]["tried"]) >= 1
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


def test_keys_left_out_on_a_text(ours: Path, twin: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    (tmp_path / "text.txt").write_text("The sea was calm and the boat lay still. ")
    row = compare(
        ours, twin, threads=1, prefill=8, decode=4, depths=[0, 2100], repeat=1, settings={"gate.margin": "2"}, text=tmp_path / "text.txt"
    )
    near, far = (test["keys"] for test in row["tests"][1:])
    assert far["sketched"] > 0 and 0 < far["active"] < 0.5 and far["read"] < 1 and far["active"] < near["active"]
    assert row["equal_to_all_keys"] is True
    assert f"{far['active']:.1%} of pairs active" in "\n".join(lines(row)) and "bit for bit" in lines(row)[-1]


@pytest.mark.parametrize("kind", ["q4_0", "q8_0"])
def test_a_well_known_shape_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    small = LlamaShape(
        vocab_size=320, d_model=96, n_layers=2, n_heads=3, n_kv_heads=1, hidden_dim=160, context_length=128, tied=kind == "q4_0"
    )
    monkeypatch.setitem(SHAPES, "smollm-135m", small)
    path = random_model("smollm-135m", tmp_path, kind=kind)
    ids = [5 + 11 * i % 310 for i in range(40)]
    peer = LlamaCpp(path, 64, 1)
    with NativeModel(path) as model, model.session(n_ctx=64, n_threads=1, cache_type="f32") as session:
        session.eval(ids)
        peer.eval(SETTINGS[0], ids)
        ours, theirs = session.logits().copy(), peer.logits(SETTINGS[0])
        assert model.info.name == "random-smollm-135m"
    peer.close()
    assert ours.std() > 0.1 and np.corrcoef(ours, theirs)[0, 1] > 0.999


@pytest.mark.parametrize(("name", "millions"), [("smollm-135m", 134.5), ("tinyllama-1.1b", 1100.0)])
def test_well_known_sizes(name: str, millions: float) -> None:
    shape = SHAPES[name]
    count = sum(a * b for a, b in shape.matrices().values()) + len(shape.norms()) * shape.d_model
    assert abs(count / 1e6 - millions) < 0.1


BAD = {
    "another engine": ("bench {ours} --peer ollama", "--peer 'ollama' must be llama.cpp"),
    "a file without a peer": ("bench {ours} --peer-model {ours}", "it goes with --peer"),
    "a missing file": ("bench {ours} --peer llama.cpp --peer-model {ours}x", "no such model file"),
    "a qig file alone": ("bench {ours} --peer llama.cpp", "--peer-model FILE names the model to hold it against"),
    "weights for no shape": ("bench {ours} --trained {ours}", "it goes with --random PRESET"),
    "drafts as well": ("bench {ours} --peer llama.cpp --draft", "it goes without --draft"),
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
    from qig_edge.errors import ModelFileError

    with pytest.raises(ModelFileError, match="llama.cpp does not open it"):
        LlamaCpp(ours, 64, 1)
