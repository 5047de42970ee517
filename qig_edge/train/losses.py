"""The terms of the loss besides cross entropy: each a named function of one forward pass, with its weight in TrainConfig (weight_<name>), off at 0.

A term is a mean over the batch, so that weights do not hang on its size. What a term needs of the forward pass (`needs`) is only computed when
its weight is not 0.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qig_edge.model.build import Model
from qig_edge.model.exits import bures
from qig_edge.model.kernel import Kernel, Output
from qig_edge.model.recompute import recomputed
from qig_edge.model.telemetry import surprise_and_confidence

if TYPE_CHECKING:
    from qig_edge.train.config import TrainConfig

BASIN_MEMORY = 0.02  # weight of a new batch in the running mean of basin coordinates
READOUT = 512  # tokens whose distributions exits and drafts make at a time
SYMMETRY_SHARE = 4  # one row of so many is read a second time with roles swapped


@dataclass
class Pass:
    """One forward pass as the terms see it: ids and targets [B, T], swap [V] (token ids with roles exchanged), basin [r] (running mean direction)."""

    model: Kernel
    output: Output
    ids: Tensor
    targets: Tensor
    config: TrainConfig
    swap: Tensor | None
    basin: Tensor

    @property
    def phi(self) -> Tensor:
        """[B, T], mean over the blocks that a token ran."""
        journey = self.output.journey
        assert journey is not None
        return journey.phi / journey.blocks

    def basin_direction(self) -> Tensor:
        """Unit mean [B, r] of the sequences' basin coordinates: the head's inner vector of each token, as a direction."""
        journey, model = self.output.journey, self.model
        assert journey is not None
        y = model.normed(journey.x)
        inner = model.head.down(y) if model.head.down is not None else y
        return F.normalize(F.normalize(inner.float(), dim=-1).mean(1), dim=-1)


def integration(p: Pass) -> Tensor:
    """How far Phi lies below its target, where it does."""
    return F.relu(p.config.phi_target - p.phi).mean()


def phi(p: Pass) -> Tensor:
    """(Phi - Phi*)^2. Pulls the same way as `integration` only below the target."""
    return (p.phi - p.config.phi_target).square().mean()


def sparsity(p: Pass) -> Tensor:
    """Share of the pairs that gates let through: it moves learnt thresholds while they are soft."""
    journey = p.output.journey
    assert journey is not None
    return (journey.active / journey.possible).mean()


def calibration(p: Pass) -> Tensor:
    """Brier score of the confidence against whether the likeliest token is the one that comes; trains the calibration alone."""
    assert p.model.calibration is not None
    logits = p.output.logits.detach()
    confidence = p.model.calibration(surprise_and_confidence(logits, p.ids)[1])
    return (confidence - (logits.argmax(-1) == p.targets).float()).square().mean()


def basin(p: Pass) -> Tensor:
    """Bures distance (over sqrt 2) of each sequence's mean basin coordinates to their running mean over the run."""
    overlap = p.basin_direction() @ F.normalize(p.basin, dim=-1)
    return ((1 - overlap).clamp_min(0) + 1e-6).sqrt().mean()


def kappa(p: Pass) -> Tensor:
    """(kappa_eff / kappa* - 1)^2 over the context lengths of the batch: holds a learnt beta."""
    r = p.model.coupling(torch.arange(p.ids.shape[1], device=p.ids.device))
    return (p.model.config.kappa_0 * r / p.config.kappa_target - 1).square().mean()


def exits(p: Pass) -> Tensor:
    """Cross entropy of each exit plus its divergence from the full depth (which it does not pull on), and the square error of its probe."""
    journey = p.output.journey
    assert journey is not None and journey.exits
    total = torch.zeros((), device=p.ids.device)
    for seen in journey.exits:
        assert seen.state is not None
        runs = seen.runs.float()
        count = runs.sum().clamp_min(1)
        lost, distance = _against_full_depth(p, seen.state)
        total = total + (0.5 * lost * runs).sum() / count
        if seen.probed is not None:
            # a token that leaves here has no full depth to be compared with
            full = runs * journey.runs.float()
            total = total + ((seen.probed - distance).square() * full).sum() / full.sum().clamp_min(1)
    return total / len(journey.exits)


