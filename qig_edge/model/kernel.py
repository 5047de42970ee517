"""The QIG-Kernel, assembled: basin embedding, blocks of QFI attention and squared-ReLU feed-forward, depth that follows need, factored head.

    model = Kernel(preset_model("qig-nano"));  logits = model(ids).logits

The dense twin is the same code with attention = "dot", an unfactored embedding and no decay: a standard transformer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qig_edge.config import ModelConfig
from qig_edge.model import quant
from qig_edge.model.attention import Attention, LayerCache, Look, Observed, running_coupling
from qig_edge.model.decoherence import Decoherence
from qig_edge.model.draft import DraftHead
from qig_edge.model.embedding import BasinEmbedding, Head
from qig_edge.model.ethics import AgentSymmetry
from qig_edge.model.exits import Exit, bures
from qig_edge.model.feed_forward import FeedForward
from qig_edge.model.journey import ExitSeen, Journey
from qig_edge.model.recompute import recomputed
from qig_edge.model.recursion import Integrator
from qig_edge.model.regime import BREAKDOWN, LINEAR, RegimeDetector, RegimeMemory
from qig_edge.model.routing import CurvatureRouter
from qig_edge.model.steer import Steered
from qig_edge.model.telemetry import Calibration, Telemetry, telemetry_of
from qig_edge.thresholds import Thresholds

FULL_ROWS = (
    4  # of so many rows of a training batch one runs to full depth, so that exits have something to be measured against
)


class Cache(list[LayerCache]):
    """Caches of the blocks, then of the integrator's loops, and what the regime detector remembers."""

    memory: RegimeMemory | None = None


@dataclass
class Output:
    """logits [B, T, V] float32; cache of every layer; telemetry where it was asked for; the journey, for losses that look at it."""

    logits: Tensor
    cache: Cache | None = None
    telemetry: Telemetry | None = None
    journey: Journey | None = None


class Block(nn.Module):
    """x [B, T, D] -> x + attention(norm x) -> + feed_forward(norm)."""

    def __init__(self, config: ModelConfig, routed: bool = False) -> None:
        super().__init__()
        self.attn_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.attn = Attention(config)
        self.ffn_norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.ffn = FeedForward(config, config.hidden_dim)
        self.router = CurvatureRouter(config) if routed else None
        self.recompute = False  # attention in the backward pass

    def forward(
        self, x: Tensor, positions: Tensor, cache: LayerCache | None, look: Look, turned: Tensor
    ) -> tuple[Tensor, LayerCache, Observed | None]:
        """turned [B, T]: the angle by which the previous block turned each token."""
        attended, grown, observed = recomputed(self.recompute, self._attend, x, positions, cache, look)
        x = x + attended
        h = self.ffn_norm(x)
        if self.router is None:
            return x + self.ffn(h), grown, observed
        assert observed is not None
        out, observed.routed = self.router(self.ffn, h, turned, observed.phi, look.softness)
        return x + out, grown, observed

    def _attend(
        self, x: Tensor, positions: Tensor, cache: LayerCache | None, look: Look
    ) -> tuple[Tensor, LayerCache, Observed | None]:
        return self.attn(self.attn_norm(x), positions, cache, look)


