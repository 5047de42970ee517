"""Jarvis: a small transformer of the classic kind whose attention tells four quantum-style metrics of itself.

    model = Jarvis(preset_config("jarvis-12m"));  metrics = model(ids, observe=True).metrics

    x = table[t] + sinusoids(position)
    per block:  x += concat_h(sum_j a_ij v_j),  a = softmax(q k / sqrt C) of q, k, v = W layernorm(x);   x += down gelu(up layernorm(x))
    logits = head layernorm(x)
    gelu(u) = u (1 + tanh(sqrt(2 / pi) (u + 0.044715 u^3))) / 2

There is no output projection: the heads' outputs stand side by side in the state. Products have no biases, norms have gain and bias. The same model
in NumPy alone, with its backward pass written out, is qig_edge.jarvis.network; libqig runs it too.

The metrics read a row of attention weights a_i as the state |a_i> = sum_j sqrt(a_ij) |j> over the n = i + 1 visible positions. None is a quantum
measurement: they are the quantum formulas of numbers that the model has anyway.
    coherence      ((sum_j sqrt a_ij)^2 - 1) / (n - 1): the l1-norm of coherence of |a_i><a_i|, sum_(j != k) |rho_jk|, over its maximum; 0 where
                   n = 1 (Baumgratz, Cramer, Plenio: Quantifying Coherence, PRL 113, 2014)
    entanglement   S(rho) / ln H, S(rho) = -Tr rho ln rho, rho_gh = sum_j sqrt(a^g_ij a^h_ij) / H: the reduced state of the heads in
                   (1 / sqrt H) sum_h |h>|a^h_i>. 0: all heads attend alike; 1: to different positions (Nielsen, Chuang, section 2.4.3)
    interference   (|sum_j a_ij v_j|^2 - sum_j a_ij^2 |v_j|^2) / (sum_j a_ij |v_j|)^2: what the cross terms of mixed values add (positive) or
                   cancel (negative), as in a two-path experiment, in (-1, 1) (Feynman, Lectures on Physics III, 1-4 and 1-5)
    fidelity       <x, y>^2 / (|x|^2 |y|^2) of a token's state before and after a block: the overlap of successive pure states (Jozsa: Fidelity
                   for Mixed Quantum States, J. Mod. Optics 41, 1994)
Each is the mean over heads (entanglement and fidelity have one value for all of them) and blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qig_edge.model.attention import LayerCache
from qig_edge.model.jarvis_config import EMBEDDING_SPREAD, JarvisConfig
from qig_edge.model.quant import Linear, fake_weight
from qig_edge.model.recompute import recomputed


@dataclass
class Metrics:
    """[B, T] each: coherence, entanglement and fidelity in [0, 1], interference in (-1, 1)."""

    coherence: Tensor
    entanglement: Tensor
    interference: Tensor
    fidelity: Tensor


@dataclass
class JarvisOutput:
    """logits [B, T, V] float32 (float64 of a float64 model); cache of every layer; metrics where they were asked for."""

    logits: Tensor
    cache: list[LayerCache] | None = None
    metrics: Metrics | None = None


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """float32[T, width]: sines in the even and cosines in the odd columns of position / 10000^(2 c / width) (Vaswani et al., 2017)."""
    frequency = 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64, device=positions.device) / width)
    angle = positions.double().unsqueeze(-1) * frequency
    return torch.stack((angle.sin(), angle.cos()), -1).flatten(-2).float()


def coherence(weights: Tensor) -> Tensor:
    """Of rows of attention [..., H, T, n], zero where masked: [..., H, T]."""
    visible = _visible(weights)
    total = weights.sqrt().sum(-1).square() - 1
    return torch.where(visible > 1, total / (visible - 1).clamp_min(1), 0.0)


def entanglement(weights: Tensor) -> Tensor:
    """Of the heads' rows [B, H, T, n]: [B, T]. 0 with a single head."""
    heads = weights.shape[1]
    if heads == 1:
        return weights.new_zeros(weights.shape[0], weights.shape[2])
    amplitude = weights.sqrt().transpose(1, 2)  # [B, T, H, n]
    levels = torch.linalg.eigvalsh(amplitude @ amplitude.transpose(-1, -2) / heads).clamp_min(0)
    return -torch.xlogy(levels, levels).sum(-1) / math.log(heads)


