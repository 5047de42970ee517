"""Optimizers, schedules and clipping on a model small enough to take its steps in a second."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from qig_edge.config import ModelConfig
from qig_edge.errors import ConfigError, MissingExtra
from qig_edge.model.kernel import Kernel
from qig_edge.train.clip import Clip
from qig_edge.train.config import OPTIMIZERS, TrainConfig
from qig_edge.train.loop import Progress, Trainer, World
from qig_edge.train.optim import Optimizers
from qig_edge.train.pace import Pace
from qig_edge.train.shards import Shard, prepare
from qig_edge.train.sources import Source

LIBRARY = {"kfac": "curvlinops", "shampoo": "pytorch_optimizer", "soap": "pytorch_optimizer"}
MODEL = ModelConfig(
    vocab_size=400,
    d_model=32,
    n_layers=2,
    n_heads=2,
    n_kv_heads=1,
    head_dim=16,
    hidden_dim=48,
    basin_dim=24,
    context_length=32,
)
Data = tuple[object, dict[str, Shard], dict[str, float]]


@pytest.fixture(scope="module")
def data(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Data:
    tokenizer, shards = prepare(tmp_path_factory.mktemp("small") / "shards", [Source(str(text))], None, 400, 100, 4000)
    return tokenizer, shards, {str(text): 1.0}


def settings(**changes: object) -> TrainConfig:
    """A run of 24 steps."""
    base = {
        "tokens": 24 * 256,
        "batch_tokens": 256,
        "micro_tokens": 128,
        "context": 16,
        "final_context": 32,
        "warmup_tokens": 256 * 4,
        "precision": "float32",
        "eval_tokens": 10**9,
        "save_tokens": 10**9,
        "curiosity_tokens": 256 * 4,
        "precondition_every": 4,
        "optimizer": "adamw",
    }
    return TrainConfig(**{**base, **changes})


def trainer(out: Path, config: TrainConfig, data: Data) -> Trainer:
    out.mkdir(exist_ok=True)
    torch.manual_seed(config.seed)
    return Trainer(out, Kernel(MODEL), config, data[0], data[1], data[2], data[2], World())


def run(out: Path, config: TrainConfig, data: Data, stop: int | None = None) -> tuple[Trainer, list[Progress]]:
    """Trains to the end, or to a step, as if interrupted there."""
    made, seen = trainer(out, config, data), []
    if stop is not None:
        made._anyone = lambda asked: made.step >= stop  # type: ignore[method-assign]
    made.run(seen.append)
    return made, seen


def need(optimizer: str) -> None:
    if optimizer in LIBRARY:
        pytest.importorskip(LIBRARY[optimizer], reason=f"{optimizer} needs the 'optimizers' extra")
    if optimizer == "muon" and not hasattr(torch.optim, "Muon"):
        pytest.skip("muon needs torch >= 2.9")


VARIANTS = [
    *({"optimizer": name} for name in OPTIMIZERS),
    {"schedule": "curiosity", "clip": "fisher", "group_by_regime": True},
    {"schedule": "cosine", "clip": "fisher", "optimizer": "muon"},
]


@pytest.mark.parametrize("changes", VARIANTS, ids=lambda c: "-".join(map(str, c.values())))
def test_every_optimizer_learns_and_resumes_bit_exactly(changes: dict, data: Data, tmp_path: Path) -> None:
    """Stopped between two refreshes of the preconditioners, and inside a pool of grouped batches."""
    need(changes.get("optimizer", "adamw"))
    config = settings(**changes)
    whole, seen = run(tmp_path / "whole", config, data)
    assert len(seen) == 24 and seen[-1].loss < seen[0].loss - 0.3
    assert all(p.i_q > 0 and math.isfinite(p.c_slow) and p.mode for p in seen)
    stopped, before = run(tmp_path / "stopped", config, data, stop=10)
    assert stopped.step == 10 and [p.loss for p in before] == [p.loss for p in seen[:10]]
    resumed, after = trainer(tmp_path / "stopped", config, data), []
    assert resumed.resume()
    resumed.run(after.append)
    for a, b in zip(seen[10:], after, strict=True):
        assert (a.loss, a.rate, a.grad_norm, a.c_slow, a.i_q, a.mode) == (
            b.loss,
            b.rate,
            b.grad_norm,
            b.c_slow,
            b.i_q,
            b.mode,
        )
        assert a.fisher_distance == b.fisher_distance
    ours, theirs = whole.model.state_dict(), resumed.model.state_dict()
    assert len(ours) > 10 and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_missing_library_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, library in LIBRARY.items():
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.delitem(sys.modules, "qig_edge.train.kfac", raising=False)
        monkeypatch.delitem(sys.modules, "qig_edge.train.shampoo", raising=False)
        with pytest.raises(MissingExtra, match=rf"optimizer = '{name}' needs .*pip install 'qig-edge\[optimizers\]'"):
            Optimizers(Kernel(MODEL), settings(optimizer=name))


def test_kfac_finds_the_steepest_way_down_a_stretched_bowl() -> None:
    """With inputs of very different sizes the natural step sees through them, the plain gradient doesn't."""
    pytest.importorskip("curvlinops", reason="kfac needs the 'optimizers' extra")
    from qig_edge.train.kfac import _damped_inverse

    generator = torch.Generator().manual_seed(5)
    sizes = torch.logspace(0, 3, 8)
    x = torch.randn(4096, 8, generator=generator) * sizes
    wanted = torch.randn(4, 8, generator=generator) / sizes
    gradient = -(x @ wanted.T).T @ x / len(x)  # of half the squared error of W x at W = 0
    natural = gradient @ _damped_inverse(x.T @ x / len(x), 1e-9)

    def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
        return torch.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()

    assert cosine(-natural, wanted) > 0.99 and not cosine(-gradient, wanted) > 0.5
    assert torch.equal(_damped_inverse(torch.zeros(3, 3), 0.1), torch.eye(3))


