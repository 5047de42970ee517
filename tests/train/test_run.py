"""A run from start to end, interrupted in every way, and continued: each time the same weights come out, bit for bit."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qig_edge.train import checkpoint
from tests.train.conftest import arguments

LAST = "step-00000024"
Run = Callable[..., subprocess.CompletedProcess[str]]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / LAST / "model.safetensors")


def assert_same(a: Path, b: Path) -> None:
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys() and len(first) > 10
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture(scope="module")
def whole(train: Run, preset: Callable[..., Path], text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted, with both optimizers and a 4-bit-aware end."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    done = train("--preset", preset("muon"), "--data", text, "--out", out, "--quantize-share", "0.1")
    assert done.stdout.strip() == str(out / LAST)
    return out


def continued(whole: Path, text: Path, preset: Callable[..., Path], out: Path) -> list[object]:
    return [
        "--preset",
        preset("muon"),
        "--data",
        text,
        "--out",
        out,
        "--shards",
        whole / "shards",
        "--quantize-share",
        "0.1",
    ]


def test_a_run_learns_and_writes_what_it_should(whole: Path) -> None:
    records = [json.loads(line) for line in (whole / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [r["step"] for r in records] == list(range(1, 25))
    assert records[-1]["loss"] < records[0]["loss"] - 0.5
    held_out = [r["bits_per_byte"]["all"] for r in records if "bits_per_byte" in r]
    assert len(held_out) >= 3 and held_out[-1] < held_out[0]
    assert (whole / "loss.png").stat().st_size > 5000
    # the two newest, and the one that the final phase started from
    assert [p.name for p in checkpoint.steps(whole)] == ["step-00000019", "step-00000022", LAST]
    assert not [p for p in whole.iterdir() if p.name.startswith(".")]
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(whole / LAST)
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], add_generation_prompt=True)
    assert ids[0] == 2 and ids[-2:] == [4, 3]


def test_killed_at_any_moment_the_last_checkpoint_is_whole_and_the_run_goes_on(
    whole: Path, text: Path, preset: Callable[..., Path], tmp_path: Path, train: Run
) -> None:
    out = tmp_path / "killed"
    args = continued(whole, text, preset, out)
    kills, rng = 0, random.Random(11)
    while kills < 4:
        resume = ["--resume"] if checkpoint.steps(out) else []
        process = subprocess.Popen(arguments(*args, *resume), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        before = checkpoint.steps(out)
        deadline = time.monotonic() + 120
        while checkpoint.steps(out) == before and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        time.sleep(rng.random() * 0.2)  # somewhere between, or inside, the next saves
        process.kill()
        process.wait()
        kills += 1
        for folder in checkpoint.steps(out):
            checkpoint.load_model(folder)
            checkpoint.load_trainer(folder)
    if checkpoint.steps(out)[-1].name != LAST:
        train(*args, "--resume")
    assert_same(whole, out)
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert steps == list(range(1, 25))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_saves_and_resumes_bit_exactly(
    number: signal.Signals, whole: Path, text: Path, preset: Callable[..., Path], tmp_path: Path, train: Run
) -> None:
    for attempt in range(8):  # a run of 24 short steps may end before the signal comes
        out = tmp_path / f"stopped-{attempt}"
        args = continued(whole, text, preset, out)
        process = subprocess.Popen(
            arguments(*args, "--save-tokens", "1000000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        metrics = out / "metrics.jsonl"
        deadline = time.monotonic() + 120
        while not (metrics.is_file() and metrics.read_text("utf-8").count("\n") >= 3) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(number)
        _, err = process.communicate(timeout=120)
        if process.returncode != 0:
            break
    assert process.returncode == 130 and "--resume" in err and "Traceback" not in err
    assert len(checkpoint.steps(out)) == 1
    train(*args, "--resume")
    assert_same(whole, out)


def test_two_processes_agree_with_one(preset: Callable[..., Path], text: Path, tmp_path: Path, train: Run) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    shared = ["--preset", preset("adamw"), "--data", text, "--shards", tmp_path / "shards", "--tokens", "4096"]
    train(*shared, "--out", one)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "qig_edge.cli",
        "train",
        "--threads",
        "1",
    ]
    done = subprocess.run(
        [*command, *map(str, shared), "--out", str(two)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    losses = [
        [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
        for run in (one, two)
    ]
    assert len(losses[0]) == len(losses[1]) == 8
    for a, b in zip(*losses, strict=True):
        assert abs(a - b) <= 1e-5, (a, b)


def test_resume_refuses_another_preset_and_other_settings(
    whole: Path, text: Path, preset: Callable[..., Path], train: Run, tmp_path: Path
) -> None:
    other = tmp_path / "other.toml"
    other.write_text(preset("muon").read_text("utf-8").replace("d_model = 32", "d_model = 48"), "utf-8")
    common = ["--data", text, "--out", whole, "--resume"]
    before = weights(whole)
    done = train("--preset", other, *common, code=2)
    assert "of another model: d_model 32 (wanted 48)" in done.stderr
    done = train("--preset", preset("adamw"), *common, code=2)
    assert "trained with other settings: optimizer muon (now adamw)" in done.stderr
    done = train("--preset", preset("muon"), "--data", text, "--out", whole, code=2)
    assert "add --resume" in done.stderr
    for error in (done.stderr,):
        assert error.count("\n") == 1 and "Traceback" not in error
    assert all(torch.equal(v, weights(whole)[k]) for k, v in before.items())


def test_a_full_disk_loses_nothing(whole: Path, text: Path, preset: Callable[..., Path], tmp_path: Path) -> None:
    """The size limit of a file stands in for the end of the disk: writes fail in the same place, by the same error path."""
    out = tmp_path / "full"
    limited = "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (%d, %d));"
    args = [str(a) for a in continued(whole, text, preset, out)] + ["--threads", "1"]
    code = limited % (60_000, 60_000) + "from qig_edge.cli import main; main(sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, "train", *args], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    assert "cannot write the checkpoint" in done.stderr and "Traceback" not in done.stderr
    assert checkpoint.steps(out) == [] and not [p for p in out.iterdir() if p.name.startswith(".step")]