def _against_full_depth(p: Pass, state: Tensor) -> tuple[Tensor, Tensor]:
    """Of states [B, T, D] read out early, [B, T] each: cross entropy plus divergence from the full depth; the Bures distance to it (no gradient)."""

    def part(x: Tensor, targets: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        log_p, final = torch.log_softmax(p.model.readout(x).float(), -1), torch.log_softmax(logits, -1)
        told = F.nll_loss(log_p, targets, reduction="none")
        return told + (final.exp() * (final - log_p)).sum(-1), bures(log_p.detach(), final)

    tokens = (state.flatten(0, 1), p.targets.flatten(), p.output.logits.detach().flatten(0, 1))
    lost, distance = (
        torch.cat(values).view(state.shape[:2]) for values in zip(*_in_parts(p, part, tokens), strict=True)
    )
    return lost, distance


def _in_parts(p: Pass, part: Callable[..., Any], tokens: Sequence[Tensor]) -> list[Any]:
    """part of READOUT tokens at a time, made again in the backward pass where memory is short."""
    short = p.config.checkpointing != "none"
    return [recomputed(short, part, *some) for some in zip(*(t.split(READOUT) for t in tokens), strict=True)]


def draft(p: Pass) -> Tensor:
    """KL(full depth || draft) over the words that the draft guesses; trains the draft alone."""
    journey = p.output.journey
    assert journey is not None
    states = p.model.draft_states(journey)

    def part(z: Tensor, logits: Tensor) -> Tensor:
        guessed = torch.log_softmax(p.model.draft_logits(z).float(), -1)
        full = torch.log_softmax(logits[..., : guessed.shape[-1]], -1)
        return (full.exp() * (full - guessed)).sum(-1)

    tokens = (states.flatten(0, 1), p.output.logits.detach().flatten(0, 1))
    return torch.cat(_in_parts(p, part, tokens)).mean()


def budget(p: Pass) -> Tensor:
    """How far the share of deep feed-forwards lies above the configuration's deep_share, squared; moves routers while they are soft."""
    journey = p.output.journey
    assert journey is not None
    deep = journey.deep / journey.routed.clamp_min(1)
    return F.relu(deep.mean() - p.model.config.deep_share).square()


def symmetry(p: Pass) -> Tensor:
    """Divergence between the answer to a text and to its role-swapped twin: KL(p(v | x) || p(S v | S x)), over a part of the rows."""
    assert p.swap is not None
    rows = max(1, p.ids.shape[0] // SYMMETRY_SHARE)
    twin = torch.log_softmax(p.model(p.swap[p.ids[:rows]]).logits, -1)[..., p.swap]
    own = torch.log_softmax(p.output.logits[:rows], -1)
    return F.kl_div(twin, own, log_target=True, reduction="none").sum(-1).mean()


TERMS: dict[str, Callable[[Pass], Tensor]] = {
    f.__name__: f for f in (integration, phi, sparsity, calibration, basin, kappa, exits, draft, budget, symmetry)
}
WATCHING = ("integration", "phi", "sparsity", "budget")  # terms for which the blocks must observe themselves


class Losses(nn.Module):
    """Cross entropy and the terms whose weight is not 0."""

    basin_mean: Tensor

    def __init__(self, model: Model, config: TrainConfig, swap: Tensor | None = None) -> None:
        super().__init__()
        self.config = config
        self.terms = [name for name in TERMS if getattr(config, f"weight_{name}") > 0]
        self.watch = any(name in WATCHING for name in self.terms)
        self.swap = swap
        self.exits = model.config.exit_blocks if "exits" in self.terms else []
        self.register_buffer("basin_mean", torch.zeros(model.config.head_width))

    def forward(self, model: Model, ids: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """ids, targets [B, T] -> the loss summed over tokens, and each term's mean (with "cross_entropy", nats a token), detached."""
        with torch.no_grad() if self.config.only_draft else contextlib.nullcontext():
            output = model(ids, watch=self.watch, exits=self.exits) if isinstance(model, Kernel) else model(ids)
            nats = F.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
        seen = {"cross_entropy": nats.detach()}
        total = nats
        if self.terms:
            assert isinstance(model, Kernel)
            p = Pass(model, output, ids, targets, self.config, self.swap, self.basin_mean)
            if "basin" in self.terms:
                with torch.no_grad():
                    self.basin_mean.lerp_(p.basin_direction().mean(0), BASIN_MEMORY)
            for name in self.terms:
                value = TERMS[name](p)
                seen[name] = value.detach()
                total = total + getattr(self.config, f"weight_{name}") * value
        return total * targets.numel(), seen
