"""The forward pass of docs/formats.md as one graph for ONNX: batches with padding on the left, caches in and out, telemetry beside the logits.

Kernel.forward is the reference. What differs here is how it is computed, not what: positions come from the attention mask, what a token skips is
masked (a graph computes every block for every token), recurrences over tokens are products and running maxima instead of loops, and weights are
stored as [in, out], the order of ONNX's products. The names of inputs and outputs are in docs/formats.md, "ONNX".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qig_edge.config import ModelConfig
from qig_edge.model import states
from qig_edge.model.attention import Attention
from qig_edge.model.exits import bures
from qig_edge.model.feed_forward import FeedForward
from qig_edge.model.gate import threshold_overlap
from qig_edge.model.kernel import Block, Kernel
from qig_edge.model.quant import Linear
from qig_edge.model.regime import BREAKDOWN, GEOMETRIC, LINEAR
from qig_edge.model.telemetry import DRIFT_START, SURPRISE_MEMORY
from qig_edge.runtime.onnx_names import Names, names_of


class Product(nn.Module):
    """x [..., in] -> x W [..., out], W [in, out] of a layer."""

    def __init__(self, layer: Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().T.contiguous(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class Norm(nn.Module):
    """x [..., D] over its root mean square, times the gains."""

    def __init__(self, norm: nn.RMSNorm) -> None:
        super().__init__()
        assert norm.eps is not None
        self.gain, self.eps = nn.Parameter(norm.weight.detach().clone(), requires_grad=False), norm.eps

    def forward(self, x: Tensor) -> Tensor:
        # in the form that onnxruntime recognises and runs as one operation
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.gain


class Hidden(nn.Module):
    """down relu(up x)^2."""

    def __init__(self, layer: FeedForward) -> None:
        super().__init__()
        self.up, self.down = Product(layer.up), Product(layer.down)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.up(x))
        return self.down(h * h)


@dataclass
class Pass:
    """What every block is told of the tokens of a call.

    positions [B, T]; real [B, T]: no padding; r [B, T], the running coupling; cos, sin [B, 1, T, width]; causal [B, 1, T, K]: real keys up to
    the token, its own among them; own [T, K]; bias [B, 1 or H, T, K]: decay, and -inf where not causal.
    """

    positions: Tensor
    real: Tensor
    r: Tensor
    cos: Tensor
    sin: Tensor
    causal: Tensor
    own: Tensor
    bias: Tensor


@dataclass
class Told:
    """A block's attention about itself, [B, T] each: phi, pairs let through, possible pairs."""

    phi: Tensor
    active: Tensor
    possible: Tensor


