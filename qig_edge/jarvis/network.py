"""Jarvis in NumPy alone: forward, backward, cache and metrics, of the mathematics of qig_edge/model/jarvis.py and the weights of the .npz file.

    network = Network.random(JarvisConfig(vocab_size=500), seed=1)
    loss, gradients = network.loss(ids[:, :-1], ids[:, 1:])
    Adam(network.weights).step(gradients)

Weights by name, products as x @ W (torch's matrices are their transposes):
    embedding [V, D]   output_projection [D, V]   final_g, final_b [D] (with final_norm)
    layer_i_q, _k, _v [D, D]   layer_i_ffn1 [D, hidden]   layer_i_ffn2 [hidden, D]   layer_i_g1, _b1, _g2, _b2 [D]
Everything is computed in the weights' own precision, float32 or float64.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qig_edge.jarvis import metrics
from qig_edge.model.jarvis_config import EMBEDDING_SPREAD, JarvisConfig

GELU = math.sqrt(2 / math.pi)
CUBIC = 0.044715
METRICS = ("coherence", "entanglement", "interference", "fidelity")

Past = list[tuple[np.ndarray, np.ndarray]]  # keys and values of a layer, [B, H, n, C] each


def shapes(config: JarvisConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape of every weight, in the order of the file."""
    d = config.d_model
    yield "embedding", (config.vocab_size, d)
    for i in range(config.n_layers):
        for name in ("q", "k", "v"):
            yield f"layer_{i}_{name}", (d, d)
        yield f"layer_{i}_ffn1", (d, config.hidden_dim)
        yield f"layer_{i}_ffn2", (config.hidden_dim, d)
        for name in ("g1", "b1", "g2", "b2"):
            yield f"layer_{i}_{name}", (d,)
    if config.final_norm:
        yield "final_g", (d,)
        yield "final_b", (d,)
    yield "output_projection", (d, config.vocab_size)