class Kernel(nn.Module):
    """A causal language model over token ids [B, T]."""

    softness: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = BasinEmbedding(config)
        self.blocks = nn.ModuleList(Block(config, config.routed(n)) for n in range(config.n_layers))
        self.regime = RegimeDetector(config) if config.regime else None
        self.exits = nn.ModuleDict({str(n): Exit(config) for n in config.exit_blocks})
        self.decoherence = Decoherence(config) if config.decoherence_modes else None
        self.integrator = Integrator(config, Block(config)) if config.recursion_max_loops else None
        self.symmetry = AgentSymmetry(config) if config.symmetry_rank else None
        self.coupling_beta = nn.Parameter(torch.tensor(config.coupling_beta)) if config.coupling_learnt else None
        self.calibration = Calibration() if config.confidence_learnt else None
        self.draft = DraftHead(config) if config.draft_lag else None
        self.norm = nn.RMSNorm(config.d_model, eps=config.norm_eps)
        self.head = Head(config)
        self.soft = False  # learnt cuts are hard but for the first part of a training
        self.register_buffer("softness", torch.tensor(0.05), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Normal weights of variance 1 / fan-in; what writes into the residual stream starts at zero, so that every block starts as the identity."""
        for module in self.modules():
            if isinstance(module, quant.Linear):
                nn.init.normal_(module.weight, std=module.in_features**-0.5)
            if isinstance(module, Exit) and module.probe is not None:
                nn.init.zeros_(module.probe.weight)
        self.embedding.initialize(self.config.basin_init, self.config.d_model)
        if self.symmetry is not None:
            nn.init.orthogonal_(self.symmetry.weight)
        for name, module in self.products():
            if name.endswith(("attn.o", "ffn.down", "shallow.down", "draft.input", "draft.down")):
                nn.init.zeros_(module.weight)

    def forward(
        self,
        ids: Tensor,
        cache: Cache | None = None,
        observe: bool = False,
        keep_cache: bool = False,
        watch: bool = False,
        exits: Sequence[int] = (),
    ) -> Output:
        """cache: of earlier positions, from a call with keep_cache. observe: telemetry too (needs the text from its start, so no cache).

        watch: the journey is to hold what the blocks noted of themselves. exits: numbers of blocks after which it is to hold the
        state.
        """
        if observe and cache is not None:
            raise ValueError("telemetry needs the text from its first token: cache must be None")
        past = cache[0].keys.shape[2] if cache else 0
        positions = torch.arange(past, past + ids.shape[1], device=ids.device)
        r = self.coupling(positions)
        x = self.embedding(ids).float()  # the residual stream stays in float32 under autocast
        journey = Journey.start(x, observe or watch or self.watches)
        journey.memory = cache.memory if cache else None
        journey.full = self._full(ids)
        grown = Cache()
        for n, block in enumerate(self.blocks):
            self._run(journey, block, positions, r, cache[n] if cache else None, grown)
            self._decide(journey, n + 1, positions, r, exits)
        if self.integrator is not None:
            for loop in range(1, self.config.recursion_max_loops + 1):
                n = self.config.n_layers + loop - 1
                before = journey.phi
                self._run(journey, self.integrator.block, positions, r, cache[n] if cache else None, grown)
                journey.stop(self.integrator.leaves(loop, journey.phi - before))
        grown.memory = journey.memory
        normed = self.normed(journey.x)
        logits = self.head(normed, self.embedding).float()
        telemetry = (
            telemetry_of(journey, logits, normed, ids, self._kappa(r, journey), self.calibration) if observe else None
        )
        return Output(logits, grown if keep_cache else None, telemetry, journey)

    def coupling(self, positions: Tensor) -> Tensor:
        """The running coupling r [T] of tokens at these positions [T]."""
        return running_coupling(self.config, positions + 1, self.coupling_beta)

    @property
    def watches(self) -> bool:
        """Whether the blocks observe themselves in any case, because a decision hangs on it."""
        return self.config.adaptive or self.integrator is not None

    def _run(
        self, journey: Journey, block: nn.Module, positions: Tensor, r: Tensor, cache: LayerCache | None, grown: Cache
    ) -> None:
        coupling = r * journey.factor if self.skips else r
        look = Look(
            coupling,
            journey.runs if self.skips else None,
            self.softness if self.soft else None,
            journey.noted,
        )
        x, layer, seen = block(journey.x, positions, cache, look, journey.turned)
        if seen is not None and seen.routed is not None:
            assert isinstance(block, Block) and block.router is not None
            block.router.steer.follow(seen.routed.feature.detach(), journey.runs)
        journey.advance(x, seen, self.training)
        grown.append(layer)

    @property
    def skips(self) -> bool:
        """Whether some token may leave before the last block: caches then say who is in them."""
        return bool(self.regime is not None or self.exits or self.integrator is not None)

    def _decide(self, journey: Journey, blocks: int, positions: Tensor, r: Tensor, wanted: Sequence[int]) -> None:
        """What tokens do after that many blocks: regime, exits, collapse; notes the exits that are wanted."""
        if self.regime is not None and blocks == self.config.mandatory_blocks:
            self._tell_regime(journey, blocks, positions)
        here = str(blocks) in self.exits
        if not here and blocks not in wanted:
            return
        seen = ExitSeen(blocks, journey.runs, journey.x if blocks in wanted else None)
        by_probe = self.config.exit_rule == "probe"
        if here and not by_probe:
            with torch.no_grad():  # it decides; what learns from it reads the state out again
                seen.log_p = torch.log_softmax(self.readout(journey.x).float(), -1)
        if here:
            self._leave(journey, seen, by_probe, r)
        journey.exits.append(seen)

    def _tell_regime(self, journey: Journey, blocks: int, positions: Tensor) -> None:
        assert self.regime is not None
        config = self.config
        journey.regime, journey.memory = self.regime(journey.phi / blocks, positions, journey.memory)
        factors = (config.regime_linear_coupling, config.regime_geometric_coupling, config.regime_breakdown_coupling)
        journey.factor = torch.tensor(factors, device=positions.device)[journey.regime]
        calm = journey.turned < config.regime_curvature
        self._stop(journey, (journey.regime == LINEAR) | ((journey.regime == BREAKDOWN) & calm))

    def _leave(self, journey: Journey, seen: ExitSeen, by_probe: bool, r: Tensor) -> None:
        leave = self.exits[str(seen.blocks)]
        assert isinstance(leave, Exit)
        if by_probe:
            distance = seen.probed = leave.distance(self.normed(journey.x.detach()))
            confidence = 1 - distance
        else:
            assert seen.log_p is not None
            before = next((e.log_p for e in reversed(journey.exits) if str(e.blocks) in self.exits), None)
            none = torch.full_like(journey.turned, torch.nan)
            distance = none if before is None else bures(seen.log_p, before)
            confidence = (2 * seen.log_p).exp().sum(-1)
        stops = leave.stops(distance, journey.runs)
        if self.decoherence is not None:
            rate = self.decoherence.rate(journey.x.detach(), r * journey.factor, confidence.detach())
            collapses = self.decoherence.collapses(journey.x, rate, journey.runs & ~stops) & ~journey.full
            journey.x = torch.where(collapses.unsqueeze(-1), self.decoherence.project(journey.x), journey.x)
            stops = stops | collapses
        self._stop(journey, stops)

    def _full(self, ids: Tensor) -> Tensor:
        """Rows [B, 1] that run to full depth in training: one of FULL_ROWS. Of fewer rows than that their tokens decide, as good as a die."""
        rows = torch.arange(ids.shape[0], device=ids.device)
        if ids.shape[0] < FULL_ROWS:
            rows = rows + ids.sum()
        full = rows % FULL_ROWS == FULL_ROWS - 1
        return (full if self.training else full & False).unsqueeze(-1)

    def _stop(self, journey: Journey, who: Tensor) -> None:
        journey.stop(who & ~journey.full)

    def normed(self, x: Tensor) -> Tensor:
        """States [B, T, D] as the head takes them: roles projected out, RMS 1 before the gains."""
        return self.norm(x if self.symmetry is None else self.symmetry(x))

    def readout(self, x: Tensor) -> Tensor:
        """Logits [B, T, V] of states x [B, T, D], at any depth."""
        return self.head(self.normed(x), self.embedding)

    def draft_states(self, journey: Journey) -> Tensor:
        """States [B, T, D] of the draft after each token, as the head takes them, of a finished pass. No gradient reaches the rest of the model."""
        assert self.draft is not None
        return self.draft(journey.embedded.detach(), journey.x.detach())

    def draft_logits(self, states: Tensor) -> Tensor:
        """Logits [..., draft_vocab] of draft_states [..., D]. No gradient reaches the head."""
        return self.head(states, self.embedding, self.config.draft_vocab or self.config.vocab_size, frozen=True)

    def _kappa(self, r: Tensor, journey: Journey) -> Tensor:
        return self.config.kappa_0 * r * journey.factor

    def ramp(self, pressure: float, softness: float) -> None:
        """Sets how much of the budgets is asked for, in [0, 1], and how soft learnt cuts are (0: hard). The trainer calls it as the run goes on."""
        for module in self.modules():
            if isinstance(module, Steered):
                module.pressure.fill_(pressure)
            if isinstance(module, RegimeDetector):
                module.ramp(pressure)
        self.soft = softness > 0
        self.softness.fill_(softness)

    def recompute(self, level: str) -> None:
        """What the backward pass computes again instead of keeping it: "none", "attention" (its T x T squares), "blocks" (all inside blocks)."""
        for module in self.modules():
            if isinstance(module, Attention):
                module.recompute = level != "none"
            if isinstance(module, (Block, FeedForward)):
                module.recompute = level == "blocks"

    def settle(self) -> None:
        """Moves steered thresholds by what the step's forward passes saw: after its backward passes."""
        for module in self.modules():
            if isinstance(module, Steered):
                module.settle()

    def refresh(self) -> None:
        """Brings what is derived from weights and statistics up to date: before a checkpoint, and now and then in training."""
        self.embedding.refresh()
        if self.decoherence is not None:
            self.decoherence.refresh()
        if self.symmetry is not None:
            self.symmetry.refresh()

    def compile_blocks(self) -> None:
        """Compiles the blocks, one by one: as quick as the whole, and a fraction of the time to compile."""
        # Blocks share what is compiled, two forms (with a router and without) in each of up to four phases (soft cuts or hard, context, 4-bit aware):
        # at torch's limit of 8, and one batch of another size beyond it would run the rest of the training uncompiled.
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)
        blocks = [*self.blocks, *([self.integrator.block] if self.integrator is not None else [])]
        for block in blocks:
            block.compile(dynamic=False)

    def thresholds(self) -> Thresholds:
        """What decisions are made by, as files hold it."""
        plain = Thresholds.of(self.config)
        low, high = self.regime.thresholds() if self.regime else (plain.regime_low, plain.regime_high)
        calibration = self.calibration
        return Thresholds(
            coupling_beta=plain.coupling_beta if self.coupling_beta is None else self.coupling_beta.item(),
            regime_low=float(low),
            regime_high=float(high),
            exits=tuple(leave.steer.threshold.item() for leave in self.exits.values() if isinstance(leave, Exit)),
            collapse=self.decoherence.steer.threshold.item() if self.decoherence else None,
            confidence=(calibration.log_scale.exp().item(), calibration.bias.item()) if calibration else None,
        )

    def products(self) -> Iterator[tuple[str, quant.Linear]]:
        """Every product of the model by its module name."""
        for name, module in self.named_modules():
            if isinstance(module, quant.Linear):
                yield name, module

    def flops_per_token(self, context: int) -> float:
        """Floating-point operations of a training step per token at that context: 6 per weight in a product, and attention's two T x T products."""
        weights = sum(module.weight.numel() for _, module in self.products())
        if self.head.out is None:
            weights += self.embedding.table.numel()
        c = self.config
        return 6 * weights + 6 * c.n_layers * c.n_heads * (c.state_dim + c.head_dim) * context

    def fake_quantize(self, kinds: dict[str, str] | None, int8_cache: bool) -> None:
        """Runs with weights (by module name, "embedding" for the table), inputs and cache rounded as a quantized file's are; None: off."""
        for name, product in self.products():
            product.kind = kinds.get(name) if kinds else None
        self.embedding.kind = kinds.get("embedding") if kinds else None
        for module in self.modules():
            if isinstance(module, Attention):
                module.int8_cache = int8_cache
