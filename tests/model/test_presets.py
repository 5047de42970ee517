"""The shipped presets keep to their plan: sizes in all and by part, twins of equal size, settings that train, a forward pass with every component."""

from __future__ import annotations

import dataclasses
import re

import pytest
import torch

from qig_edge.config import ModelConfig, load_preset, preset_config, preset_model, preset_names
from qig_edge.model.inference_memory import fp16_bytes, stored
from qig_edge.model.jarvis import Jarvis
from qig_edge.model.kernel import Kernel
from qig_edge.train.config import TrainConfig

# Millions of weights: in all (within 2%), and by part or sum of parts (within 10%).
BLOCKS = ("attention", "feed_forward", "routing", "norms")
PLANS: dict[str, tuple[float, dict[tuple[str, ...], float]]] = {
    "qig-nano": (3.1, {("embedding",): 0.84, ("attention",): 0.79, ("feed_forward",): 1.44}),
    "qig-100m": (
        101,
        {
            ("embedding",): 12.6,
            ("attention",): 8 * 5.90,
            ("feed_forward",): 8 * 3.15,
            ("routing",): 8 * 0.95,
            ("head",): 8.4,
            BLOCKS: 8 * 10,
        },
    ),
    # 450M with the 50M of geometric memory, which is no part of the model yet
    "qig-500m": (400, {("embedding",): 50, BLOCKS: 12 * 25, ("head",): 50}),
    "qig-recursive-50m": (50, {("embedding",): 0.68, BLOCKS: 10 * 4.5, ("recursion",): 4.1, ("head",): 0.05}),
    "jarvis-12m": (
        12.0,
        {("embedding",): 3.84, ("attention",): 1.18, ("feed_forward",): 3.15, ("head",): 3.84},
    ),
}
TWINS = {"qig-nano": "dense-nano"} | {f"qig-{n}": f"dense-{n}" for n in ("100m", "500m", "recursive-50m")}


def make(config: object) -> torch.nn.Module:
    return Kernel(config) if isinstance(config, ModelConfig) else Jarvis(config)


def reduced(config: ModelConfig) -> ModelConfig:
    """The same components in the same blocks, every width small."""
    share = config.n_heads // config.n_kv_heads
    small = {"basin_dim": 16, "head_rank": 12, "shallow_dim": 24, "decoherence_modes": 6, "symmetry_rank": 2}
    small |= {"draft_dim": 24, "draft_vocab": 40}
    return dataclasses.replace(
        config,
        vocab_size=89,
        d_model=32,
        n_heads=2 * share,
        n_kv_heads=2,
        head_dim=8,
        hidden_dim=64,
        context_length=64,
        **{name: size for name, size in small.items() if getattr(config, name)},
    )


def test_every_preset_has_a_plan_or_is_a_twin() -> None:
    # the others are made for an experiment or a phase, and say of what
    named = re.compile(r"(qig|dense|jarvis)-(nano|.*\d+m)")
    assert {n for n in preset_names() if named.fullmatch(n)} == {*PLANS, *TWINS.values()}


@pytest.mark.parametrize("name", PLANS)
def test_sizes_keep_to_the_plan(name: str) -> None:
    total, parts = PLANS[name]
    counts = preset_config(name).param_counts()
    assert counts["total"] == sum(n for part, n in counts.items() if part != "total")
    assert abs(counts["total"] / (total * 1e6) - 1) <= 0.02, counts["total"]
    assert parts
    for names, planned in parts.items():
        found = sum(counts[n] for n in names)
        assert abs(found / (planned * 1e6) - 1) <= 0.1, f"{' + '.join(names)}: {found}"


@pytest.mark.parametrize("name", sorted({*PLANS, *TWINS.values()}))
def test_the_module_has_what_the_configuration_counts(name: str) -> None:
    config = preset_config(name)
    with torch.device("meta"):
        model = make(config)
    assert sum(p.numel() for p in model.parameters()) == config.param_counts()["total"]


@pytest.mark.parametrize("name", TWINS)
def test_twins_differ_in_what_is_tested_and_in_nothing_else(name: str) -> None:
    qig, twin = preset_model(name), preset_model(TWINS[name])
    assert abs(twin.param_counts()["total"] / qig.param_counts()["total"] - 1) < 0.02
    assert (twin.attention, twin.decay, twin.basin_dim, twin.head_rank, twin.adaptive) == ("dot", False, 0, 0, False)
    for same in ("vocab_size", "d_model", "n_layers", "n_heads", "n_kv_heads", "head_dim", "context_length"):
        assert getattr(twin, same) == getattr(qig, same), same
    plain = ModelConfig()
    for off in ("gate_margin", "shallow_dim", "recursion_max_loops", "symmetry_rank", "code_rate", "draft_lag"):
        assert getattr(twin, off) == getattr(plain, off), off
    for setting in ("tokens", "batch_tokens", "context", "final_context", "decay_share", "seed"):
        ours, theirs = (load_preset(n).get("train", {}).get(setting) for n in (name, TWINS[name]))
        assert ours == theirs, setting