class Attend(nn.Module):
    """Attention of one block over past and present keys."""

    def __init__(self, layer: Attention) -> None:
        super().__init__()
        self.config = config = layer.config
        self.q, self.k, self.v, self.o = (Product(p) for p in (layer.q, layer.k, layer.v, layer.o))
        self.cuts: Tensor | None
        self.register_buffer("cuts", None)
        if config.attention == "qfi":
            self.register_buffer("steepness", torch.exp(-layer.log_temperature.detach())[:, None, None])
            learnt = layer.gate_threshold.tolist() if config.gate_learnt else [config.gate_threshold] * config.n_heads
            if any(t > 0 for t in learnt):  # overlaps that a pair has to exceed
                self.register_buffer("cuts", torch.tensor([threshold_overlap(t) for t in learnt])[:, None, None])
            if config.state == "diagonal":
                self.register_buffer("q_gain", layer.q_gain.detach()[:, None, None])
                self.register_buffer("k_gain", layer.k_gain.detach()[:, None, None])

    steepness: Tensor
    q_gain: Tensor
    k_gain: Tensor

    def forward(
        self, h: Tensor, now: Pass, r: Tensor, keys: Tensor, values: Tensor, ran: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Told]:
        """h [B, T, D]; r [B, T]; keys, values: of the past; ran [B, K]: keys whose token ran this block (None: all).

        Returns the output [B, T, D], keys and values with these tokens', and what was seen.
        """
        config, (b, t, _) = self.config, h.shape
        heads, groups = config.n_heads, config.n_kv_heads
        q = self.q(h).reshape(b, t, heads, -1).transpose(1, 2)
        k = self.k(h).reshape(b, t, groups, -1).transpose(1, 2)
        v = self.v(h).reshape(b, t, groups, -1).transpose(1, 2)
        keys = torch.cat((keys, self._state(k, now, "k_gain")), 2)
        values = torch.cat((values, v), 2)
        total = keys.shape[2]
        grouped = self._state(q, now, "q_gain").reshape(b, groups, heads // groups * t, config.state_dim)
        o = (grouped @ keys.transpose(-1, -2)).reshape(b, heads, t, total)
        allowed, possible = now.causal, now.positions + 1
        bias = now.bias
        if ran is not None:
            allowed = allowed & (ran[:, None, None, :] | now.own)
            possible = allowed.sum(-1).squeeze(1)
            bias = torch.where(allowed, bias, -math.inf)
        active = possible
        if config.attention == "qfi":
            o = o.clamp(max=1.0)
            d = states.distance(o, config.metric)
            scores = bias - self.steepness * r[:, None, :, None] * d
            scores, cut = self._gated(scores, o, allowed, now.own)
            if cut is not None:
                active = cut
        else:
            scores = o * config.head_dim**-0.5 + bias
        weights = torch.softmax(scores, -1)
        mixed = weights.reshape(b, groups, heads // groups * t, total) @ values
        out = self.o(mixed.reshape(b, heads, t, -1).transpose(1, 2).reshape(b, t, heads * config.head_dim))
        spread = -torch.log((weights * weights).sum(-1).clamp(min=1e-12)).mean(1)
        phi = torch.where(possible > 1, spread / torch.log(possible.clamp(min=2).float()), 0.0)
        return out, keys, values, Told(phi, active.float(), possible.float())

    def _state(self, x: Tensor, now: Pass, gain: str) -> Tensor:
        config = self.config
        if config.attention == "qfi" and config.state == "diagonal":
            amplitude = torch.exp(0.5 * torch.log_softmax(getattr(self, gain) * x, -1))
            if not config.state_phases:
                return amplitude
            return torch.cat((amplitude * now.cos, amplitude * now.sin), -1)
        if config.attention == "dot":
            return states.rotate(x, now.cos, now.sin)
        return states.pure_state(x, now.cos, now.sin)

    def _gated(self, scores: Tensor, o: Tensor, allowed: Tensor, own: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores [B, H, T, K] with -inf where a gate cuts, and the mean number of pairs let through [B, T] (None: there is no gate)."""
        margin = self.config.gate_margin
        if self.cuts is None and not margin:
            return scores, None
        passed = allowed
        if self.cuts is not None:
            passed = (passed & (o > self.cuts)) | own
            scores = torch.where(passed, scores, -math.inf)
        if margin:
            passed = (passed & (scores >= scores.amax(-1, keepdim=True) - margin)) | own
            scores = torch.where(passed, scores, -math.inf)
        return scores, passed.float().sum(-1).mean(1)


class GraphBlock(nn.Module):
    """One block, or the integrator's."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.attn_norm, self.attn = Norm(block.attn_norm), Attend(block.attn)
        self.ffn_norm, self.ffn = Norm(block.ffn_norm), Hidden(block.ffn)
        self.shallow = None
        if block.router is not None:
            self.shallow = Hidden(block.router.shallow)
            self.register_buffer("phi_weight", block.router.phi_weight.detach().clone())
            self.register_buffer("threshold", block.router.steer.threshold.clone())

    phi_weight: Tensor
    threshold: Tensor

    def forward(
        self, x: Tensor, turned: Tensor, now: Pass, r: Tensor, keys: Tensor, values: Tensor, ran: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Told]:
        """turned [B, T]: the angle by which the previous block turned each token."""
        attended, keys, values, told = self.attn(self.attn_norm(x), now, r, keys, values, ran)
        x = x + attended
        h = self.ffn_norm(x)
        out = self.ffn(h)
        if self.shallow is not None:
            deep = turned + self.phi_weight * told.phi - self.threshold >= 0
            out = torch.where(deep.unsqueeze(-1), out, self.shallow(h))
        return x + out, keys, values, told


@dataclass
class Walk:
    """Tokens on their way through the blocks, [B, T] each but x [B, T, D]: as qig_edge.model.journey.Journey."""

    x: Tensor
    runs: Tensor
    turned: Tensor
    phi: Tensor
    active: Tensor
    possible: Tensor
    curvature: Tensor
    blocks: Tensor
    factor: Tensor
    regime: Tensor
    log_p: Tensor | None = None  # of the exit before


class Graph(nn.Module):
    """forward(input_ids [B, T], attention_mask [B, P + T], *state of the P tokens before) -> outputs, in the order of self.names."""

    def __init__(self, model: Kernel) -> None:
        super().__init__()
        self.config: ModelConfig = model.config
        self.names: Names = names_of(self.config)
        config, embedding = self.config, model.embedding
        tied = model.head.out is None
        self.tied, self.table_t, self.table = tied, None, None
        table = embedding.table.detach()
        if tied:  # one matrix for both ends
            self.table_t = nn.Parameter(table.T.contiguous(), requires_grad=False)
        else:
            self.table = nn.Parameter(table.clone(), requires_grad=False)
        self.register_buffer("token_scale", None if embedding.token_scale is None else embedding.token_scale.clone())
        self.proj = None if embedding.proj is None else Product(embedding.proj)
        self.blocks = nn.ModuleList(GraphBlock(b) for b in model.blocks if isinstance(b, Block))
        if model.integrator is not None:
            assert isinstance(model.integrator.block, Block)
            self.integrator = GraphBlock(model.integrator.block)
        self.norm = Norm(model.norm)
        self.head_down = None if model.head.down is None else Product(model.head.down)
        self.head_out = None if model.head.out is None else Product(model.head.out)
        self.register_buffer("roles", None if model.symmetry is None else model.symmetry.directions().detach().clone())
        self.register_buffer("beta", None if model.coupling_beta is None else model.coupling_beta.detach().double())
        self.thresholds = model.thresholds()
        if model.regime is not None:
            low, high = model.regime.thresholds()
            self.register_buffer("low", low.clone())
            self.register_buffer("high", high.clone())
            factors = (config.regime_linear_coupling, config.regime_geometric_coupling, config.regime_breakdown_coupling)
            self.register_buffer("factors", torch.tensor(factors))
        if model.decoherence is not None:
            self.register_buffer("modes", model.decoherence.modes.clone())
        self.probes = nn.ModuleDict()
        for name, leave in model.exits.items():
            if isinstance(leave.probe, nn.Linear):
                self.probes[name] = leave.probe

    token_scale: Tensor | None
    roles: Tensor | None
    beta: Tensor | None
    low: Tensor
    high: Tensor
    factors: Tensor
    modes: Tensor

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        config = self.config
        given = dict(zip(self.names.past, past, strict=True))
        out: dict[str, Tensor] = {}
        x = self._embedded(input_ids)
        now, started = self._pass(attention_mask, past[0].shape[2], x)
        zero = torch.zeros_like(now.r)
        walk = Walk(
            x,
            torch.ones_like(now.real),
            *(zero,) * 5,
            blocks=zero,
            factor=torch.ones_like(zero),
            regime=torch.full_like(now.positions, GEOMETRIC),
        )
        for n, block in enumerate(self.blocks):
            assert isinstance(block, GraphBlock)
            self._run(walk, block, n, now, given, out)
            if config.regime and n + 1 == config.mandatory_blocks:
                self._tell_regime(walk, now, started, given, out)
            if n + 1 in config.exit_blocks:
                self._leave(walk, n + 1, now)
        for loop in range(1, config.recursion_max_loops + 1):
            told = self._run(walk, self.integrator, config.n_layers + loop - 1, now, given, out)
            if loop >= config.recursion_min_loops:
                walk.runs = walk.runs & ~(walk.runs & (told.phi >= config.recursion_min_phi))
        normed = self._normed(walk.x)
        out["logits"] = logits = self._logits(normed)
        self._telemetry(walk, now, logits, normed, input_ids, given, out)
        return tuple(out[name] for name in self.names.outputs)

    def _embedded(self, ids: Tensor) -> Tensor:
        b, t = ids.shape
        if self.table_t is not None:
            z = self.table_t.index_select(1, ids.reshape(-1)).T.reshape(b, t, self.config.embed_dim)
        else:
            assert self.table is not None
            z = nn.functional.embedding(ids, self.table)
        if self.token_scale is not None:
            z = z * self.token_scale[ids].unsqueeze(-1)
        return z if self.proj is None else self.proj(z)

    def _pass(self, mask: Tensor, past: int, x: Tensor) -> tuple[Pass, Tensor]:
        """What blocks are told, and rows [B] that have tokens in the past."""
        config, t = self.config, x.shape[1]
        index = torch.arange(past + t, device=mask.device)
        # taken by index: an exporter does not know that the mask is as long as past and present together
        present = torch.arange(past, past + t, device=mask.device)
        real = mask.index_select(1, index) > 0
        everywhere = (real.long().cumsum(1) - 1).clamp(min=0)  # padding counts as position 0
        positions = everywhere.index_select(1, present)
        here = present.unsqueeze(-1)
        own = here == index
        causal = ((here >= index) & real[:, None, :]) | own
        causal = causal.unsqueeze(1)
        bias = torch.where(causal, 0.0, -math.inf)
        if config.decay:
            age = (positions.unsqueeze(-1) - everywhere.unsqueeze(1)).unsqueeze(1)
            slopes = torch.tensor(config.decay_slopes())[:, None, None]
            bias = torch.where(causal, -slopes * age, -math.inf)
        diagonal = config.attention == "qfi" and config.state == "diagonal"
        width = config.head_dim if diagonal else config.head_dim // 2
        frequency = config.rope_base ** (-torch.arange(width, dtype=torch.float64) / width)
        angle = positions.double().unsqueeze(-1) * frequency
        steep = config.coupling_beta if self.beta is None else self.beta
        r = 1 + steep * torch.log((positions + 1).double() / config.coupling_ref)
        r = r.clamp(config.coupling_min, config.coupling_max).float()
        cos, sin = angle.cos().float().unsqueeze(1), angle.sin().float().unsqueeze(1)
        started = real[:, :past].sum(1) > 0
        return Pass(positions, real.index_select(1, present), r, cos, sin, causal, own, bias), started

    def _run(
        self, walk: Walk, block: GraphBlock, n: int, now: Pass, given: dict[str, Tensor], out: dict[str, Tensor]
    ) -> Told:
        ran: Tensor | None = None
        if n >= self.names.skipping_from:
            ran = torch.cat((given[f"past_ran.{n}"], walk.runs), 1)
            out[f"present_ran.{n}"] = ran
        keys, values = given[f"past_key_values.{n}.key"], given[f"past_key_values.{n}.value"]
        x, keys, values, told = block(walk.x, walk.turned, now, now.r * walk.factor, keys, values, ran)
        out[f"present.{n}.key"], out[f"present.{n}.value"] = keys, values
        turned = angle_between(walk.x, x)
        if ran is None:  # nobody has left yet
            walk.x, walk.turned = x, turned
            ran_here = torch.ones_like(walk.phi)
        else:
            walk.x = torch.where(walk.runs.unsqueeze(-1), x, walk.x)
            walk.turned = torch.where(walk.runs, turned, walk.turned)
            ran_here = walk.runs.float()
        walk.phi = walk.phi + ran_here * told.phi
        walk.active = walk.active + ran_here * told.active
        walk.possible = walk.possible + ran_here * told.possible
        walk.curvature = walk.curvature + ran_here * walk.turned
        walk.blocks = walk.blocks + ran_here
        return told

    def _tell_regime(
        self, walk: Walk, now: Pass, started: Tensor, given: dict[str, Tensor], out: dict[str, Tensor]
    ) -> None:
        config, h = self.config, self.config.regime_hysteresis
        before = torch.where(started, given["past_regime.mean"], (self.low + self.high) / 2)
        was = torch.where(started, given["past_regime.now"], GEOMETRIC).unsqueeze(-1)
        counted = now.real & (now.positions > 0)
        rate = torch.where(counted, config.regime_smoothing, 0.0)
        m = smoothed(walk.phi / walk.blocks, rate, before)
        # two switches with hysteresis: out of the linear regime, and into breakdown
        left = switch((m >= self.low + h) & counted, (m < self.low - h) & counted, was >= GEOMETRIC)
        broke = switch((m >= self.high + h) & counted, (m < self.high - h) & counted, was >= BREAKDOWN)
        walk.regime = left + broke
        out["present_regime.mean"], out["present_regime.now"] = m[:, -1], walk.regime[:, -1]
        walk.factor = self.factors[walk.regime]
        calm = walk.turned < config.regime_curvature
        stops = (walk.regime == LINEAR) | ((walk.regime == BREAKDOWN) & calm)
        walk.runs = walk.runs & ~stops

    def _leave(self, walk: Walk, blocks: int, now: Pass) -> None:
        config = self.config
        threshold = self.thresholds.exits[config.exit_blocks.index(blocks)]
        normed = self._normed(walk.x)
        stops = torch.zeros_like(walk.runs)
        if config.exit_rule == "probe":
            distance = torch.sigmoid(self.probes[str(blocks)](normed)).squeeze(-1)
            stops, confidence = walk.runs & (distance < threshold), 1 - distance
        else:
            log_p = torch.log_softmax(self._logits(normed), -1)
            if walk.log_p is not None:
                stops = walk.runs & (bures(log_p, walk.log_p) < threshold)
            walk.log_p, confidence = log_p, torch.exp(2 * log_p).sum(-1)
        if config.decoherence_modes:
            rate = now.r * walk.factor * (walk.x * walk.x).mean(-1) * confidence
            assert self.thresholds.collapse is not None
            collapses = walk.runs & ~stops & (rate > self.thresholds.collapse)
            walk.x = torch.where(collapses.unsqueeze(-1), (walk.x @ self.modes.T) @ self.modes, walk.x)
            stops = stops | collapses
        walk.runs = walk.runs & ~stops

    def _normed(self, x: Tensor) -> Tensor:
        if self.roles is not None:
            x = x - (x @ self.roles.T) @ self.roles
        return self.norm(x)

    def _logits(self, normed: Tensor) -> Tensor:
        inner = normed if self.head_down is None else self.head_down(normed)
        if self.head_out is not None:
            return self.head_out(inner)
        assert self.table_t is not None
        return inner @ self.table_t

    def _telemetry(
        self,
        walk: Walk,
        now: Pass,
        logits: Tensor,
        normed: Tensor,
        ids: Tensor,
        given: dict[str, Tensor],
        out: dict[str, Tensor],
    ) -> None:
        config = self.config
        counted = now.real & (now.positions > 0)
        p = torch.softmax(logits, -1)
        first = torch.softmax(given["past_telemetry.logits"], -1).gather(1, ids[:, :1])
        rest = p[:, :-1].gather(2, ids[:, 1:].unsqueeze(-1)).squeeze(-1)
        came = torch.cat((first, rest), 1)
        surprise = torch.where(counted, (1 - came.sqrt()).clamp(min=0).sqrt(), 0.0)
        rate = torch.where(counted, 1 / SURPRISE_MEMORY, 0.0)
        mean = smoothed(surprise, rate, given["past_telemetry.surprise"])
        confidence = (p * p).sum(-1) * (1 - mean)
        if self.thresholds.confidence is not None:
            scale, shift = self.thresholds.confidence
            c = confidence.clamp(1e-6, 1 - 1e-6)
            confidence = torch.sigmoid(scale * torch.log(c / (1 - c)) + shift)
        wide = normed.double()
        u = wide / (wide * wide).sum(-1, keepdim=True).sqrt()
        begins = now.real & (now.positions < DRIFT_START)
        start = given["past_telemetry.start"].double().unsqueeze(1) + torch.where(begins.unsqueeze(-1), u, 0.0).cumsum(1)
        s = start / (start * start).sum(-1, keepdim=True).sqrt()
        drift = (1 - (u * s).sum(-1)).clamp(min=0).sqrt().float()
        kappa = config.kappa_0 * now.r * walk.factor
        out |= {
            "telemetry.phi": walk.phi / walk.blocks,
            "telemetry.surprise": surprise,
            "telemetry.confidence": confidence,
            "telemetry.agency": walk.active / walk.possible,
            "telemetry.curvature": walk.curvature / walk.blocks,
            "telemetry.kappa": kappa if config.attention == "qfi" else torch.zeros_like(kappa),
            "telemetry.coherence_drift": drift,
            "telemetry.regime": walk.regime,
            "telemetry.blocks_run": walk.blocks.long(),
            "present_telemetry.logits": logits[:, -1],
            "present_telemetry.surprise": mean[:, -1],
            "present_telemetry.start": start[:, -1].float(),
        }


def angle_between(before: Tensor, after: Tensor) -> Tensor:
    """Angle in radians [B, T] between states [B, T, D]: twice the arc tangent of a chord over its complement (ONNX has no atan2)."""

    def unit(x: Tensor) -> Tensor:
        return x / (x * x).sum(-1, keepdim=True).sqrt().clamp(min=1e-30)

    a, b = unit(before), unit(after)

    def length(x: Tensor) -> Tensor:
        return (x * x).sum(-1).sqrt()

    return 2 * torch.atan(length(a - b) / length(a + b).clamp(min=1e-30))


def smoothed(values: Tensor, rate: Tensor, before: Tensor) -> Tensor:
    """m_i = m_(i-1) + rate_i (values_i - m_(i-1)) for values, rate [B, T] and before [B], as one product in float64."""
    wide = rate.double().clamp(max=1 - 1e-12)
    kept = torch.log(1 - wide).cumsum(1)  # ln of what is left of the start
    index = torch.arange(values.shape[1], device=values.device)
    since = torch.where(index[:, None] >= index, kept.unsqueeze(-1) - kept.unsqueeze(1), -math.inf)
    left = torch.exp(since) * wide.unsqueeze(1)
    mean = (left @ values.double().unsqueeze(-1)).squeeze(-1) + torch.exp(kept) * before.double().unsqueeze(-1)
    return mean.float()


def switch(on: Tensor, off: Tensor, before: Tensor) -> Tensor:
    """1 or 0, int64 [B, T]: what the last token up to each one said that said on or off [B, T], `before` [B, 1] where none did."""
    index = torch.arange(1, on.shape[1] + 1, device=on.device)
    said = torch.where(on | off, index, 0)
    upto = torch.where(index[:, None] >= index, said.unsqueeze(1), 0)
    return torch.cat((before, on), 1).long().gather(1, upto.amax(-1))


