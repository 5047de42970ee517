"""Attention by distance between states (QFI attention), and the scaled dot product of the dense twin.

    score s_ij = -r(L_i) d_ij / tau_h - m_h (i - j),   weight = softmax over the pairs that the gate lets through,   L_i = i + 1

r is the running coupling, tau the learnt temperature of a head, m its temporal decoherence. Nothing of size T x T x C is ever built.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qig_edge.config import ModelConfig
from qig_edge.model import quant, states
from qig_edge.model.gate import gate, soft_gate
from qig_edge.model.recompute import recomputed
from qig_edge.model.routing import Routed

CHUNK = 256  # queries
GATE_START = 0.1  # learnt thresholds begin below the coupling of unrelated states, 0.19


@dataclass
class LayerCache:
    """Key states and values of the positions so far, [B, G, T, state_dim] and [B, G, T, C].

    present [B, T]: positions that ran the block (None: all).
    """

    keys: Tensor
    values: Tensor
    present: Tensor | None = None


@dataclass
class Observed:
    """What a block's attention tells of itself, means over its heads: [B, T] each.

    active: keys let through, differentiable while gates are soft, of `possible` ones; routed: where a router chose.
    """

    phi: Tensor
    active: Tensor
    possible: Tensor
    routed: Routed | None = None


@dataclass
class Look:
    """How a block is to look at its tokens: coupling r [T] or [B, T]; runs [B, T]: tokens that run this block (None: all); softness of learnt gates
    (None: they are hard); observe: whether phi and active pairs are wanted."""

    coupling: Tensor
    runs: Tensor | None = None
    softness: Tensor | None = None
    observe: bool = False


def running_coupling(config: ModelConfig, length: Tensor, beta: Tensor | None = None) -> Tensor:
    """r(L) = clamp(1 + beta ln(L / L_ref)) for context lengths L >= 1, float32. beta: the learnt one, in place of the configuration's."""
    steep = config.coupling_beta if beta is None else beta.double()
    r = 1 + steep * torch.log(length.double() / config.coupling_ref)
    return r.clamp(config.coupling_min, config.coupling_max).float()


def integration(weights: Tensor, visible: Tensor) -> Tensor:
    """ln N_eff / ln n per row of normalised weights [..., Tq, Tk], visible n of the rows; 0 where n = 1. N_eff = 1 / sum a^2."""
    n_eff = -torch.log(weights.square().sum(-1).clamp_min(1e-12))
    return torch.where(visible > 1, n_eff / torch.log(visible.clamp_min(2).float()), 0.0)