def test_kfac_sees_into_compiled_blocks() -> None:
    pytest.importorskip("curvlinops", reason="kfac needs the 'optimizers' extra")
    model = Kernel(MODEL)
    for block in model.blocks:
        block.compile(backend="eager")
    batch = torch.randint(0, 400, (2, 17))
    optimizers = Optimizers(model, settings(optimizer="kfac"))
    for _ in range(2):
        torch.nn.functional.cross_entropy(model(batch[:, :-1]).logits.flatten(0, 1), batch[:, 1:].flatten()).backward()
        optimizers.step(1.0, batch)
    matrices = optimizers.parts[1].param_groups[0]["params"]
    assert len(matrices) == 6 * MODEL.n_layers
    assert all("inner_inverse" in optimizers.parts[1].state[w] for w in matrices)


def test_fisher_clipping_bounds_what_a_step_does(data: Data, tmp_path: Path) -> None:
    """The distance promised is about the one measured on the predictions, twice their Bures distance."""
    config = settings(clip="fisher", clip_fisher=0.02, learning_rate=0.05, batch_tokens=2048, context=32)
    made = trainer(tmp_path / "run", config, data)
    ids = torch.from_numpy(made.mixtures[False].batch(0, 64))
    lengths = []
    for step in range(12):
        made.step = step
        before = torch.log_softmax(made.model(ids[:, :-1]).logits, -1)
        distance = made._train_step(1.0)[2]
        after = torch.log_softmax(made.model(ids[:, :-1]).logits, -1)
        assert distance is not None and distance > config.clip_fisher
        moved = ((after / 2).exp() - (before / 2).exp()).square().sum(-1).mean().sqrt().item()
        lengths.append(2 * moved)
    # the diagonal leaves out correlations, which the step goes along with: seen are 1.4 to 1.5 times the bound
    assert len(lengths) == 12
    assert all(config.clip_fisher / 3 < length < 3 * config.clip_fisher for length in lengths), lengths


def test_norm_clipping_is_what_it_was() -> None:
    weight = torch.nn.Parameter(torch.zeros(4))
    weight.grad = torch.tensor([3.0, 0.0, 4.0, 0.0])
    clip = Clip([weight], settings(clip_norm=1.0))
    assert clip.gradients() == 5.0 and weight.grad.norm().item() == pytest.approx(1.0)
    assert clip.step(lambda: None) is None
    weight.grad = torch.tensor([3.0, 0.0, 4.0, 0.0])
    assert Clip([weight], settings(clip_norm=0.0)).gradients() == 5.0 and weight.grad.norm() == 5.0
    assert Clip([weight], settings(clip="fisher")).gradients() == 5.0 and weight.grad.norm() == 5.0


