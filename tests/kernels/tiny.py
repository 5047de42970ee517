"""Tiny random models as GGUF files, and docs/formats.md's forward pass in float64 over the same weights: the engine's oracle.

Rounding that the format defines (activation blocks, int8 cache) is done here in float32 as there; everything else is float64.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gguf
import numpy as np

CONTROL = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
TYPES = {t: getattr(gguf.GGMLQuantizationType, t) for t in ("F32", "F16", "Q8_0", "Q4_0")}


@dataclasses.dataclass(frozen=True)
class Tiny:
    """Shape and mathematics of one tiny model; type: of its matrices, types: exceptions by tensor name."""

    vocab: int = 293
    d: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    hidden: int = 96
    basin: int = 32
    rank: int = 32
    context: int = 64
    state: str = "pure"
    phases: bool = True
    metric: str = "bures"
    decay: bool = True
    threshold: float = 0.0
    margin: float = 0.0
    beta: float = 0.43
    ref: float = 4.0
    type: str = "F32"
    types: tuple[tuple[str, str], ...] = ()
    seed: int = 1

    @property
    def state_dim(self) -> int:
        return 2 * self.head_dim if self.state == "diagonal" and self.phases else self.head_dim

    @property
    def slopes(self) -> np.ndarray:
        n = self.heads
        return np.array([2.0 ** (-8.0 * (h + 1) / n) for h in range(n)] if self.decay else [0.0] * n, np.float32)


@dataclasses.dataclass
class Weights:
    """name -> float64 [out, in] as the file's blocks say, and the names whose products quantize their input."""

    by_name: dict[str, np.ndarray]
    quantized: set[str]


def write(path: Path, t: Tiny) -> Weights:
    """Writes the model and returns what its weights are once read back."""
    rng = np.random.default_rng(t.seed)
    matrices = {"token_embd": (t.vocab, t.basin), "basin_proj": (t.d, t.basin)}
    vectors: dict[str, np.ndarray] = {}
    for n in range(t.layers):
        p = f"blk.{n}."
        width, kv = t.heads * t.head_dim, t.kv_heads * t.head_dim
        matrices |= {
            p + "attn_q": (width, t.d),
            p + "attn_k": (kv, t.d),
            p + "attn_v": (kv, t.d),
            p + "attn_output": (t.d, width),
        }
        matrices |= {p + "ffn_up": (t.hidden, t.d), p + "ffn_down": (t.d, t.hidden)}
        vectors |= {p + "attn_norm": rng.uniform(0.5, 1.5, t.d), p + "ffn_norm": rng.uniform(0.5, 1.5, t.d)}
        vectors[p + "attn_temp"] = rng.uniform(0.08, 0.4, t.heads)
        if t.state == "diagonal":
            vectors |= {p + "attn_q_gain": rng.uniform(1, 3, t.heads), p + "attn_k_gain": rng.uniform(1, 3, t.kv_heads)}
    matrices["output_down"] = (t.rank or t.basin, t.d)
    if t.rank:
        matrices["output"] = (t.vocab, t.rank)
    vectors["output_norm"] = rng.uniform(0.5, 1.5, t.d)

    writer = gguf.GGUFWriter(str(path), "qig")
    _keys(writer, t)
    out, quantized, exceptions = {}, set(), dict(t.types)
    for name, shape in matrices.items():
        kind = exceptions.get(name, t.type)
        values = (rng.standard_normal(shape) * (1.5 / shape[1] ** 0.5 if name != "token_embd" else 1)).astype(
            np.float32
        )
        if name == "output":
            values[: len(CONTROL)] = 0  # logits of 0: a greedy text does not end
        data = gguf.quants.quantize(values, TYPES[kind])
        writer.add_tensor(name + ".weight", data, raw_dtype=TYPES[kind])
        out[name] = gguf.quants.dequantize(data, TYPES[kind]).astype(np.float64).reshape(shape)
        if kind.startswith("Q"):
            quantized.add(name)
    for name, vector in vectors.items():
        writer.add_tensor(name + ".weight", vector.astype(np.float32))
        out[name] = vector.astype(np.float32).astype(np.float64)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    if not t.rank:
        out["output"] = out["token_embd"]
        if "token_embd" in quantized:
            quantized.add("output")
    return Weights(out, quantized)