def sinusoids(first: int, end: int, width: int) -> np.ndarray:
    """float32[end - first, width]: sines in the even, cosines in the odd columns of position / 10000^(2 c / width); angles in float64."""
    angle = np.arange(first, end)[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
    return np.stack((np.sin(angle), np.cos(angle)), -1).reshape(end - first, width).astype(np.float32)


@dataclass
class Output:
    """logits [B, T, V]; past: keys and values of every layer; metrics: [B, T] by name, where they were asked for."""

    logits: np.ndarray
    past: Past
    metrics: dict[str, np.ndarray] | None = None


@dataclass
class _Layer:
    """What the backward pass of one block reads: by name, arrays of the forward pass."""

    kept: dict[str, Any]


class Network:
    """A causal language model. weights: as `shapes` lists them, all of one float type."""

    def __init__(self, config: JarvisConfig, weights: dict[str, np.ndarray]) -> None:
        self.config, self.weights = config, weights
        wanted = dict(shapes(config))
        found = {name: w.shape for name, w in weights.items()}
        assert found == wanted, {n for n in wanted | found if wanted.get(n) != found.get(n)}

    @classmethod
    def random(cls, config: JarvisConfig, seed: int, dtype: Any = np.float32) -> Network:
        """Weights of the spread that qig_edge.model.jarvis draws them with."""
        rng, shrink = np.random.default_rng(seed), (2 * config.n_layers) ** -0.5
        weights = {}
        for name, shape in shapes(config):
            if len(shape) == 1:
                weights[name] = np.full(shape, float("_g" in name), dtype)
                continue
            into_state = shrink if name.endswith(("_v", "_ffn2")) else 1.0
            spread = EMBEDDING_SPREAD if name == "embedding" else into_state * shape[0] ** -0.5
            weights[name] = (rng.standard_normal(shape) * spread).astype(dtype)
        return cls(config, weights)

    def forward(self, ids: np.ndarray, past: Past | None = None, observe: bool = False) -> Output:
        """ids int [B, T]; past: from a call on the tokens before. Raises ValueError for a text longer than the context."""
        x, layers = self._blocks(ids, past)
        seen = self._observe(layers) if observe else None
        return Output(self._head(x)[0], [(y.kept["k"], y.kept["v"]) for y in layers], seen)

    def loss(self, ids: np.ndarray, targets: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """ids and targets int [B, T] -> mean cross entropy in nats a token, and its gradient by every weight."""
        x, layers = self._blocks(ids, None)
        logits, normed, norm = self._head(x)
        log_p = _log_softmax(logits)
        flat, wanted = log_p.reshape(-1, log_p.shape[-1]), targets.reshape(-1)
        rows = np.arange(wanted.size)
        nats = -float(flat[rows, wanted].mean())
        d = np.exp(flat)
        d[rows, wanted] -= 1
        d = (d / wanted.size).reshape(logits.shape).astype(logits.dtype, copy=False)
        grads: dict[str, np.ndarray] = {"output_projection": _outer(normed, d)}
        dx = d @ self.weights["output_projection"].T
        if norm is not None:
            dx = self._norm_back(dx, norm, "final_g", "final_b", grads)
        for i in reversed(range(len(layers))):
            dx = self._block_back(i, dx, layers[i].kept, grads)
        grads["embedding"] = np.zeros_like(self.weights["embedding"])
        np.add.at(grads["embedding"], ids.reshape(-1), dx.reshape(-1, dx.shape[-1]))
        return nats, {name: grads[name] for name in self.weights}

    def greedy(self, ids: Sequence[int], new: int, ends: Sequence[int] = ()) -> list[int]:
        """The likeliest tokens after ids, at most `new` of them and as many as there is room for, up to one of `ends`, which is left out."""
        out: list[int] = []
        step = np.array([list(ids)])
        past: Past | None = None
        while len(out) < new and len(ids) + len(out) <= self.config.context_length:
            result = self.forward(step, past)
            token, past = int(result.logits[0, -1].argmax()), result.past
            if token in ends:
                break
            out.append(token)
            step = np.array([[token]])
        return out

    # --- the pass ---------------------------------------------------------------------------------------------------------------------

    def _blocks(self, ids: np.ndarray, past: Past | None) -> tuple[np.ndarray, list[_Layer]]:
        """States [B, T, D] after the last block, and what each block computed."""
        first = past[0][0].shape[2] if past else 0
        end = first + ids.shape[1]
        if end > self.config.context_length:
            raise ValueError(f"{end} positions are more than the context_length = {self.config.context_length}")
        table = self.weights["embedding"]
        x = table[ids] + sinusoids(first, end, self.config.d_model).astype(table.dtype)
        layers = []
        for i in range(self.config.n_layers):
            x, kept = self._block(i, x, past[i] if past else None)
            layers.append(_Layer(kept))
        return x, layers

    def _block(
        self, i: int, x: np.ndarray, past: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        w = {name: self.weights[f"layer_{i}_{name}"] for name in ("q", "k", "v", "ffn1", "ffn2")}
        h, norm1 = self._norm(x, f"layer_{i}_g1", f"layer_{i}_b1")
        q, k, v = (self._heads(h @ w[name]) for name in "qkv")
        if past is not None:
            k, v = np.concatenate((past[0], k), 2), np.concatenate((past[1], v), 2)
        a = _attention(q, k)
        mixed = a @ v
        middle = x + self._side_by_side(mixed)
        h2, norm2 = self._norm(middle, f"layer_{i}_g2", f"layer_{i}_b2")
        u = h2 @ w["ffn1"]
        tanh = np.tanh(GELU * (u + CUBIC * u**3))
        z = 0.5 * u * (1 + tanh)
        out = middle + z @ w["ffn2"]
        names = "x h norm1 q k v a mixed h2 norm2 u tanh z out".split()
        return out, dict(zip(names, (x, h, norm1, q, k, v, a, mixed, h2, norm2, u, tanh, z, out), strict=True))

    def _block_back(self, i: int, d_out: np.ndarray, y: dict[str, Any], grads: dict[str, np.ndarray]) -> np.ndarray:
        """Gradient by the block's input; those by its weights go to `grads`."""
        w = {name: self.weights[f"layer_{i}_{name}"] for name in ("q", "k", "v", "ffn1", "ffn2")}
        u, tanh = y["u"], y["tanh"]
        slope = 0.5 * (1 + tanh) + 0.5 * u * (1 - tanh**2) * GELU * (1 + 3 * CUBIC * u**2)
        du = (d_out @ w["ffn2"].T) * slope
        grads[f"layer_{i}_ffn2"] = _outer(y["z"], d_out)
        grads[f"layer_{i}_ffn1"] = _outer(y["h2"], du)
        d_middle = d_out + self._norm_back(du @ w["ffn1"].T, y["norm2"], f"layer_{i}_g2", f"layer_{i}_b2", grads)
        d_mixed, a = self._heads(d_middle), y["a"]
        da = d_mixed @ y["v"].swapaxes(-1, -2)
        ds = a * (da - (da * a).sum(-1, keepdims=True)) * y["q"].shape[-1] ** -0.5
        dq, dk, dv = ds @ y["k"], ds.swapaxes(-1, -2) @ y["q"], a.swapaxes(-1, -2) @ d_mixed
        dh = np.zeros_like(y["h"])
        for name, part in zip("qkv", (dq, dk, dv), strict=True):
            joined = self._side_by_side(part)
            grads[f"layer_{i}_{name}"] = _outer(y["h"], joined)
            dh += joined @ w[name].T
        return d_middle + self._norm_back(dh, y["norm1"], f"layer_{i}_g1", f"layer_{i}_b1", grads)

    def _head(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray] | None]:
        """Logits, what the projection took, and what the norm before it leaves for the backward pass."""
        normed, kept = self._norm(x, "final_g", "final_b") if self.config.final_norm else (x, None)
        return normed @ self.weights["output_projection"], normed, kept

    def _norm(self, x: np.ndarray, gain: str, bias: str) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
        centred = x - x.mean(-1, keepdims=True)
        scale = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + self.config.norm_eps)
        unit = centred * scale.astype(x.dtype, copy=False)
        return unit * self.weights[gain] + self.weights[bias], (unit, scale)

    def _norm_back(
        self, dy: np.ndarray, kept: tuple[np.ndarray, np.ndarray], gain: str, bias: str, grads: dict[str, np.ndarray]
    ) -> np.ndarray:
        unit, scale = kept
        grads[gain], grads[bias] = (dy * unit).sum((0, 1)), dy.sum((0, 1))
        d = dy * self.weights[gain]
        return (d - d.mean(-1, keepdims=True) - unit * (d * unit).mean(-1, keepdims=True)) * scale

    def _observe(self, layers: list[_Layer]) -> dict[str, np.ndarray]:
        """Means over heads and blocks, [B, T] each."""
        rows = []
        for y in (layer.kept for layer in layers):
            rows.append(
                (
                    metrics.coherence(y["a"]).mean(1),
                    metrics.entanglement(y["a"]),
                    metrics.interference(y["a"], y["v"], y["mixed"]).mean(1),
                    metrics.fidelity(y["x"], y["out"]),
                )
            )
        return {name: np.mean([row[i] for row in rows], 0) for i, name in enumerate(METRICS)}

    def _heads(self, x: np.ndarray) -> np.ndarray:
        """[B, T, D] -> [B, H, T, C]."""
        b, t, _ = x.shape
        return x.reshape(b, t, self.config.n_heads, -1).swapaxes(1, 2)

    def _side_by_side(self, x: np.ndarray) -> np.ndarray:
        """[B, H, T, C] -> [B, T, D]."""
        b, h, t, c = x.shape
        return x.swapaxes(1, 2).reshape(b, t, h * c)


def _attention(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """Causal rows of attention [B, H, T, n] of the last T of n positions."""
    t, n = q.shape[2], k.shape[2]
    scores = (q @ k.swapaxes(-1, -2)) * q.shape[-1] ** -0.5
    scores = np.where(np.triu(np.ones((t, n), bool), n - t + 1), -np.inf, scores)
    a = np.exp(scores - scores.max(-1, keepdims=True))
    return a / a.sum(-1, keepdims=True)


def _outer(x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Gradient of x @ W by W: the sum over batch and positions."""
    return x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])


def _log_softmax(x: np.ndarray) -> np.ndarray:
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))
