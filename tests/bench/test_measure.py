"""The bench: a real small run, the random model, the report's words."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qig_edge.bench import measure as measure_module
from qig_edge.bench.measure import measure, parse_depths
from qig_edge.bench.page_cache import drop_cache, resident_share
from qig_edge.bench.random_model import _vocabulary, matrices, random_model, write_random
from qig_edge.bench.report import lines, print_report
from qig_edge.config import ModelConfig, preset_model
from qig_edge.convert.names import tensor_names
from qig_edge.errors import ConfigError, ModelFileError, RuntimeFault
from qig_edge.runtime.native import NativeModel

TINY = ModelConfig(
    vocab_size=320,
    d_model=64,
    n_layers=2,
    n_heads=2,
    n_kv_heads=1,
    head_dim=32,
    hidden_dim=96,
    basin_dim=32,
    context_length=64,
)


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("bench") / "tiny.gguf"
    write_random(TINY, "tiny", path)
    words = path.with_name("words.txt")
    words.write_text("A fox ran.\n")
    told: list[tuple[int, int, str]] = []
    measured = measure(
        path,
        threads=1,
        prefill=32,
        decode=8,
        depths=[0, 100],
        repeat=2,
        settings={"gate.margin": "3"},
        text=words,
        suite="mine",
        minutes=0.001,
        progress=lambda done, total, what: told.append((done, total, what)),
    )
    assert told[0][0] == 0 and told[-1][0] == told[-1][1]
    return measured


def test_row(row: dict[str, Any]) -> None:
    assert json.loads(json.dumps(row)) == row
    result = row["result"]
    assert (
        row["schema"] == 5
        and row["settings"] == {"gate.margin": "3"}
        and row["device"] == "laptop"
        and row["machine"]["cores"] >= 1
        and row["machine"]["memory_bytes"] > 0
    )
    assert result["name"] == "tiny" and result["threads"] == 1 and result["context"] == 108
    assert [d["depth"] for d in result["decode"]] == [0, 100]
    assert [d["blocks_run"] for d in result["decode"]] == [result["n_layers"]] * 2 == [TINY.n_layers] * 2
    assert 0 < result["decode"][1]["agency"] < 1 and result["tokens"].endswith("words.txt")  # the margin cuts
    for series in (result["prefill"]["tokens_per_second"], *(d["tokens_per_second"] for d in result["decode"])):
        assert len(series["samples"]) == 2 and all(s > 0 and math.isfinite(s) for s in series["samples"])
    assert result["peak_rss_bytes"] > result["file_bytes"] and result["bandwidth_bytes_per_second"] > 0
    assert len(row["first_token_warm_ms"]["samples"]) == 3
    cold = row["load_cold_ms"]
    assert cold is None or len(cold["samples"]) == 3


def test_report_says_everything(row: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    listed = {what for what, _, _ in lines(row)}
    assert {
        "open, warm",
        "open, cold",
        "prefill 32",
        "decode 8 at depth 0",
        "decode 8 at depth 100",
        "read bandwidth",
        "peak memory",
    } <= listed
    print_report(row)
    out = capsys.readouterr().out
    assert "tok/s" in out and "GB/s" in out and "Decode " in out


def test_report_tells_what_was_left_out(row: dict[str, Any]) -> None:
    assert not [what for what, _, _ in lines(row) if what.startswith("keys read")]
    other: dict[str, Any] = json.loads(json.dumps(row))
    other["result"]["decode"][1] |= {
        "keys_seen": 4000.0, "keys_sketched": 2000.0, "sketch_bytes": 36e3, "keys_read": 500.0, "values_read": 100.0,
        "over_all_keys": {"median": 1.75, "min": 1.5, "max": 2.0},
    }  # fmt: skip
    told = {what: (middle, detail) for what, middle, detail in lines(other)}
    middle, detail = told["keys read at depth 100"]
    assert middle == "12.5%" and "50.0% sketched (0.04 MB), 2.5% of the values; 1.75 times" in detail and "1.50 to 2.00" in detail


def test_row_tells_the_machine(row: dict[str, Any]) -> None:
    assert row["kind"] == "MEASURED" and row["backend"] == "native" and row["suite"] == "mine" and not row["interrupted"]
    assert len(row["model_sha256"]) == 64 and int(row["model_sha256"], 16)
    assert row["profile"]["name"] == "laptop" and row["throttling"]["throttled"] in (True, False, None) and row["throttling"]["why"]
    for when in ("state_before", "state_after"):
        assert {"governor", "temperature_c", "frequency_mhz", "throttle", "load", "busy_cores"} <= set(row[when])
    for part, key in (("energy", "joules_per_token"), ("hw", "ipc"), ("ipc", "value")):
        assert (row[part][key] is None) == bool(row[part]["reason"])
    assert row["ipc"]["reasoning"] is None and "reasoning factor" in row["ipc"]["reason"] and row["ipc"]["parameters"] == row["result"]["n_params"]
    assert row["own_state"]["of"].endswith("words.txt") and len(row["own_state"]["phi"]) == 32
    assert len(row["sustained"]["samples"]) == 1 and not row["sustained"]["interrupted"]


def test_no_decode_test_fits(row: dict[str, Any]) -> None:
    nothing: dict[str, Any] = json.loads(json.dumps(row))
    for test in nothing["result"]["decode"]:
        test["fits"] = False
    nothing["load_cold_ms"] = None
    assert ("open, cold", "-", "the page cache cannot be dropped here") in lines(nothing)


def test_bad_model_and_bad_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "a.txt"
    text.write_text("words")
    with pytest.raises(ModelFileError, match="not a GGUF"):
        measure(text)
    model = tmp_path / "tiny.gguf"
    write_random(TINY, "tiny", model)
    program = tmp_path / "qig"
    for script, match in (
        ("echo 'qig: no such thing' >&2; exit 2", "^no such thing$"),
        ("echo nonsense", "printed no JSON"),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setattr(measure_module, "program_path", lambda: program)
        with pytest.raises(RuntimeFault, match=match):
            measure(model, repeat=1)


@pytest.mark.parametrize(("text", "depths"), [("0", [0]), ("0,1024", [0, 1024]), (" 4, 5", [4, 5])])
def test_depths(text: str, depths: list[int]) -> None:
    assert parse_depths(text) == depths


@pytest.mark.parametrize("text", ["", "a", "-1", "1,,2", "1.5", ",".join("1" * 17)])
def test_bad_depths(text: str) -> None:
    with pytest.raises(ConfigError, match="depths = "):
        parse_depths(text)


def test_page_cache(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1 << 20))
    path.read_bytes()
    if not drop_cache(path):
        pytest.skip("the page cache of this file system cannot be dropped")
    assert resident_share(path) < 0.05
    path.read_bytes()
    assert resident_share(path) == 1.0


@pytest.mark.parametrize(("preset", "kind"), [("qig-nano", "q4_0"), ("qig-nano", "q8_0"), ("qig-100m", "q4_0"), ("dense-nano", "q4_0")])
def test_random_model_has_the_presets_shape(preset: str, kind: str, tmp_path: Path) -> None:
    config = preset_model(preset)
    told: list[tuple[int, int]] = []
    path = random_model(preset, tmp_path, lambda done, total: told.append((done, total)), kind)
    assert told[-1][0] == told[-1][1] == len(matrices(config))
    with NativeModel(path) as model:
        # what training settles without a gradient (thresholds, scales of tokens, modes) stands in the file too
        assert model.info.n_params == sum(math.prod(t.shape) for t in tensor_names(config))
        assert 0 <= model.info.n_params - config.param_counts()["total"] < 0.01 * model.info.n_params
        assert model.info.file_type == kind.upper()
        assert model.info.context_length == config.context_length
        with model.session(n_ctx=32) as session:
            rows = session.eval_all(model.tokenize("Once upon a time"))
            assert np.isfinite(rows).all() and 0.01 < rows.std() < 100
    stamp = path.stat().st_mtime_ns
    assert random_model(preset, tmp_path, kind=kind) == path and path.stat().st_mtime_ns == stamp
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "change",
    [
        {"state": "diagonal"},
        {"state": "diagonal", "state_phases": False},
        {"metric": "fisher_rao"},
        {"head_rank": 32},
        {"decay": False},
        {"attention": "dot", "decay": False, "basin_dim": 0, "head_rank": 0},
    ],
)
def test_random_model_of_every_kind_opens(change: dict[str, Any], tmp_path: Path) -> None:
    config = ModelConfig.from_dict({**TINY.to_dict(), **change})
    write_random(config, "kind", tmp_path / "kind.gguf")
    with NativeModel(tmp_path / "kind.gguf") as model, model.session() as session:
        session.eval([10, 11, 12])
        assert np.isfinite(session.logits()).all() and model.info.n_params == config.param_counts()["total"]


def test_random_model_refuses(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="rows of 72 weights"):
        write_random(ModelConfig.from_dict({**TINY.to_dict(), "hidden_dim": 72}), "odd", tmp_path / "odd.gguf")
    with pytest.raises(ConfigError, match="type 'q5_0' must be one of q4_0, q8_0"):
        random_model("qig-nano", tmp_path, kind="q5_0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [261, 300, 5000, 70000])
def test_vocabulary(size: int) -> None:
    tokens, kinds, merges = _vocabulary(size)
    assert kinds == [3] * 5 + [1] * (size - 5)
    assert len(tokens) == len(set(tokens)) == size and len(merges) == size - 261
    assert all("".join(m.split(" ")) == t for m, t in zip(merges, tokens[261:], strict=True))
    with pytest.raises(ConfigError, match="vocab_size = 260"):
        _vocabulary(260)
