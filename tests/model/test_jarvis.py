"""Jarvis: causality, cache, and its four metrics against their definitions written out in float64."""

from __future__ import annotations

import math

import pytest
import torch

from qig_edge.config import model_config, preset_config, preset_model, preset_names
from qig_edge.errors import ConfigError
from qig_edge.model import jarvis
from qig_edge.model.jarvis import Jarvis
from qig_edge.model.jarvis_config import JarvisConfig

TINY = JarvisConfig(vocab_size=61, d_model=32, n_layers=3, n_heads=4, hidden_dim=48, context_length=40)


def make() -> Jarvis:
    torch.manual_seed(3)
    return Jarvis(TINY).eval()


def rows(heads: int = 3, length: int = 9, spread: float = 2.0) -> torch.Tensor:
    """Causal rows of attention [1, H, T, T], float64."""
    scores = spread * torch.randn(1, heads, length, length, dtype=torch.float64)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    return torch.softmax(scores.masked_fill(future, -math.inf), -1)


def test_cache_on_equals_cache_off_and_the_future_is_not_seen() -> None:
    model, ids = make(), torch.randint(0, 61, (2, 23))
    with torch.no_grad():
        whole = model(ids).logits
        assert torch.isfinite(whole).all() and whole.shape == (2, 23, 61)
        cache, pieces = None, []
        for piece in (ids[:, :7], ids[:, 7:8], ids[:, 8:]):
            out = model(piece, cache=cache, keep_cache=True)
            cache = out.cache
            pieces.append(out.logits)
        torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=2e-5, rtol=1e-4)
        changed = ids.clone()
        changed[:, 15:] = (changed[:, 15:] + 1) % 61
        torch.testing.assert_close(model(changed).logits[:, :15], whole[:, :15], atol=1e-6, rtol=0)
        assert (model(changed).logits[:, 15:] - whole[:, 15:]).abs().max() > 1e-3


def test_order_matters() -> None:
    model = make()
    with torch.no_grad():
        one = model(torch.tensor([[5, 9, 17]])).logits[0, -1]
        other = model(torch.tensor([[9, 5, 17]])).logits[0, -1]
    assert (one - other).abs().max() > 1e-3
    table = jarvis.sinusoids(torch.arange(40), 32)
    assert (table[0, 0::2] == 0).all() and (table[0, 1::2] == 1).all()
    torch.testing.assert_close(table[7, 4], torch.tensor(math.sin(7 * 10000 ** (-4 / 32))))


def test_metrics_of_a_model_are_in_range_and_change_no_logits() -> None:
    model, ids = make(), torch.randint(0, 61, (2, 40))
    with torch.no_grad():
        plain, seen = model(ids), model(ids, observe=True)
        split = model(ids[:, :20], observe=True, keep_cache=True)
        rest = model(ids[:, 20:], cache=split.cache, observe=True)
    torch.testing.assert_close(plain.logits, seen.logits, atol=2e-5, rtol=1e-4)
    assert plain.metrics is None
    for name, low in (("coherence", 0), ("entanglement", 0), ("interference", -1), ("fidelity", 0)):
        values = getattr(seen.metrics, name)
        assert values.shape == ids.shape and ((values >= low - 1e-5) & (values <= 1 + 1e-5)).all(), name
        assert values.std() > 1e-4, name
        torch.testing.assert_close(
            torch.cat((getattr(split.metrics, name), getattr(rest.metrics, name)), 1), values, atol=1e-4, rtol=1e-3
        )
    # one visible position: nothing to be coherent with, nothing to interfere with, every head attends to it
    for name in ("coherence", "entanglement", "interference"):
        assert (getattr(seen.metrics, name)[:, 0].abs() < 1e-4).all(), name


def test_coherence_is_the_sum_of_off_diagonal_entries_over_its_maximum() -> None:
    a = rows()
    got = jarvis.coherence(a)
    for h in range(3):
        for i in range(1, 9):
            psi = a[0, h, i, : i + 1].sqrt()
            rho = torch.outer(psi, psi)
            torch.testing.assert_close(got[0, h, i], (rho.sum() - rho.trace()) / i)
    even = torch.full((1, 1, 1, 6), 1 / 6)
    torch.testing.assert_close(jarvis.coherence(even), torch.ones(1, 1, 1))
    assert jarvis.coherence(torch.eye(6)[None, None, -1:]).abs().max() < 1e-6