class Attention(nn.Module):
    """x [B, T, D] -> [B, T, D]; H query heads over G key/value heads of width C."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d, c, h, g = config.d_model, config.head_dim, config.n_heads, config.n_kv_heads
        self.q = quant.Linear(d, h * c)
        self.k = quant.Linear(d, g * c)
        self.v = quant.Linear(d, g * c)
        self.o = quant.Linear(h * c, d)
        self.int8_cache = False
        self.recompute = False  # squares of T x T in the backward pass
        if config.attention == "qfi":
            self.log_temperature = nn.Parameter(torch.full((h,), math.log(config.temperature_init)))
            if config.gate_learnt:
                self.gate_threshold = nn.Parameter(torch.full((h,), GATE_START))
            if config.state == "diagonal":
                self.q_gain = nn.Parameter(torch.ones(h))
                self.k_gain = nn.Parameter(torch.ones(g))

    def forward(
        self, x: Tensor, positions: Tensor, cache: LayerCache | None, look: Look
    ) -> tuple[Tensor, LayerCache, Observed | None]:
        """positions [T] are those of x; cache holds what came before them. Returns the output, the grown cache, and on request what was observed."""
        config, (b, t, _) = self.config, x.shape
        q = self.q(x).view(b, t, config.n_heads, -1).transpose(1, 2)  # [B, H, T, C]
        k = self.k(x).view(b, t, config.n_kv_heads, -1).transpose(1, 2)  # [B, G, T, C]
        v = self.v(x).view(b, t, config.n_kv_heads, -1).transpose(1, 2)
        phi_q, phi_k = self._states(q, k, positions)
        if self.int8_cache:
            # states keep their unit length; the twin's queries and keys have one of their own
            rounded = quant.round_state if config.attention == "qfi" else quant.round_value
            phi_q, phi_k = quant.straight(phi_q, rounded(phi_q)), quant.straight(phi_k, rounded(phi_k))
            v = quant.straight(v, quant.round_value(v))
        present = look.runs
        if cache is not None:
            phi_k, v = torch.cat((cache.keys, phi_k), 2), torch.cat((cache.values, v), 2)
            if present is not None and cache.present is not None:
                present = torch.cat((cache.present, present), 1)
        grown = LayerCache(phi_k, v, present)
        if config.attention == "dot" and not (
            config.decay or look.observe or cache is not None or present is not None or not config.attention_grad
        ):
            out, observed = (
                F.scaled_dot_product_attention(
                    phi_q.to(v.dtype), phi_k.to(v.dtype), v, is_causal=True, enable_gqa=True
                ),
                None,
            )
        else:
            out, observed = self._attend_in_chunks(phi_q, grown, positions, look)
        return self.o(out.transpose(1, 2).reshape(b, t, -1)), grown, observed

    def _states(self, q: Tensor, k: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        config = self.config
        q, k = q.float(), k.float()  # distances between near states need float32 even where products run in bfloat16
        if config.attention == "qfi" and config.state == "diagonal":
            phases = states.rotary(positions, config.head_dim, config.rope_base) if config.state_phases else None
            return states.diagonal_state(q, self.q_gain, phases), states.diagonal_state(k, self.k_gain, phases)
        cos, sin = states.rotary(positions, config.head_dim // 2, config.rope_base)
        if config.attention == "dot":
            return states.rotate(q, cos, sin), states.rotate(k, cos, sin)
        return states.pure_state(q, cos, sin), states.pure_state(k, cos, sin)

    def _attend_in_chunks(
        self, phi_q: Tensor, seen: LayerCache, positions: Tensor, look: Look
    ) -> tuple[Tensor, Observed | None]:
        """Queries in chunks, each against the keys up to its own end: less of the square is built than is masked away."""
        t, past = phi_q.shape[2], seen.keys.shape[2] - phi_q.shape[2]
        outs, told = [], []
        for start in range(0, t, CHUNK):
            end = min(start + CHUNK, t)
            upto = LayerCache(
                seen.keys[:, :, : past + end],
                seen.values[:, :, : past + end],
                None if seen.present is None else seen.present[:, : past + end],
            )
            coupling = look.coupling[..., start:end]
            part = (phi_q[:, :, start:end], upto, positions[start:end], coupling, look)
            out, observed = recomputed(self.recompute, self._attend, *part)
            outs.append(out)
            if observed is not None:
                told.append(observed)
        if not told:
            return torch.cat(outs, 2), None
        phi, active, possible = (torch.cat([getattr(s, f) for s in told], 1) for f in ("phi", "active", "possible"))
        return torch.cat(outs, 2), Observed(phi, active, possible)

    def log_weights(self, x: Tensor, positions: Tensor, coupling: Tensor) -> Tensor:
        """ln of each weight, [B, H, T, T], of whole texts x [B, T, D] whose tokens all run the block; -inf where nothing passes."""
        config, (b, t, _) = self.config, x.shape
        q = self.q(x).view(b, t, config.n_heads, -1).transpose(1, 2)
        k = self.k(x).view(b, t, config.n_kv_heads, -1).transpose(1, 2)
        phi_q, phi_k = self._states(q, k, positions)
        scores, *_ = self._scores(phi_q, LayerCache(phi_k, phi_k), positions, coupling, Look(coupling))
        return torch.log_softmax(scores, -1)

    def _attend(
        self, phi_q: Tensor, seen: LayerCache, positions: Tensor, coupling: Tensor, look: Look
    ) -> tuple[Tensor, Observed | None]:
        config = self.config
        b, h, t, _ = phi_q.shape
        groups, total = seen.keys.shape[1], seen.keys.shape[2]
        scores, allowed, passed, visible = self._scores(phi_q, seen, positions, coupling, look)
        weights = torch.softmax(scores, -1)
        if not config.attention_grad:
            weights = weights.detach()  # measured: no gradient goes back through the measurement
        out = (weights.to(seen.values.dtype).view(b, groups, -1, total) @ seen.values).view(b, h, t, -1)
        if not look.observe:
            return out, None
        pairs = allowed.expand(b, h, t, total)
        through = pairs.sum(-1) if passed is None else (pairs * passed).sum(-1)
        seen_keys = visible.view(-1, 1, t)
        possible = seen_keys.expand(b, 1, t).squeeze(1).float()
        return out, Observed(integration(weights, seen_keys).mean(1), through.float().mean(1), possible)

    def _scores(
        self, phi_q: Tensor, seen: LayerCache, positions: Tensor, coupling: Tensor, look: Look
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Scores [B, H, T, total], -inf where a pair does not pass; which pass; how far, where gates are soft; keys that each query sees."""
        config = self.config
        b, h, t, c = phi_q.shape
        groups, total = seen.keys.shape[1], seen.keys.shape[2]
        passed: Tensor | None = None
        with torch.autocast(phi_q.device.type, enabled=False):
            grouped = phi_q.reshape(b, groups, -1, c)
            if config.attention == "qfi":
                o = states.overlap(grouped, seen.keys).view(b, h, t, total)
                r = coupling.view(-1, 1, t, 1)  # [1 or B, 1, T, 1]
                scores = -torch.exp(-self.log_temperature)[:, None, None] * r * states.distance(o, config.metric)
            else:
                o = (grouped @ seen.keys.transpose(-1, -2)).view(b, h, t, total)
                scores = o * c**-0.5
            age = positions.unsqueeze(-1) - torch.arange(
                total, device=positions.device
            )  # [T, total], negative is the future
            if config.decay:
                slopes = torch.tensor(config.decay_slopes(), device=positions.device)
                scores = scores - slopes[:, None, None] * age
            own = age == 0
            allowed, visible = age >= 0, positions + 1
            if seen.present is not None:
                allowed = (allowed & seen.present[:, None, :]) | own  # [B, T, total]
                visible = allowed.sum(-1)  # [B, T]
                allowed = allowed[:, None]
            if config.attention == "qfi":
                threshold: float | Tensor = config.gate_threshold
                if config.gate_learnt:
                    threshold = self.gate_threshold[:, None, None]
                    if look.softness is not None:
                        passed = soft_gate(o, own, threshold, look.softness)
                        scores, threshold = scores + passed.clamp_min(1e-20).log(), 0.0
                if isinstance(threshold, Tensor) or threshold or config.gate_margin:
                    allowed = gate(scores, o, allowed, own, threshold, config.gate_margin)
            return scores.masked_fill(~allowed, -math.inf), allowed, passed, visible
