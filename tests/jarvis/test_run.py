"""A Jarvis model trained by `qig-edge train`: it learns, its checkpoints are .npz files, and an interrupted run comes to the same weights."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from qig_edge.jarvis.files import read_network  # noqa: E402
from qig_edge.train import checkpoint  # noqa: E402
from tests.train.conftest import arguments  # noqa: E402

LAST = "step-00000024"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def whole(train: Run, preset: Callable[..., Path], text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted, with a 4-bit-aware end."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    done = train("--preset", preset("muon"), "--data", text, "--out", out, "--quantize-share", "0.1")
    assert done.stdout.strip() == str(out / LAST)
    return out


def test_a_run_learns_and_writes_what_it_should(whole: Path) -> None:
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [r["step"] for r in records] == list(range(1, 25))
    assert records[-1]["loss"] < records[0]["loss"] - 0.5
    held_out = [r["bits_per_byte"]["all"] for r in records if "bits_per_byte" in r]
    assert len(held_out) >= 3 and held_out[-1] < held_out[0]
    names = {p.name for p in (whole / LAST).iterdir()}
    assert names == {"config.json", "model.npz", "tokenizer.json", "tokenizer_config.json", "trainer.pt"}
    assert json.loads((whole / LAST / "config.json").read_text())["model_type"] == "jarvis-quantum"


def test_numpy_runs_what_was_trained(whole: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 400, (1, 30))
    model = checkpoint.load_any(whole / LAST)
    with torch.no_grad():
        theirs = model(torch.from_numpy(ids)).logits.numpy()
    np.testing.assert_allclose(read_network(whole / LAST / "model.npz").forward(ids).logits, theirs, atol=1e-4)


def test_interrupted_it_saves_and_resumes_bit_exactly(
    whole: Path, text: Path, preset: Callable[..., Path], tmp_path: Path, train: Run
) -> None:
    for attempt in range(8):  # a run of 24 short steps may end before the signal comes
        out = tmp_path / f"stopped-{attempt}"
        args = ["--preset", preset("muon"), "--data", text, "--out", out, "--quantize-share", "0.1"]
        args += ["--shards", whole / "shards"]
        process = subprocess.Popen(arguments(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        metrics, deadline = out / "metrics.jsonl", time.monotonic() + 120
        while not (metrics.is_file() and metrics.read_text("utf-8").count("\n") >= 3) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
        if process.returncode != 0:
            break
    assert process.returncode == 130 and "--resume" in err
    train(*args, "--resume")
    first, second = (read_network(run / LAST / "model.npz").weights for run in (whole, out))
    assert first.keys() == second.keys() and all((w == second[n]).all() for n, w in first.items())


def test_settings_and_checkpoints_of_another_kind_are_refused(
    whole: Path, text: Path, preset: Callable[..., Path], tmp_path: Path, train: Run
) -> None:
    jarvis, out = ("--preset", preset(), "--data", text), tmp_path / "run"
    for more, message in (
        (["--set-train", "weight_exits=0.1"], "weight_exits = 0.1 needs a model of architecture 'qig', not 'jarvis'"),
        (["--set-train", "group_by_regime=true"], "group_by_regime = True needs a model of architecture 'qig'"),
        (["--final-context", "128"], "context = 128 is longer than the model's context_length = 64"),
    ):
        err = train(*jarvis, "--out", out, *more, code=2).stderr
        assert message in err and err.count("\n") == 1
    qig = tmp_path / "qig.toml"
    qig.write_text(
        preset().read_text().replace('architecture = "jarvis"', "n_kv_heads = 2\nhead_dim = 16\nbasin_dim = 32"), "utf-8"
    )
    err = train("--preset", qig, "--data", text, "--out", tmp_path / "qig", "--from", whole, code=2).stderr
    assert "is of words, the model takes byte-level BPE" in err
    err = train("--preset", qig, "--data", text, "--out", whole, "--resume", code=2).stderr
    assert err.count("\n") == 1 and "Traceback" not in err


@pytest.mark.parametrize("optimizer", ["adamw", "kfac"])
def test_other_ways_to_train_it(
    optimizer: str, whole: Path, text: Path, preset: Callable[..., Path], tmp_path: Path, train: Run
) -> None:
    if optimizer == "kfac":
        pytest.importorskip("curvlinops")
    shared = ["--data", text, "--out", tmp_path / "run", "--shards", whole / "shards", "--tokens", "1024"]
    train("--preset", preset(optimizer), *shared, "--set-train", "checkpointing=blocks")
    assert (tmp_path / "run" / "step-00000002" / "model.npz").is_file()


def test_memory_and_diagnosis(whole: Path, text: Path, preset: Callable[..., Path], train: Run) -> None:
    args = ("--preset", preset("muon"), "--data", text)
    facts = json.loads(train(*args, "--out", whole / "none", "--dry-run", "--json").stdout)
    assert 0 < facts["memory_bytes"]["total"] < 1e9
    told = json.loads(train(*args, "--out", whole, "--diagnose", "--json").stdout)
    assert told["before"] > 0 and not (whole / "none").exists()
