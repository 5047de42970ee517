"""The assembled model: causality, cache, shapes, telemetry and parameter counts."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch

from qig_edge.config import ModelConfig, load_preset, preset_model, preset_names
from qig_edge.errors import ConfigError
from qig_edge.model.attention import CHUNK, running_coupling
from qig_edge.model.kernel import Kernel

TINY = ModelConfig(
    vocab_size=97,
    d_model=32,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=8,
    hidden_dim=64,
    basin_dim=16,
    context_length=512,
)
VARIANTS = {
    "pure": {},
    "diagonal": {"state": "diagonal"},
    "diagonal without phases": {"state": "diagonal", "state_phases": False},
    "fisher_rao": {"metric": "fisher_rao"},
    "no decay": {"decay": False},
    "gated": {"gate_margin": 3.0, "gate_threshold": 0.05},
    "own head": {"head_rank": 24},
    "dot": {"attention": "dot", "basin_dim": 0, "decay": False},
    "dot with decay": {"attention": "dot"},
}


def make(seed: int = 0, **changes: object) -> Kernel:
    torch.manual_seed(seed)
    model = Kernel(dataclasses.replace(TINY, **changes)).eval()
    with torch.no_grad():  # every block starts as the identity; a test needs one that does something
        for p in model.parameters():
            p.add_(0.05 * torch.randn_like(p))
    return model


@pytest.mark.parametrize("name", VARIANTS)
def test_cache_on_equals_cache_off_and_the_future_is_not_seen(name: str) -> None:
    model = make(**VARIANTS[name])
    ids = torch.randint(0, 97, (2, 23), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = model(ids).logits
        assert torch.isfinite(whole).all()
        out, pieces, cache = None, [], None
        for piece in (ids[:, :9], ids[:, 9:10], ids[:, 10:]):
            out = model(piece, cache=cache, keep_cache=True)
            cache = out.cache
            pieces.append(out.logits)
        torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=2e-5, rtol=1e-4)
        changed = ids.clone()
        changed[:, 15:] = (changed[:, 15:] + 1) % 97
        torch.testing.assert_close(model(changed).logits[:, :15], whole[:, :15], atol=1e-6, rtol=0)
        assert (model(changed).logits[:, 15:] - whole[:, 15:]).abs().max() > 1e-3


def test_query_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make(gate_margin=4.0)
    ids = torch.randint(0, 97, (1, CHUNK + 37), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        chunked = model(ids).logits
        monkeypatch.setattr("qig_edge.model.attention.CHUNK", 10_000)
        torch.testing.assert_close(chunked, model(ids).logits, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [n for n in VARIANTS if "dot" not in n])
def test_telemetry_is_in_range_and_changes_no_logits(name: str) -> None:
    model = make(**VARIANTS[name])
    ids = torch.randint(0, 97, (2, 20), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        plain, seen = model(ids).logits, model(ids, observe=True)
    torch.testing.assert_close(plain, seen.logits)
    t = seen.telemetry
    for field in (t.phi, t.surprise, t.confidence, t.agency):
        assert field.shape == ids.shape and ((field >= 0) & (field <= 1 + 1e-5)).all()
    assert (t.surprise[:, 0] == 0).all() and (t.phi[:, 0] == 0).all()
    assert ((t.curvature > 0) & (t.curvature < 3.15)).all()
    assert (t.agency < 1).any() == ("gate" in name)
    assert (t.blocks_run == 2).all() and (t.regime == 1).all()
    assert (t.coherence_drift[:, 0] < 1e-6).all() and ((t.coherence_drift >= 0) & (t.coherence_drift < 1.42)).all()
    p = torch.softmax(plain[0, 4], -1)[ids[0, 5]]
    torch.testing.assert_close(t.surprise[0, 5], (1 - p.sqrt()).sqrt())


def test_every_parameter_gets_a_gradient() -> None:
    for name, changes in VARIANTS.items():
        model = make(**changes).train()
        ids = torch.randint(0, 97, (2, 12), generator=torch.Generator().manual_seed(4))
        torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits.reshape(-1, 97), ids[:, 1:].reshape(-1)).backward()
        for p_name, p in model.named_parameters():
            assert p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0, f"{name}: {p_name}"


def test_running_coupling_is_clamped_and_one_at_the_reference() -> None:
    lengths = torch.tensor([1, 128, 256, 10**9])
    r = running_coupling(dataclasses.replace(TINY, coupling_beta=0.43), lengths)
    torch.testing.assert_close(r, torch.tensor([0.25, 1.0, 1 + 0.43 * 0.6931472, 4.0]))
    assert running_coupling(TINY, lengths).tolist() == [1.0] * 4  # flat unless it is asked for


@pytest.mark.parametrize("name", preset_names("qig"))
def test_preset_counts_are_the_models(name: str) -> None:
    config = preset_model(name)
    with torch.device("meta"):
        model = Kernel(config)
    assert sum(p.numel() for p in model.parameters()) == config.param_counts()["total"]


def test_the_twin_has_the_parameters_of_qig_nano() -> None:
    qig, twin = (preset_model(n).param_counts()["total"] for n in ("qig-nano", "dense-nano"))
    assert abs(qig / twin - 1) < 0.02
    assert load_preset("qig-nano")["train"] == load_preset("dense-nano")["train"]


def test_bad_sizes_are_named() -> None:
    cases = [
        ({"n_kv_heads": 3}, "n_kv_heads = 3 must be a divisor of n_heads = 4"),
        ({"head_dim": 7}, "head_dim = 7 must be an even number"),
        ({"state": "mixed"}, "state = 'mixed' must be one of pure, diagonal"),
        ({"d_model": 0}, "d_model = 0"),
        ({"d_model": "32"}, "d_model = '32' is not of type int"),
        ({"gate_threshold": 1.5}, "gate_threshold = 1.5"),
        ({"norm_eps": float("nan")}, "norm_eps = nan"),
        ({"d_modle": 3}, "did you mean 'd_model'"),
    ]
    for changes, message in cases:
        with pytest.raises(ConfigError, match=None) as e:
            ModelConfig.from_dict({**TINY.to_dict(), **changes})
        assert message in str(e.value)
    with pytest.raises(ConfigError, match="did you mean 'qig-nano'"):
        preset_model("qig-nan")


def test_counts_of_every_combination() -> None:
    for basin, rank, state in itertools.product((0, 16), (0, 24), ("pure", "diagonal")):
        config = dataclasses.replace(TINY, basin_dim=basin, head_rank=rank, state=state)
        assert sum(p.numel() for p in Kernel(config).parameters()) == config.param_counts()["total"]