def _keys(writer: gguf.GGUFWriter, t: Tiny) -> None:
    writer.add_name("tiny")
    numbers = {
        "context_length": t.context, "embedding_length": t.d, "block_count": t.layers, "feed_forward_length": t.hidden,
        "attention.head_count": t.heads, "attention.head_count_kv": t.kv_heads, "attention.key_length": t.head_dim,
        "attention.value_length": t.head_dim, "basin_length": t.basin, "head_rank": t.rank,
    }  # fmt: skip
    floats = {
        "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 100.0, "coupling.beta": t.beta, "coupling.ref": t.ref,
        "coupling.min": 0.25, "coupling.max": 4.0, "coupling.kappa_0": 64.0, "gate.threshold": t.threshold, "gate.margin": t.margin,
    }  # fmt: skip
    for key, number in numbers.items():
        writer.add_uint32("qig." + key, number)
    for key, value in floats.items():
        writer.add_float32("qig." + key, value)
    writer.add_string("qig.attention.state", t.state)
    writer.add_string("qig.attention.metric", t.metric)
    if t.state == "diagonal":
        writer.add_bool("qig.attention.state_phases", t.phases)
    if t.decay:
        writer.add_array("qig.attention.decay_slopes", [float(s) for s in t.slopes])
    for role, token in zip(("system", "user", "assistant", "end"), CONTROL[1:], strict=True):
        writer.add_string("qig.chat." + role, token)
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    tokens = [*CONTROL, *(chr(c) for c in plain), *(chr(256 + i) for i in range(256 - len(plain)))]
    assert len(tokens) < t.vocab
    tokens += ["ab", *(f"filler{i}" for i in range(t.vocab - len(tokens) - 1))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(tokens) - len(CONTROL)))
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(0)
    writer.add_eot_token_id(4)