def interference(weights: Tensor, values: Tensor, mixed: Tensor) -> Tensor:
    """Of rows [B, H, T, n], values [B, H, n, C] and their mixture [B, H, T, C]: [B, H, T]."""
    lengths = values.norm(dim=-1).unsqueeze(-1)  # [B, H, n, 1]
    apart = (weights.square() @ lengths.square()).squeeze(-1)
    most = (weights @ lengths).squeeze(-1).square()
    return (mixed.square().sum(-1) - apart) / most.clamp_min(1e-12)


def fidelity(before: Tensor, after: Tensor) -> Tensor:
    """Of states [..., D]: squared cosine, [...]."""
    return F.cosine_similarity(_wide(before), _wide(after), dim=-1).square()


def _wide(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x if x.dtype == torch.float64 else x.float()


def _visible(weights: Tensor) -> Tensor:
    """Keys that each of the last T positions sees, [T]; weights [..., T, n]."""
    t, n = weights.shape[-2:]
    return torch.arange(n - t + 1, n + 1, device=weights.device)


class JarvisAttention(nn.Module):
    """x [B, T, D] -> [B, T, D], H heads of width D / H, side by side."""

    recompute = False

    def __init__(self, config: JarvisConfig) -> None:
        super().__init__()
        self.heads = config.n_heads
        self.q = Linear(config.d_model, config.d_model)
        self.k = Linear(config.d_model, config.d_model)
        self.v = Linear(config.d_model, config.d_model)

    def forward(
        self, x: Tensor, cache: LayerCache | None, observe: bool
    ) -> tuple[Tensor, LayerCache, tuple[Tensor, Tensor, Tensor] | None]:
        """Output, grown cache, and on request coherence, entanglement and interference, [B, T] each."""
        b, t, _ = x.shape
        q, k, v = (product(x).view(b, t, self.heads, -1).transpose(1, 2) for product in (self.q, self.k, self.v))
        if cache is not None:
            k, v = torch.cat((cache.keys, k), 2), torch.cat((cache.values, v), 2)
        seen = None
        if observe or cache is not None:
            n = k.shape[2]
            future = torch.ones(t, n, dtype=torch.bool, device=x.device).triu(n - t + 1)
            scores = _wide(q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5
            weights = torch.softmax(scores.masked_fill(future, -math.inf), -1)
            out = weights.to(v.dtype) @ v
            if observe:
                seen = (
                    coherence(weights).mean(1),
                    entanglement(weights),
                    interference(weights, _wide(v), _wide(out)).mean(1),
                )
        else:
            out = recomputed(self.recompute, _causal, q, k, v)
        return out.transpose(1, 2).reshape(b, t, -1), LayerCache(k, v), seen


def _causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class JarvisBlock(nn.Module):
    """x [B, T, D] -> x + attention(norm x) -> + feed_forward(norm)."""

    recompute = False

    def __init__(self, config: JarvisConfig) -> None:
        super().__init__()
        self.attn_norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.attn = JarvisAttention(config)
        self.ffn_norm = nn.LayerNorm(config.d_model, eps=config.norm_eps)
        self.up = Linear(config.d_model, config.hidden_dim)
        self.down = Linear(config.hidden_dim, config.d_model)

    def forward(
        self, x: Tensor, cache: LayerCache | None, observe: bool
    ) -> tuple[Tensor, LayerCache, tuple[Tensor, Tensor, Tensor] | None]:
        return recomputed(self.recompute, self._run, x, cache, observe)

    def _run(
        self, x: Tensor, cache: LayerCache | None, observe: bool
    ) -> tuple[Tensor, LayerCache, tuple[Tensor, Tensor, Tensor] | None]:
        attended, grown, seen = self.attn(self.attn_norm(x), cache, observe)
        x = x + attended
        return x + self.down(F.gelu(self.up(self.ffn_norm(x)), approximate="tanh")), grown, seen


class Jarvis(nn.Module):
    """A causal language model over token ids [B, T], T at most context_length."""

    kind: str | None = None  # file type that the table is rounded to
    draft = None  # of speculation: there is none

    def __init__(self, config: JarvisConfig) -> None:
        super().__init__()
        self.config = config
        self.table = nn.Parameter(torch.empty(config.vocab_size, config.d_model))
        self.blocks = nn.ModuleList(JarvisBlock(config) for _ in range(config.n_layers))
        self.norm = nn.LayerNorm(config.d_model, eps=config.norm_eps) if config.final_norm else nn.Identity()
        self.head = Linear(config.d_model, config.vocab_size)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights of variance 1 / fan-in; values and the second product of a block smaller, so that depth adds no variance to the state."""
        shrink = (2 * self.config.n_layers) ** -0.5
        for name, module in self.named_modules():
            if isinstance(module, Linear):
                into_state = shrink if name.endswith((".v", ".down")) else 1.0
                nn.init.normal_(module.weight, std=into_state * module.in_features**-0.5)
        nn.init.normal_(self.table, std=EMBEDDING_SPREAD)

    def forward(
        self, ids: Tensor, cache: list[LayerCache] | None = None, observe: bool = False, keep_cache: bool = False
    ) -> JarvisOutput:
        """cache: of earlier positions, from a call with keep_cache. Raises ValueError for a text longer than the context."""
        past = cache[0].keys.shape[2] if cache else 0
        end = past + ids.shape[1]
        if end > self.config.context_length:
            raise ValueError(f"{end} positions are more than the context_length = {self.config.context_length}")
        positions = torch.arange(past, end, device=ids.device)
        x = F.embedding(ids, fake_weight(self.table, self.kind)) + sinusoids(positions, self.config.d_model)
        grown, seen = [], []
        for i, block in enumerate(self.blocks):
            before = x
            x, layer, row = block(x, cache[i] if cache else None, observe)
            grown.append(layer)
            if row is not None:
                seen.append(torch.stack((*row, fidelity(before, x))))
        logits = _wide(self.head(self.norm(x)))
        metrics = Metrics(*torch.stack(seen).mean(0).unbind(0)) if seen else None
        return JarvisOutput(logits, grown if keep_cache else None, metrics)

    def products(self) -> Iterator[tuple[str, Linear]]:
        """Every product of the model by its module name."""
        for name, module in self.named_modules():
            if isinstance(module, Linear):
                yield name, module

    # What the training loop asks of a model: kernel.Kernel has the same.

    def recompute(self, level: str) -> None:
        """What the backward pass computes again instead of keeping it: "none", "attention" (its T x T squares), "blocks" (all inside blocks)."""
        for block in self.blocks:
            assert isinstance(block, JarvisBlock)
            block.recompute = level == "blocks"
            block.attn.recompute = level == "attention"

    def fake_quantize(self, kinds: dict[str, str] | None, int8_cache: bool) -> None:
        """Runs with weights (by module name, "table" for the embedding) and inputs rounded as a quantized file's are; None: off."""
        for name, product in self.products():
            product.kind = kinds.get(name) if kinds else None
        self.kind = kinds.get("table") if kinds else None

    def compile_blocks(self) -> None:
        """Compiles the blocks, one by one."""
        for block in self.blocks:
            block.compile(dynamic=False)

    def ramp(self, pressure: float, softness: float) -> None:
        """Nothing here has a budget."""

    def settle(self) -> None:
        """Nothing here follows from statistics."""

    def refresh(self) -> None:
        """Nothing here is derived from weights."""
