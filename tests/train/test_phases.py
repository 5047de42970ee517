"""A run from another run's weights, a window chosen by the data, and the diagnosis: by the real command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from qig_edge.cli.train import _settings
from qig_edge.errors import CheckpointError, ConfigError
from qig_edge.model.kernel import Kernel
from qig_edge.train import checkpoint
from qig_edge.train.config import TrainConfig
from qig_edge.train.correlation import choose_context, correlation_length, recurrence
from qig_edge.train.diagnose import STEPS, STRIDE, Fisher, diagnose
from qig_edge.train.shards import Shard, opened

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def first(train: Run, preset: Callable[..., Path], text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phases") / "first"
    train("--preset", preset("adamw"), "--data", text, "--out", out, "--tokens", "8192", "--set-train", "clip=fisher")
    return out


def test_settings_reach_the_run_and_the_log(first: Path) -> None:
    records = [json.loads(line) for line in (first / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert len(records) == 16
    for r in records:
        assert r["i_q"] > 0 and r["fisher_distance"] > 0
        assert r["mode"] in ("exploration", "investigation", "integration", "drift")
        assert isinstance(r["c_slow"], float)


def test_a_phase_starts_from_the_weights_of_another(
    first: Path, text: Path, preset: Callable[..., Path], train: Run, tmp_path: Path
) -> None:
    """The model may have grown: what the checkpoint has not starts fresh, and is named."""
    grown = tmp_path / "grown.toml"
    grown.write_text(preset("adamw").read_text("utf-8").replace("n_layers = 2", "n_layers = 3"), "utf-8")
    out = tmp_path / "second"
    args = ["--preset", grown, "--data", text, "--out", out, "--from", first, "--tokens", "4096"]
    done = train(*args, "--schedule", "cosine", "--learning-rate", "1e-4")
    assert "start fresh" in done.stderr and "blocks.2.attn.q.weight" in done.stderr
    begun = json.loads((out / "metrics.jsonl").read_text("utf-8").splitlines()[0])
    before = [json.loads(line) for line in (first / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert begun["step"] == 1 and begun["loss"] < before[4]["loss"]  # it goes on from what was learnt
    old, new = (checkpoint.find(run) / "tokenizer.json" for run in (first, out))
    assert json.loads(old.read_text("utf-8")) == json.loads(new.read_text("utf-8"))
    again = [a for a in args if a not in ("--from", first)]  # the run knows by now what it came from
    train(*again, "--schedule", "cosine", "--learning-rate", "1e-4", "--resume")


def test_weights_of_another_shape_are_one_error(
    first: Path, text: Path, preset: Callable[..., Path], train: Run, tmp_path: Path
) -> None:
    wider = tmp_path / "wider.toml"
    wider.write_text(preset("adamw").read_text("utf-8").replace("hidden_dim = 64", "hidden_dim = 96"), "utf-8")
    common = ["--data", text, "--out", tmp_path / "out"]
    done = train("--preset", wider, *common, "--from", first, code=2)
    assert "weights of another shape: blocks.0.ffn.up.weight [64, 32] (wanted [96, 32])" in done.stderr
    done_too = train("--preset", preset("adamw"), *common, "--from", tmp_path / "nowhere", code=2)
    assert "no checkpoint at" in done_too.stderr
    for d in (done, done_too):
        assert len([line for line in d.stderr.splitlines() if line.startswith("error:")]) == 1
        assert "Traceback" not in d.stderr


def test_start_from_reports_what_it_took(first: Path, tmp_path: Path) -> None:
    folder = checkpoint.find(first)
    model = Kernel(checkpoint.read_config(folder))
    assert checkpoint.start_from(model, first) == ([], [])
    loaded = checkpoint.load_model(folder)
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in loaded.state_dict().items())
    other = tmp_path / "other"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    gone = weights.pop("kernel.norm.weight")
    save_file({**weights, "kernel.extra": gone}, other / "model.safetensors")
    assert checkpoint.start_from(model, other) == (["norm.weight"], ["extra"])
    save_file({"kernel.extra": gone}, other / "model.safetensors")
    with pytest.raises(CheckpointError, match="shares no weight"):
        checkpoint.start_from(model, other)
    (other / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.start_from(model, other)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("beta3=0.9", "training settings: unknown field 'beta3', did you mean 'beta"),
        ("beta2", "--set-train 'beta2' must be KEY=VALUE"),
        ("=0.9", "--set-train '=0.9' must be KEY=VALUE"),
        ("beta2=high", "training settings: beta2 = 'high' is not of type float"),
        ("clip=value", "training settings: clip = 'value' must be one of norm, fisher"),
        ("schedule=linear", "training settings: schedule = 'linear' must be one of wsd, cosine, curiosity"),
    ],
)
def test_a_bad_assignment_is_named(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError) as e:
        TrainConfig.from_dict(_settings([assignment]), "training settings")
    assert str(e.value).startswith(message) and "\n" not in str(e.value)


def test_assignments_are_read_as_in_a_preset() -> None:
    found = _settings(["clip=fisher", "group_by_regime = true", "learning_rate=1e-3", 'schedule="cosine"', "seed=7"])
    assert found == {
        "clip": "fisher",
        "group_by_regime": True,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "seed": 7,
    }


def test_a_batch_that_no_window_divides_ends_with_one_line(
    text: Path, preset: Callable[..., Path], tmp_path: Path, train: Run
) -> None:
    args = ["--preset", preset("adamw"), "--data", text, "--out", tmp_path / "out"]
    done = train(*args, "--context", "0", "--set-train", "batch_tokens=999", "--final-context", "37", code=2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(lines) == 1 and "context = 0 (measure it) needs batch_tokens" in lines[0]
    assert "Traceback" not in done.stderr


def test_context_0_takes_the_correlation_length(
    first: Path, text: Path, preset: Callable[..., Path], train: Run, tmp_path: Path
) -> None:
    args = ["--preset", preset("adamw"), "--data", text, "--out", tmp_path / "out", "--shards", first / "shards"]
    done = train(*args, "--tokens", "2048", "--context", "0")
    assert "context 64: the data's correlation length is" in done.stderr
    train(*args, "--tokens", "4096", "--context", "0", "--resume")  # the same data gives the same window


def topics(period: int, tokens: int = 200_000) -> np.ndarray:
    """Every `period` tokens another tenth of the vocabulary is in use."""
    rng = np.random.default_rng(4)
    subject = np.repeat(rng.integers(0, 10, tokens // period + 1), period)[:tokens]
    return (subject * 50 + rng.integers(0, 50, tokens)).astype(np.uint16)


def test_correlation_length_is_that_of_the_subject() -> None:
    def length(tokens: np.ndarray) -> int:
        return correlation_length({"a": Shard("a", tokens, tokens[:0], 0)}, {"a": 1.0})

    # two tokens d apart have the same subject with probability 1 - d / period: 1/e at 0.63 period
    for period in (64, 256, 1024):
        assert length(topics(period)) == pytest.approx(0.63 * period, rel=0.3)
    noise = np.random.default_rng(5).integers(0, 500, 200_000).astype(np.uint16)
    assert length(noise) == 16 and length(noise[:100]) == 16
    # tokens of one subject repeat ten times likelier than chance
    assert recurrence(topics(1024), [512]) == pytest.approx(9 * 0.5, rel=0.2)


def test_the_window_fits_model_and_batch() -> None:
    assert choose_context(128, 1024, 8192) == 128
    assert choose_context(100, 1024, 8192) == 128
    assert choose_context(16, 1024, 8192) == 64
    assert choose_context(4096, 1024, 8192) == 1024
    assert choose_context(4096, 48, 8192) == 32
    assert choose_context(512, 1024, 3 * 128) == 128
    with pytest.raises(ConfigError, match="power of two"):
        choose_context(128, 1024, 999)


def test_the_diagnosis_of_a_run(first: Path, text: Path, preset: Callable[..., Path], train: Run) -> None:
    before = {p: p.read_bytes() for p in first.rglob("*") if p.is_file()}
    common = ["--preset", preset("adamw"), "--data", text, "--shards", first / "shards", "--diagnose"]
    found = json.loads(train(*common, "--out", first, "--json").stdout)
    assert found["flat"] in ("flat", "curved", "strongly curved")
    assert found["correlations"] in ("yes", "a little", "no")
    assert found["natural_gradient"] in ("yes", "no", "no difference")
    assert found["contrast"] > 0 and 0 < found["carriers"] <= 1 and 0 <= found["off_diagonal"] <= 1
    assert 0 < found["angle"] < 180 and found["euclidean_length"] > 0
    for name in ("plain", "diagonal", "block"):
        assert found["after"][name] < found["before"]
        assert 0 < found["distance"][name] < STEPS * STRIDE  # Bures distance is about half the Fisher length
    assert {p: p.read_bytes() for p in first.rglob("*") if p.is_file()} == before
    # asked again, it says the same, and the weights are as they were
    model = checkpoint.load_model(first)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    config = TrainConfig(tokens=8192, batch_tokens=512, context=32, final_context=32)
    again = diagnose(model, config, opened(first / "shards"), {str(text): 1.0})
    assert again.to_dict() == found
    assert all(torch.equal(v, weights[k]) for k, v in model.state_dict().items())
    assert [verdict for _, verdict, _ in again.rows()] == [
        found[k] for k in ("flat", "correlations", "natural_gradient")
    ]


def test_the_fisher_estimate_on_gradients_of_a_known_matrix() -> None:
    """Windows' gradients drawn from N(0, T F): off-diagonal share and natural steps are those of F."""
    generator = torch.Generator().manual_seed(8)
    tokens, n = 16, 6
    mix = torch.eye(n) + 0.5 * torch.randn(n, n, generator=generator)
    known = mix @ mix.T
    drawn = torch.randn(4000, n, generator=generator) @ mix.T * tokens**0.5
    fisher = Fisher([drawn], tokens)
    whole, diagonal = fisher.squared_entries()
    assert whole == pytest.approx(known.square().sum().item(), rel=0.1)
    assert diagonal == pytest.approx(known.diagonal().square().sum().item(), rel=0.1)
    g = torch.randn(n, generator=generator)
    damped = known + 0.1 * known.diagonal().mean() * torch.eye(n)
    exact = torch.linalg.solve(damped, g)
    (block,) = fisher.by_block([g])
    assert (block - exact).norm() <= 0.1 * exact.norm()
    (by_diagonal,) = fisher.by_diagonal([g])
    assert torch.allclose(by_diagonal, g / (known.diagonal() + 0.1 * known.diagonal().mean()), rtol=0.15)
    # independent coordinates have nothing off the diagonal, though every sampled matrix has
    apart = Fisher([torch.randn(400, n, generator=generator)], 1).squared_entries()
    assert abs(1 - apart[1] / apart[0]) < 0.1
