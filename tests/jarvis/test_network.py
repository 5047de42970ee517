"""Jarvis in NumPy against torch: logits, metrics, cache, and every gradient against autograd's, in float64."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from qig_edge.jarvis.adam import Adam
from qig_edge.jarvis.files import from_torch_state, torch_model
from qig_edge.jarvis.network import METRICS, Network, shapes, sinusoids
from qig_edge.model.jarvis_config import JarvisConfig
from tests.jarvis.models import PLAIN, TINY, network

torch = pytest.importorskip("torch")

SHAPES = {
    "tiny": TINY,
    "without a final norm": PLAIN,
    "ragged": JarvisConfig(vocab_size=37, d_model=30, n_layers=1, n_heads=5, hidden_dim=77, context_length=33),
    "one head": dataclasses.replace(TINY, n_heads=1, n_layers=2),
}


def ids(config: JarvisConfig, rows: int = 2, length: int = 23) -> np.ndarray:
    return np.random.default_rng(5).integers(0, config.vocab_size, (rows, length))


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_gradients_are_autograds(config: JarvisConfig) -> None:
    ours = network(config, dtype=np.float64)
    model = torch_model(ours)
    text = ids(config)
    loss, gradients = ours.loss(text[:, :-1], text[:, 1:])
    logits = model(torch.from_numpy(text[:, :-1])).logits
    assert logits.dtype == torch.float64
    theirs = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(text[:, 1:]).flatten())
    theirs.backward()
    assert abs(loss - theirs.item()) <= 1e-10
    wanted = from_torch_state(config, {n: p.grad.numpy() for n, p in model.named_parameters()})
    assert list(gradients) == [name for name, _ in shapes(config)] and len(gradients) >= 11
    for name, gradient in gradients.items():
        error = np.abs(gradient - wanted[name]).max()
        assert error <= 1e-8 * max(1.0, np.abs(wanted[name]).max()), (name, error)
        assert np.abs(gradient).max() > 1e-6, name


def test_gradients_are_those_of_the_loss() -> None:
    """Against the loss itself, a step along random directions: what both derivations could get wrong alike would show."""
    ours, rng = network(dtype=np.float64), np.random.default_rng(1)
    text = ids(TINY, 1, 12)
    _, gradients = ours.loss(text[:, :-1], text[:, 1:])
    for name, w in ours.weights.items():
        direction, saved = rng.standard_normal(w.shape), w.copy()
        ends = []
        for sign in (1, -1):
            w[...] = saved + sign * 1e-5 * direction
            ends.append(ours.loss(text[:, :-1], text[:, 1:])[0])
        w[...] = saved
        slope = (ends[0] - ends[1]) / 2e-5
        assert abs(slope - (gradients[name] * direction).sum()) <= 1e-6 * max(1, abs(slope)), name


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_logits_and_metrics_are_torchs(config: JarvisConfig) -> None:
    ours = network(config)
    model, text = torch_model(ours), ids(config)
    with torch.no_grad():
        theirs = model(torch.from_numpy(text), observe=True)
    out = ours.forward(text, observe=True)
    assert out.logits.dtype == np.float32
    np.testing.assert_allclose(out.logits, theirs.logits.numpy(), atol=2e-5, rtol=1e-4)
    assert out.metrics is not None and tuple(out.metrics) == METRICS
    for name in METRICS:
        np.testing.assert_allclose(out.metrics[name], getattr(theirs.metrics, name).numpy(), atol=2e-5, rtol=1e-3)


def test_cache_on_equals_cache_off() -> None:
    ours, text = network(), ids(TINY)
    whole = ours.forward(text)
    past, pieces = None, []
    for piece in (text[:, :7], text[:, 7:8], text[:, 8:]):
        out = ours.forward(piece, past)
        past = out.past
        pieces.append(out.logits)
    np.testing.assert_allclose(np.concatenate(pieces, 1), whole.logits, atol=2e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="41 positions are more than the context_length = 40"):
        ours.forward(np.zeros((1, 41), int))


def test_greedy_takes_the_likeliest_and_stops() -> None:
    ours = network()
    start = [3, 9, 1]
    told = ours.greedy(start, 6)
    for n, token in enumerate(told):
        assert ours.forward(np.array([start + told[:n]])).logits[0, -1].argmax() == token
    assert len(told) == 6
    assert ours.greedy(start, 6, ends=[told[2]]) == told[: told.index(told[2])]
    assert len(ours.greedy(list(range(38)), 100)) == 3  # positions 38 and 39 hold two of them; the third needs none


def test_positions_are_torchs() -> None:
    from qig_edge.model import jarvis

    assert (sinusoids(0, 40, 32) == jarvis.sinusoids(torch.arange(40), 32).numpy()).mean() > 0.99
    np.testing.assert_allclose(sinusoids(5, 40, 32), jarvis.sinusoids(torch.arange(5, 40), 32).numpy(), atol=1e-7)


@pytest.mark.parametrize("clip", [0.0, 0.3, 1e9])
def test_adam_is_torchs(clip: float) -> None:
    rng = np.random.default_rng(7)
    weights = {"m": rng.standard_normal((4, 3)), "v": rng.standard_normal(5)}
    params = {n: torch.nn.Parameter(torch.from_numpy(w.copy())) for n, w in weights.items()}
    rate, decay, warmup = 0.02, 0.1, 4
    groups = [{"params": [params["m"]], "weight_decay": decay}, {"params": [params["v"]], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95), eps=1e-8)
    ours = Adam(weights, rate, (0.9, 0.95), 1e-8, decay, warmup, clip)
    for step in range(9):
        gradients = {n: rng.standard_normal(w.shape) for n, w in weights.items()}
        for name, p in params.items():
            p.grad = torch.from_numpy(gradients[name].copy())
        for group in theirs.param_groups:
            group["lr"] = rate * min(1, (step + 1) / warmup)
        norm = torch.nn.utils.clip_grad_norm_(params.values(), clip or float("inf")).item()
        theirs.step()
        assert abs(ours.step(gradients) - norm) <= 1e-12 * norm
        for name, w in weights.items():
            np.testing.assert_allclose(w, params[name].detach().numpy(), rtol=1e-12, atol=1e-12)


def test_it_learns_in_numpy_alone() -> None:
    ours = Network.random(TINY, 2)
    text = ids(TINY, 4, 20)
    adam = Adam(ours.weights, rate=3e-3, warmup=5)
    losses = []
    for _ in range(30):
        loss, gradients = ours.loss(text[:, :-1], text[:, 1:])
        adam.step(gradients)
        losses.append(loss)
    assert losses[0] < 1.5 * np.log(61) and losses[-1] < losses[0] / 2


def test_it_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys; import qig_edge.jarvis.network, qig_edge.jarvis.adam, qig_edge.jarvis.files; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
