"""Components of depth against their definitions: recurrences against plain loops, thresholds against shares, stopped tokens against full ones."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from qig_edge.config import ModelConfig
from qig_edge.errors import ConfigError
from qig_edge.model.decoherence import Decoherence
from qig_edge.model.embedding import BasinEmbedding
from qig_edge.model.ethics import AgentSymmetry
from qig_edge.model.exits import bures
from qig_edge.model.gate import gate, soft_gate
from qig_edge.model.kernel import FULL_ROWS, Kernel
from qig_edge.model.regime import BREAKDOWN, GEOMETRIC, LINEAR, RegimeDetector
from qig_edge.model.steer import Steered
from tests.convert.tiny import DEPTHS, VOCAB, random_kernel, tiny_config


def ids(rows: int = 2, length: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randint(5, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def naive_regimes(phi: list[float], low: float, high: float, s: float, h: float) -> tuple[list[int], list[float]]:
    """docs/formats.md, "Depth", token by token."""
    m, regime, told, means = (low + high) / 2, GEOMETRIC, [], []
    for i, p in enumerate(phi):
        if i:
            m += s * (p - m)
            if regime == LINEAR:
                regime = BREAKDOWN if m >= high + h else GEOMETRIC if m >= low + h else LINEAR
            elif regime == GEOMETRIC:
                regime = LINEAR if m < low - h else BREAKDOWN if m >= high + h else GEOMETRIC
            else:
                regime = LINEAR if m < low - h else GEOMETRIC if m < high - h else BREAKDOWN
        told.append(regime)
        means.append(m)
    return told, means


@pytest.mark.parametrize("smoothing", [0.05, 0.4, 1.0])
def test_regimes_are_the_loop_of_the_formats_page(smoothing: float) -> None:
    config = tiny_config(
        regime=True, regime_low=0.4, regime_high=0.6, regime_smoothing=smoothing, regime_hysteresis=0.03
    )
    detector = RegimeDetector(config).eval()
    generator = torch.Generator().manual_seed(1)
    seen: set[int] = set()
    for _ in range(20):
        phi = torch.rand((3, 57), generator=generator)
        told, memory = detector(phi, torch.arange(57), None)
        # in two pieces, as decode does it
        first, half = detector(phi[:, :20], torch.arange(20), None)
        second, _ = detector(phi[:, 20:], torch.arange(20, 57), half)
        assert (torch.cat((first, second), 1) == told).all()
        for row in range(3):
            expected, means = naive_regimes(phi[row].tolist(), 0.4, 0.6, smoothing, 0.03)
            close = [i for i, m in enumerate(means) if min(abs(m - t) for t in (0.37, 0.43, 0.57, 0.63)) < 1e-6]
            assert not close, "the seed has a near-tie"
            assert told[row].tolist() == expected
            assert memory.mean[row].item() == pytest.approx(means[-1], abs=1e-6)
            seen |= set(expected)
    assert seen == {LINEAR, GEOMETRIC, BREAKDOWN}


@pytest.mark.parametrize("above", [False, True])
def test_a_steered_threshold_divides_by_its_share(above: bool) -> None:
    steer = Steered(0.3, 5.0, above=above).train()
    values = torch.randn((4, 500), generator=torch.Generator().manual_seed(2))
    among = torch.rand((4, 500), generator=torch.Generator().manual_seed(3)) < 0.5
    values[~among] = torch.nan
    for _ in range(200):
        steer.follow(values, among)
        steer.settle()
    beyond = values[among] > steer.threshold if above else values[among] < steer.threshold
    assert abs(beyond.float().mean().item() - 0.3) < 0.01
    steer.pressure.fill_(0.0)
    for _ in range(200):
        steer.follow(values, among)
        steer.settle()
    edge = values[among].max() if above else values[among].min()
    torch.testing.assert_close(steer.threshold, edge, atol=1e-3, rtol=0)
    before = steer.threshold.clone()
    steer.follow(values, among & False)
    steer.settle()
    assert torch.equal(before, steer.threshold)
    steer.eval().follow(values, among)
    assert not steer.goals


@pytest.mark.parametrize("kind", [k for k in DEPTHS if k != "routing"])
def test_a_stopped_token_is_not_seen_by_later_blocks(kind: str) -> None:
    """What stopped tokens would have done changes nothing; which token stopped does not hang on the future."""
    model = random_kernel(tiny_config(**DEPTHS[kind]), 1)
    text = ids()
    with torch.no_grad():
        out = model(text, observe=True)
        shorter = model(text[:, :25], observe=True)
    assert out.telemetry is not None and shorter.telemetry is not None
    assert torch.equal(out.telemetry.blocks_run[:, :25], shorter.telemetry.blocks_run)
    torch.testing.assert_close(out.logits[:, :25], shorter.logits, atol=1e-5, rtol=1e-5)
    assert len(out.telemetry.blocks_run.unique()) > 1
    assert ((out.telemetry.agency > 0) & (out.telemetry.agency <= 1)).all()


def test_some_rows_run_to_full_depth_in_training() -> None:
    model = random_kernel(tiny_config(**DEPTHS["exits"]), 1).train()
    journey = model(ids(rows=2 * FULL_ROWS)).journey
    assert journey is not None
    full = (journey.blocks == model.config.n_layers).all(1)
    assert full[FULL_ROWS - 1 :: FULL_ROWS].all() and not full.all()


@pytest.mark.parametrize("kind", DEPTHS)
def test_every_parameter_of_depth_gets_a_gradient(kind: str) -> None:
    model = random_kernel(tiny_config(**DEPTHS[kind]), 2).train()
    model.ramp(0.5, 0.05)
    text = ids(rows=FULL_ROWS)
    out = model(text, exits=model.config.exit_blocks)
    loss = torch.nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), text[:, 1:].flatten())
    assert out.journey is not None
    for seen in out.journey.exits:
        if seen.probed is not None:
            loss = loss + seen.probed.square().mean()
    loss.backward()
    for name, p in model.named_parameters():
        if name.startswith(("calibration", "draft.")):  # terms of their own alone train them
            continue
        assert p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0, name


def test_measured_weights_pass_no_gradient_back() -> None:
    model = random_kernel(tiny_config(attention_grad=False), 2).train()
    text = ids()
    torch.nn.functional.cross_entropy(model(text).logits[:, :-1].flatten(0, 1), text[:, 1:].flatten()).backward()
    for block in model.blocks:
        assert block.attn.q.weight.grad is None or not block.attn.q.weight.grad.any()
        assert block.attn.v.weight.grad.any()


def test_bures_of_distributions() -> None:
    log = torch.log_softmax(torch.randn((3, 7, 50), generator=torch.Generator().manual_seed(4)), -1)
    p, q, r = log
    assert bures(p, p).max() < 1e-3
    torch.testing.assert_close(bures(p, q), bures(q, p))
    assert (bures(p, q) <= bures(p, r) + bures(r, q) + 1e-6).all()
    point = torch.full((2, 4), -math.inf)
    point[0, 0] = point[1, 1] = 0.0
    assert bures(point[0], point[1]) == 1


def test_soft_gates_become_the_hard_one() -> None:
    o = torch.rand((1, 2, 9, 9), generator=torch.Generator().manual_seed(5)) * 2 - 1
    own = torch.eye(9, dtype=torch.bool)
    causal = torch.ones(9, 9, dtype=torch.bool).tril()
    threshold = torch.tensor([0.15, 0.3])[:, None, None]
    hard = gate(torch.zeros_like(o), o, causal, own, threshold, 0.0)
    soft = soft_gate(o, own, threshold, torch.tensor(1e-3)) > 0.5
    assert torch.equal(hard, soft & causal)
    assert hard[..., own].all()
    none = gate(torch.zeros_like(o), o, causal, own, torch.zeros(2, 1, 1), 0.0)
    assert torch.equal(none, causal.expand_as(none))


def test_code_rate_holds_entropy_at_its_ceiling() -> None:
    config = tiny_config(code_rate=0.8, vocab_size=50)
    embedding = BasinEmbedding(config)
    embedding.initialize("normal", config.d_model)
    with torch.no_grad():
        embedding.table[7] *= 20  # clear enough already
    embedding.refresh()
    with torch.no_grad():
        log_p = torch.log_softmax(embedding(torch.arange(50)), -1)
    entropy = -(log_p.exp() * log_p).sum(-1) / math.log(config.d_model)
    assert (entropy <= 0.8 + 1e-4).all()
    assert embedding.token_scale is not None and embedding.token_scale[7] == 1
    scaled = embedding.token_scale > 1
    assert scaled.sum() > 40 and (entropy[scaled] > 0.8 - 1e-3).all()


def test_geometric_tables_spread_their_tokens() -> None:
    config = tiny_config(vocab_size=96)
    embedding = BasinEmbedding(config)
    embedding.initialize("geometric", config.d_model)
    first = embedding.table[: config.basin_dim]
    torch.testing.assert_close(first @ first.T, torch.eye(config.basin_dim), atol=1e-5, rtol=0)
    x = embedding(torch.arange(96)).detach()
    torch.testing.assert_close(x.square().mean(-1), torch.ones(96), atol=1e-4, rtol=0)
    cosine = torch.nn.functional.normalize(x, dim=-1) @ torch.nn.functional.normalize(x, dim=-1).T
    torch.testing.assert_close(cosine[:32, :32], torch.eye(32), atol=1e-4, rtol=0)


def test_the_role_swap_is_an_involution_and_its_projection_keeps_what_it_keeps() -> None:
    symmetry = AgentSymmetry(tiny_config(symmetry_rank=3))
    torch.nn.init.normal_(symmetry.weight, generator=torch.Generator().manual_seed(6))
    w = symmetry.directions()
    torch.testing.assert_close(w @ w.T, torch.eye(3), atol=1e-5, rtol=0)
    swap = torch.eye(64) - 2 * w.T @ w
    torch.testing.assert_close(swap @ swap, torch.eye(64), atol=1e-5, rtol=0)
    x = torch.randn((4, 64), generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(symmetry(x), (x + x @ swap.T) / 2, atol=1e-5, rtol=0)
    torch.testing.assert_close(symmetry(x), symmetry(x @ swap.T), atol=1e-5, rtol=0)
    before = symmetry(x)
    symmetry.refresh()
    torch.testing.assert_close(symmetry(x), before, atol=1e-5, rtol=0)


def test_decoherence_finds_the_modes_of_what_it_saw() -> None:
    config = tiny_config(exit_first=1, decoherence_modes=4)
    decoherence = Decoherence(config).train()
    basis = torch.linalg.qr(torch.randn((64, 4), generator=torch.Generator().manual_seed(8))).Q
    runs = torch.ones((2, 50), dtype=torch.bool)
    for seed in range(30):
        x = torch.randn((2, 50, 4), generator=torch.Generator().manual_seed(seed)) @ basis.T
        decoherence.collapses(x, decoherence.rate(x, torch.tensor(1.0), torch.ones(2, 50)), runs)
        decoherence.steer.settle()
    decoherence.refresh()
    torch.testing.assert_close(decoherence.project(x), x, atol=1e-4, rtol=0)
    away = torch.randn((2, 50, 64), generator=torch.Generator().manual_seed(99))
    away = away - (away @ basis) @ basis.T
    assert decoherence.project(away).abs().max() < 1e-3


def test_bad_depth_is_named() -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"exit_first": 2}, "exit_first = 2 must be 0 (off) or in [1, 2)"),
        ({"regime_low": 0.8}, "regime_high = 0.7 must be above regime_low = 0.8"),
        ({"regime_hysteresis": 0.5}, "regime_hysteresis = 0.5 must be in [0, 0.2)"),
        ({"decoherence_modes": 8}, "decoherence_modes = 8 must be 0 without exits"),
        ({"recursion_min_loops": 3}, "recursion_max_loops = 0"),
        ({"exit_rule": "guess"}, "exit_rule = 'guess' must be one of bures, probe"),
        ({"on_breakdown": "stop"}, "on_breakdown = 'stop' must be one of mark, pause"),
        ({"draft_lag": 9, "draft_dim": 8}, "draft_lag = 9 must be 0 (off) or in [1, 8]"),
        (
            {"draft_lag": 1},
            "draft_dim = 0 must be 0 with draft_lag = 0 (off) and positive with another; draft_lag is 1",
        ),
        ({"draft_vocab": 9}, "draft_vocab = 9 must be 0 (all words) or in [1, vocab_size ="),
        ({"symmetry_rank": 64}, "symmetry_rank = 64 must be in [0, d_model = 64)"),
        ({"code_rate": 1.0}, "code_rate = 1.0 must be in [0, 1)"),
        ({"attention": "dot", "gate_learnt": True}, "gate_learnt"),
    ]
    for fields, message in cases:
        with pytest.raises(ConfigError) as e:
            tiny_config(**fields)
        assert message in str(e.value), str(e.value)


def test_counts_with_every_component() -> None:
    for kind, fields in DEPTHS.items():
        config = tiny_config(**fields)
        assert sum(p.numel() for p in Kernel(config).parameters()) == config.param_counts()["total"], kind
    assert isinstance(dataclasses.replace(tiny_config(), shallow_dim=8), ModelConfig)
