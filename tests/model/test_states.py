"""The fast forms of state, overlap and distance against exact density-matrix geometry in float64, and the axioms of a metric."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qig_edge.model import density, states
from qig_edge.model.gate import coupling, gate, threshold_overlap


def unit(n: int, c: int, seed: int) -> torch.Tensor:
    x = torch.randn(n, c, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x / x.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("c", [2, 3, 16])
def test_pure_state_distance_is_the_bures_distance_of_its_density_matrix(c: int) -> None:
    a, b = unit(20, c, 1), unit(20, c, 2)
    fast = states.distance((a * b).sum(-1), eps=0.0) / math.sqrt(2)
    exact = density.bures_distance(density.pure(a), density.pure(b))
    # the exact route takes eigenvalue square roots of numbers near 0, good to sqrt(eps) of float64
    torch.testing.assert_close(fast, exact, atol=3e-7, rtol=0)


def test_diagonal_state_without_phases_is_the_bures_distance_of_diagonal_matrices() -> None:
    x = torch.randn(2, 1, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    gain = torch.tensor([1.7], dtype=torch.float64)
    a, b = (states.diagonal_state(x[i : i + 1], gain, None)[0, 0] for i in range(2))
    torch.testing.assert_close(a.square(), torch.softmax(1.7 * x[0, 0], -1))
    exact = density.bures_distance(torch.diag_embed(a.square()), torch.diag_embed(b.square()))
    torch.testing.assert_close(states.distance((a * b).sum(-1), eps=0.0), exact, atol=3e-7, rtol=0)


def test_phases_turn_a_diagonal_state_but_keep_its_length() -> None:
    x = torch.randn(1, 2, 7, 4, generator=torch.Generator().manual_seed(4))
    cos, sin = states.rotary(torch.arange(7), 4, 10000.0)
    phi = states.diagonal_state(x, torch.ones(2), (cos, sin))
    assert phi.shape == (1, 2, 7, 8)
    torch.testing.assert_close(phi.square().sum(-1), torch.ones(1, 2, 7))
    # the overlap of equal vectors depends on the time between them alone
    same = states.diagonal_state(x[:, :, :1].expand(-1, -1, 7, -1), torch.ones(2), (cos, sin))
    o = states.overlap(same, same)
    torch.testing.assert_close(o[..., 0, 2], o[..., 4, 6], atol=1e-5, rtol=0)
    assert (o[..., 0, 3] < 1 - 1e-3).all()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 8, 33]), st.sampled_from(["bures", "fisher_rao"]))
def test_distance_is_a_metric(seed: int, c: int, metric: str) -> None:
    x = unit(3, c, seed)
    d = states.distance((x @ x.T).clamp(-1, 1), metric, eps=0.0)
    assert torch.equal(d, d.T) or (d - d.T).abs().max() < 1e-12
    # sqrt(2 (1 - o)) of a rounded o = 1 may be sqrt(2 eps)
    assert d.diagonal().max() < 1e-7
    assert (d >= 0).all()
    slack = 1e-7 if metric == "bures" else 2e-3  # fisher_rao holds asin just below its pole
    assert d[0, 2] <= d[0, 1] + d[1, 2] + slack


def test_fidelity_is_symmetric_bounded_and_unitary_invariant() -> None:
    g = torch.Generator().manual_seed(5)
    m = torch.randn(2, 6, 4, 4, dtype=torch.complex128, generator=g)
    rho, sigma = (x @ x.mH / torch.einsum("bii->b", x @ x.mH)[:, None, None] for x in m)
    f = density.fidelity(rho, sigma)
    assert (f > 0).all() and (f <= 1 + 1e-9).all()
    torch.testing.assert_close(f, density.fidelity(sigma, rho), atol=1e-9, rtol=0)
    torch.testing.assert_close(density.fidelity(rho, rho), torch.ones(6, dtype=torch.float64), atol=1e-7, rtol=0)
    u = torch.linalg.qr(torch.randn(4, 4, dtype=torch.complex128, generator=g)).Q
    torch.testing.assert_close(f, density.fidelity(u @ rho @ u.mH, u @ sigma @ u.mH), atol=1e-9, rtol=0)
    # data processing: measuring (keeping the diagonal) cannot make states easier to tell apart
    p, q = (torch.diagonal(x, dim1=-2, dim2=-1).real for x in (rho, sigma))
    assert ((p * q).sqrt().sum(-1).square() >= f - 1e-9).all()


def test_bures_distance_of_density_matrices_is_a_metric_that_channels_do_not_increase() -> None:
    generator = torch.Generator().manual_seed(9)

    def random_density() -> torch.Tensor:
        a = torch.complex(
            torch.randn((8, 4, 4), generator=generator, dtype=torch.float64),
            torch.randn((8, 4, 4), generator=generator, dtype=torch.float64),
        )
        rho = a @ a.mH
        return rho / rho.diagonal(dim1=-2, dim2=-1).sum(-1).real[:, None, None]

    def partial_trace(rho: torch.Tensor) -> torch.Tensor:
        return rho.reshape(8, 2, 2, 2, 2).diagonal(dim1=2, dim2=4).sum(-1)

    def dephased(rho: torch.Tensor) -> torch.Tensor:
        return torch.diag_embed(rho.diagonal(dim1=-2, dim2=-1))

    p, q, r = (random_density() for _ in range(3))
    d = density.bures_distance
    assert (d(p, q) > 0).all() and d(p, p).max() < 1e-6
    torch.testing.assert_close(d(p, q), d(q, p))
    assert (d(p, q) <= d(p, r) + d(r, q) + 1e-9).all()
    for channel in (partial_trace, dephased):
        assert (d(channel(p), channel(q)) <= d(p, q) + 1e-9).all()
    # what dephasing leaves are diagonal states: the fast form
    a, b = (dephased(x).diagonal(dim1=-2, dim2=-1).real for x in (p, q))
    torch.testing.assert_close(d(dephased(p), dephased(q)), (2 * (1 - (a * b).sqrt().sum(-1))).sqrt())


def test_rotation_is_unitary_and_relative() -> None:
    cos, sin = states.rotary(torch.arange(40), 8, 10000.0)
    x = torch.randn(1, 1, 1, 16, generator=torch.Generator().manual_seed(6)).expand(1, 1, 40, 16)
    phi = states.pure_state(x, cos, sin)
    torch.testing.assert_close(phi.norm(dim=-1), torch.ones(1, 1, 40))
    o = states.overlap(phi, phi)[0, 0]
    torch.testing.assert_close(o[5, 2], o[35, 32], atol=1e-5, rtol=0)


def test_zero_vector_is_no_nan() -> None:
    cos, sin = states.rotary(torch.arange(3), 4, 10000.0)
    x = torch.zeros(1, 1, 3, 8, requires_grad=True)
    phi = states.pure_state(x, cos, sin)
    states.distance(states.overlap(phi, phi)).sum().backward()
    assert torch.isfinite(phi).all() and torch.isfinite(x.grad).all()


def test_gradient_is_finite_where_states_coincide() -> None:
    x = torch.ones(1, 1, 4, 8, requires_grad=True)
    cos, sin = torch.ones(4, 4), torch.zeros(4, 4)
    for metric in ("bures", "fisher_rao"):
        phi = states.pure_state(x, cos, sin)
        (grad,) = torch.autograd.grad(states.distance(states.overlap(phi, phi), metric).sum(), x)
        assert torch.isfinite(grad).all()


def test_coupling_rises_over_the_whole_range_and_matches_the_entropy_of_the_joint_state() -> None:
    o = torch.linspace(-1, 1, 201, dtype=torch.float64)
    c = coupling(o)
    assert (c.diff() > 0).all() and abs(c[0].item()) < 1e-12 and abs(c[-1].item() - 1) < 1e-12
    # reduced state of the first qubit of (|0> psi_i + |1> psi_j) / sqrt 2 has eigenvalues (1 +- <psi_i|psi_j>) / 2, <psi_i|psi_j> = (1 + o) / 2
    for value in (-0.7, 0.0, 0.4):
        s = (1 + value) / 2
        p = (1 + s) / 2
        entropy = -(p * math.log2(p) + (1 - p) * math.log2(1 - p))
        assert abs(coupling(torch.tensor(value, dtype=torch.float64)).item() - (1 - entropy)) < 1e-12
    assert abs(threshold_overlap(0.3) - 0.24) < 0.005  # the figure of the design: threshold 0.3 is o > 0.24
    assert threshold_overlap(0.0) == -math.inf


def test_gate_always_lets_the_own_pair_through() -> None:
    o = torch.full((1, 1, 4, 4), -0.9)
    causal = torch.ones(4, 4, dtype=torch.bool).tril()
    own = torch.eye(4, dtype=torch.bool)
    allowed = gate(-states.distance(o), o, causal, own, 0.5, 0.0)
    assert torch.equal(allowed[0, 0], own)
    scores = torch.tensor([[[[0.0, -9, -9, -9], [5.0, -3.0, -9, -9], [1.0, 3.9, 4.0, -9], [0.0, 0.0, 0.0, 0.0]]]])
    allowed = gate(scores, o, causal, own, 0.0, 2.0)
    assert allowed[0, 0].tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [False, True, True, False],
        [True] * 4,
    ]