def test_cosine_falls_to_zero() -> None:
    config = settings(schedule="cosine", tokens=256 * 100)
    rates = [config.rate_at(i) for i in range(config.steps)]
    assert rates[0] < rates[3] == max(rates) and rates[52] == pytest.approx(0.5)
    assert all(a > b > 0 for a, b in zip(rates[4:], rates[5:], strict=False)) and rates[-1] < 1e-3
    assert config.final_start == 80  # phases stay where decay_share says


def paced(losses: list[float], **changes: object) -> tuple[Pace, TrainConfig, list[float], list[str]]:
    config = settings(schedule="curiosity", tokens=256 * 1000, curiosity_tokens=256 * 20, **changes)
    pace, factors, modes = Pace(), [], []
    for step, loss in enumerate(losses):
        pace.observe(config, step, loss, 1.0)
        factors.append(pace.factor)
        modes.append(pace.mode(config))
    return pace, config, factors, modes


def test_curiosity_holds_while_the_loss_falls_and_shrinks_where_it_stands() -> None:
    falling = [4 * 0.99**i for i in range(100)]
    pace, config, factors, modes = paced(falling)
    assert set(factors) == {1.0} and set(modes[1:]) == {"exploration"}
    assert pace.curiosity(config) == pytest.approx(0.2, rel=0.05)  # 1% a step, over 20 steps
    _, _, factors, modes = paced(falling + [falling[-1]] * 400)
    assert factors[110] == 1.0 and factors[-1] < 0.01
    assert all(a >= b for a, b in zip(factors, factors[1:], strict=False))
    found = [m for i, m in enumerate(modes[1:]) if i == 0 or m != modes[i]]
    assert found == ["exploration", "investigation", "integration"]
    _, _, factors, modes = paced([2 * 1.001**i for i in range(60)])
    assert modes[-1] == "drift" and factors[-1] == pytest.approx(0.25)  # by half over each 20 steps, after the first 20
    _, config, factors, _ = paced([2.0] * 1000)
    assert len(set(factors[config.final_start - 1 :])) == 1  # the final phase has a schedule of its own


def test_the_pace_forgets_the_loss_when_the_data_changes() -> None:
    start = settings(tokens=256 * 1000).final_start
    pace, config, _, modes = paced([2.0] * start + [5.0] * 40)
    assert modes[-1] == "integration" and pace.curiosity(config) == 0.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sgd"}, "optimizer = 'sgd' must be one of adamw, rmsprop, muon, kfac, shampoo, soap"),
        ({"schedule": "step"}, "schedule = 'step' must be one of wsd, cosine, curiosity"),
        ({"clip": "value"}, "clip = 'value' must be one of norm, fisher"),
        ({"clip_fisher": 0.0}, "clip_fisher = 0.0 must be a positive number"),
        ({"precondition_every": 0}, "precondition_every = 0 must be a positive number"),
        ({"kfac_damping": -1.0}, "kfac_damping = -1.0 must be a positive number"),
        ({"curiosity_tokens": -5}, "curiosity_tokens = -5 must be a positive number"),
        ({"context": -1}, "context = -1 must be a positive number, or 0"),
        ({"beta2": 1.0}, "beta2 = 1.0 must be in"),
        ({"group_by_regime": "yes"}, "group_by_regime = 'yes' is not of type bool"),
    ],
)
def test_bad_settings_name_what_is_accepted(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError) as e:
        settings(**changes)
    assert str(e.value).startswith(message)


def test_grouping_deals_the_same_windows_by_phi() -> None:
    import numpy as np

    from qig_edge.train.grouping import POOL, Grouping

    asked: list[list[int]] = []

    def measure(numbers: list[int]) -> np.ndarray:
        asked.append(numbers)
        return np.array([(n * 7919) % 1000 for n in numbers])

    grouping = Grouping(3)
    dealt = [grouping.windows(step, 20, 4, measure) for step in range(20)]
    assert sorted(n for numbers in dealt for n in numbers) == list(range(80))
    assert [len(numbers) for numbers in asked] == [4 * POOL, 4 * POOL, 4 * (20 - 2 * POOL)]
    for first in range(0, 2 * POOL, POOL):
        pool = [measure(numbers) for numbers in dealt[first : first + POOL]]
        assert all((np.diff(phi) >= 0).all() for phi in pool)
        ranges = sorted((phi[0], phi[-1]) for phi in pool)
        assert all(a[1] <= b[0] for a, b in zip(ranges, ranges[1:], strict=False))