def _blocks(x: np.ndarray) -> np.ndarray:
    """Activations as an int8 product sees them: blocks of 32, amax / 127, half to even."""
    b = x.astype(np.float32).reshape(-1, 32)
    amax = np.abs(b).max(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        q = np.where(amax > 0, np.rint(b * np.where(amax > 0, np.float32(127) / amax, 0)), 0)
    return (q.astype(np.float64) * (amax / np.float32(127))).reshape(x.shape)


def _int8(x: np.ndarray, unit: bool) -> np.ndarray:
    """A vector as the int8 cache holds it: of norm 1, or at amax / 127."""
    f = x.astype(np.float32)
    amax = np.abs(f).max()
    if amax == 0:
        return np.zeros_like(x)
    q = np.rint(f * (np.float32(127) / amax)).astype(np.float64)
    return q / np.sqrt((q * q).sum()) if unit else q * np.float64(amax / np.float32(127))


@dataclasses.dataclass
class Run:
    """logits [T, V]; telemetry fields [T]; closest: how near any pair came to a gate's edge (nats, or distance)."""

    logits: np.ndarray
    phi: np.ndarray
    agency: np.ndarray
    curvature: np.ndarray
    kappa: np.ndarray
    surprise: np.ndarray
    confidence: np.ndarray
    closest: float


def forward(t: Tiny, w: Weights, tokens: list[int], cache: str) -> Run:
    """The forward pass over all tokens at once; cache: "f32" or "i8"."""
    n = len(tokens)

    def product(name: str, x: np.ndarray) -> np.ndarray:
        return (_blocks(x) if name in w.quantized else x) @ w.by_name[name].T

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x * w.by_name[name] / np.sqrt((x * x).mean(axis=1, keepdims=True) + np.float64(np.float32(1e-5)))

    x = product("basin_proj", w.by_name["token_embd"][tokens])
    r = np.clip(1 + t.beta * np.log((np.arange(n) + 1) / t.ref), 0.25, 4)
    phi, active, curvature, closest = np.zeros(n), np.zeros(n), np.zeros(n), np.inf
    for layer in range(t.layers):
        p, x_in = f"blk.{layer}.", x
        h = norm(x, p + "attn_norm")
        q, k, v = (product(p + s, h).reshape(n, -1, t.head_dim) for s in ("attn_q", "attn_k", "attn_v"))
        out = np.zeros((n, t.heads, t.head_dim))
        for head in range(t.heads):
            g = head // (t.heads // t.kv_heads)
            gains = (
                (w.by_name[p + "attn_q_gain"][head], w.by_name[p + "attn_k_gain"][g])
                if t.state == "diagonal"
                else (1, 1)
            )
            queries, keys, values = states(t, q[:, head], gains[0]), states(t, k[:, g], gains[1]), v[:, g]
            if cache == "i8":
                queries, keys, values = (
                    np.stack([_int8(row, u) for row in m]) for m, u in ((queries, True), (keys, True), (values, False))
                )
            for i in range(n):
                a, near = weights_of(
                    t, keys[: i + 1] @ queries[i], r[i], w.by_name[p + "attn_temp"][head], t.slopes[head]
                )
                closest = min(closest, near)
                active[i] += (a > 0).sum()
                if i:
                    phi[i] += -np.log((a * a).sum()) / np.log(i + 1)
                out[i, head] = a @ values[: i + 1]
        x = x + product(p + "attn_output", out.reshape(n, -1))
        h = norm(x, p + "ffn_norm")
        x = x + product(p + "ffn_down", np.maximum(product(p + "ffn_up", h), 0) ** 2)
        cos = (x_in * x).sum(1) / np.sqrt((x_in * x_in).sum(1) * (x * x).sum(1))
        curvature += np.arccos(np.clip(cos, -1, 1))
    logits = product("output", product("output_down", norm(x, "output_norm")))

    probabilities = np.exp(logits - logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    surprise, confidence, m = np.zeros(n), np.zeros(n), 0.0
    for i in range(n):
        if i:
            surprise[i] = np.sqrt(1 - np.sqrt(probabilities[i - 1, tokens[i]]))
            m += (surprise[i] - m) / 16
        confidence[i] = (probabilities[i] ** 2).sum() * (1 - m)
    units = t.layers * t.heads
    return Run(
        logits,
        phi / units,
        active / (units * (np.arange(n) + 1)),
        curvature / t.layers,
        64 * r,
        surprise,
        confidence,
        closest,
    )


def states(t: Tiny, x: np.ndarray, gain: float) -> np.ndarray:
    """phi of vectors [T, C] at positions 0 .. T-1: [T, S]."""
    n, c = x.shape
    if t.state == "pure":
        u, half = x / np.sqrt((x * x).sum(1, keepdims=True) + 1e-12), c // 2
        angle = np.arange(n)[:, None] * 100.0 ** (-2 * np.arange(half) / c)
        cos, sin = (f(angle).astype(np.float32).astype(np.float64) for f in (np.cos, np.sin))
        a, b = u[:, :half], u[:, half:]
        return np.concatenate([a * cos - b * sin, a * sin + b * cos], axis=1)
    p = np.exp(gain * x - (gain * x).max(1, keepdims=True))
    root = np.sqrt(p / p.sum(1, keepdims=True))
    if not t.phases:
        return root
    angle = np.arange(n)[:, None] * 100.0 ** (-np.arange(c) / c)
    return np.concatenate([root * np.cos(angle).astype(np.float32), root * np.sin(angle).astype(np.float32)], axis=1)


def weights_of(t: Tiny, overlap: np.ndarray, r: float, tau: float, slope: float) -> tuple[np.ndarray, float]:
    """Normalised attention weights of one query from its overlaps (its own key last), and how near a pair came to an edge."""
    o = np.minimum(1, overlap)
    n, closest = len(o), np.inf
    d = np.sqrt(np.maximum(0, 2 * (1 - o)) + 1e-6)
    if t.metric == "fisher_rao":
        d = 2 * np.arcsin(np.minimum(d, 2) / 2)
    s = -r * d / tau - slope * (n - 1 - np.arange(n))
    own, passed = np.arange(n) == n - 1, np.ones(n, bool)
    if t.threshold:
        y = np.clip((3 + o) / 4, 1e-300, 1 - 1e-16)
        coupling = 1 + y * np.log2(y) + (1 - y) * np.log2(1 - y)
        passed = (coupling > t.threshold) | own
        closest = np.abs(coupling - t.threshold)[~own].min(initial=np.inf)
    if t.margin:
        edge = s[passed].max() - t.margin
        closest = min(closest, np.abs(s - edge)[passed & ~own].min(initial=np.inf))
        passed &= (s >= edge) | own
    a = np.where(passed, np.exp(s - s[passed].max()), 0)
    return a / a.sum(), closest