def test_entanglement_is_that_of_the_joint_state_on_either_side() -> None:
    a = rows()
    got = jarvis.entanglement(a)
    for i in range(9):
        joint = a[0, :, i].sqrt() / math.sqrt(3)  # [heads, positions]: amplitudes of the joint state
        assert abs(float(joint.square().sum()) - 1) < 1e-12
        schmidt = torch.linalg.svdvals(joint).square()  # the same seen from the positions' side
        torch.testing.assert_close(got[0, i], -torch.xlogy(schmidt, schmidt).sum() / math.log(3))
    alike = a[:, :1].expand(-1, 3, -1, -1)
    assert jarvis.entanglement(alike).abs().max() < 1e-9
    apart = torch.eye(4)[None, :, None]  # four heads, each at a position of its own
    torch.testing.assert_close(jarvis.entanglement(apart), torch.ones(1, 1))
    assert jarvis.entanglement(rows(1)).abs().max() == 0


def test_interference_is_the_sum_of_cross_terms() -> None:
    a, v = rows(), torch.randn(1, 3, 9, 5, dtype=torch.float64)
    got = jarvis.interference(a, v, a @ v)
    for h in range(3):
        for i in range(9):
            cross = sum(
                a[0, h, i, j] * a[0, h, i, k] * (v[0, h, j] @ v[0, h, k]) for j in range(9) for k in range(9) if j != k
            )
            torch.testing.assert_close(got[0, h, i], cross / (a[0, h, i] @ v[0, h].norm(dim=-1)).square())
    half, one = torch.full((1, 1, 1, 2), 0.5), torch.ones(3)
    for other, expected in ((one, 0.5), (-one, -0.5)):
        values = torch.stack((one, other))[None, None]
        torch.testing.assert_close(jarvis.interference(half, values, half @ values), torch.full((1, 1, 1), expected))


def test_fidelity_is_squared_overlap() -> None:
    x = torch.randn(4, 7)
    torch.testing.assert_close(jarvis.fidelity(x, -3 * x), torch.ones(4))
    turned = torch.tensor([[math.cos(0.3), math.sin(0.3)]])
    torch.testing.assert_close(jarvis.fidelity(torch.tensor([[1.0, 0.0]]), turned), torch.tensor([math.cos(0.3) ** 2]))


def test_it_learns() -> None:
    model = make().train()
    ids = torch.randint(0, 61, (4, 20))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        logits = model(ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        for name, p in model.named_parameters():
            assert p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0, name
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] < 1.5 * math.log(61) and losses[-1] < losses[0] / 2


def test_configurations_are_checked_by_architecture() -> None:
    assert isinstance(preset_config("jarvis-12m"), JarvisConfig)
    assert preset_names("jarvis") == ["jarvis-12m"]
    assert set(preset_names()) == set(preset_names("qig")) | set(preset_names("jarvis"))
    with pytest.raises(ConfigError, match="preset 'jarvis-12m' is of architecture 'jarvis'"):
        preset_model("jarvis-12m")
    cases = [
        ({"architecture": "jarvis", "n_heads": 3}, "n_heads = 3 must be a divisor of d_model = 256"),
        ({"architecture": "jarvis", "d_model": 7}, "d_model = 7 must be an even number"),
        ({"architecture": "jarvis", "hidden_dim": 0}, "hidden_dim = 0 must be a positive number"),
        ({"architecture": "jarvis", "basin_dim": 4}, "unknown field 'basin_dim'"),
        ({"architecture": "gpt"}, "architecture = 'gpt' must be one of qig, jarvis"),
    ]
    for table, message in cases:
        with pytest.raises(ConfigError) as e:
            model_config(table, "mine.toml")
        assert message in str(e.value) and str(e.value).startswith("mine.toml")
    with pytest.raises(ValueError, match="41 positions are more than the context_length = 40"):
        make()(torch.zeros(1, 41, dtype=torch.long))