def test_the_big_presets_have_the_components_of_their_plan() -> None:
    for name in ("qig-100m", "qig-500m", "qig-recursive-50m"):
        c = preset_model(name)
        on = (c.regime, c.shallow_dim, c.exit_first, c.decoherence_modes, c.symmetry_rank, c.code_rate)
        assert all(on) and c.gate_learnt and c.coupling_learnt and c.confidence_learnt and c.draft_lag, name
    hundred, recursive = preset_model("qig-100m"), preset_model("qig-recursive-50m")
    assert (hundred.n_heads, hundred.n_kv_heads, hundred.head_dim, hundred.hidden_dim) == (24, 6, 128, 2048)
    assert abs(hundred.decoherence_modes * hundred.d_model / 0.1e6 - 1) <= 0.1
    assert (recursive.vocab_size, recursive.d_model, recursive.n_layers, recursive.basin_dim) == (9801, 768, 10, 64)
    assert (recursive.regime_low, recursive.regime_high) == (0.45, 0.80)
    assert recursive.recursion_min_loops >= 3


@pytest.mark.parametrize("name", sorted({*PLANS, *TWINS.values()}))
def test_training_settings_fit(name: str) -> None:
    tables, config = load_preset(name), preset_config(name)
    train = TrainConfig.from_dict(tables["train"], name)
    if isinstance(config, ModelConfig):
        train.check_model(config)
    assert max(train.context, train.final_context) <= config.context_length == train.final_context
    total = config.param_counts()["total"]
    assert 5 * total <= train.tokens <= 25 * total
    assert train.warmup_tokens < 0.05 * train.tokens
    assert train.context <= train.micro_tokens <= train.batch_tokens
    assert 200 <= train.steps <= 100_000
    assert train.save_tokens <= train.tokens / 20
    if isinstance(config, ModelConfig):  # what is built is trained, what is not has no loss
        trained = {
            "exits": config.exit_first,
            "draft": config.draft_lag,
            "calibration": config.confidence_learnt,
            "sparsity": config.gate_learnt,
            "budget": config.shallow_dim,
            "kappa": config.coupling_learnt,
        }
        assert {t for t in trained if getattr(train, f"weight_{t}")} == {t for t, on in trained.items() if on}


def test_the_geometric_loss_has_the_weights_of_the_plan() -> None:
    train = load_preset("qig-recursive-50m")["train"]
    terms = ("integration", "sparsity", "calibration", "basin", "phi", "kappa")
    assert [train[f"weight_{t}"] for t in terms] == [0.5, 0.3, 0.2, 0.1, 0.05, 0.02]


@pytest.mark.parametrize("name", preset_names("qig"))
def test_a_forward_pass_at_reduced_size(name: str) -> None:
    config = reduced(preset_model(name))
    counted = {k for k, n in preset_model(name).param_counts().items() if n}
    assert counted == {k for k, n in config.param_counts().items() if n}
    model = Kernel(config).train()
    ids = torch.randint(0, config.vocab_size, (2, 33))
    logits = model(ids[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    assert logits.shape == (2, 32, config.vocab_size) and torch.isfinite(loss)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    with torch.no_grad():
        seen = model.eval()(ids, observe=True)
    assert torch.isfinite(seen.logits).all()
    assert seen.telemetry.phi.shape == ids.shape


def test_a_forward_pass_of_jarvis_at_full_size() -> None:
    config = preset_config("jarvis-12m")
    with torch.no_grad():
        out = Jarvis(config).eval()(torch.randint(0, config.vocab_size, (1, 40)), observe=True)
    assert out.logits.shape == (1, 40, 15000) and torch.isfinite(out.logits).all()
    assert out.metrics.coherence.shape == (1, 40)


def test_memory_at_16_bit() -> None:
    found = {n: fp16_bytes(preset_config(n)) for n in preset_names()}
    assert found["qig-100m"]["total"] < 400e6
    for name, parts in found.items():
        config = preset_config(name)
        assert parts["total"] == parts["weights"] + parts["cache"] + parts["activations"], name
        matrices, vectors = stored(config)
        measured = matrices + vectors - config.param_counts()["total"]
        assert 0 <= measured < 0.01 * matrices and 0 < vectors < 0.02 * matrices, name
        assert 2 * matrices < parts["weights"] < 2.05 * matrices
        assert parts["activations"] < 64e6
    hundred = preset_model("qig-100m")
    assert found["qig-100m"]["cache"] == 2 * 8 * 6 * (128 + 128) * hundred.context_length
    twice = dataclasses.replace(hundred, context_length=2 * hundred.context_length)
    assert fp16_bytes(twice)["cache"] == 2 * found["qig-100m"]["cache"]
    loops = dataclasses.replace(hundred, recursion_min_loops=3, recursion_max_loops=4)
    assert fp16_bytes(loops)["cache"] == 1.5 * found["qig-100m"]["cache"]
