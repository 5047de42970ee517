"""What the model tells of its own state, one record a token, the same fields and formulas in every executor (docs/formats.md, "Telemetry")."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from qig_edge.model.journey import Journey

SURPRISE_MEMORY = 16  # tokens; the running mean moves by 1/16 of each new surprise
DRIFT_START = 16  # tokens whose mean state is the start of the text


@dataclass
class Telemetry:
    """Fields [B, T]; regime and blocks_run are whole numbers."""

    phi: Tensor
    surprise: Tensor
    confidence: Tensor
    agency: Tensor
    curvature: Tensor
    coherence_drift: Tensor
    kappa: Tensor
    regime: Tensor
    blocks_run: Tensor


class Calibration(nn.Module):
    """Monotone calibration of the confidence: sigmoid(a logit(c) + b), a > 0; the identity before it is trained (by the Brier score)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, c: Tensor) -> Tensor:
        return torch.sigmoid(torch.exp(self.log_scale) * torch.logit(c.clamp(1e-6, 1 - 1e-6)) + self.bias)


def telemetry_of(
    journey: Journey, logits: Tensor, normed: Tensor, ids: Tensor, kappa: Tensor, calibration: Calibration | None
) -> Telemetry:
    """The records of a text from its start: logits [B, T, V], normed states [B, T, D] before the head, ids [B, T]."""
    surprise, confidence = surprise_and_confidence(logits, ids)
    return Telemetry(
        phi=journey.phi / journey.blocks,
        surprise=surprise,
        confidence=confidence if calibration is None else calibration(confidence),
        agency=journey.active / journey.possible,
        curvature=journey.curvature / journey.blocks,
        coherence_drift=drift(normed),
        kappa=kappa.expand(ids.shape),
        regime=journey.regime,
        blocks_run=journey.blocks.long(),
    )


def surprise_and_confidence(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """surprise = sqrt(1 - sqrt p(token that came)), confidence = purity of the next distribution times (1 - running mean of surprise); [B, T] each.

    logits [B, T, V] belong to ids [B, T] from the start of the text: the first token has no surprise.
    """
    p = torch.softmax(logits.float(), -1)
    came = p[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
    surprise = torch.cat((torch.zeros_like(p[:, :1, 0]), (1 - came.sqrt()).clamp_min(0).sqrt()), 1)
    # the running mean of all tokens as one product with what each surprise has left after t - j more tokens (the first has no part in it)
    age = torch.arange(ids.shape[1], device=ids.device, dtype=torch.float64)
    left = torch.exp((age[:, None] - age[None, :]) * math.log1p(-1 / SURPRISE_MEMORY)).tril() / SURPRISE_MEMORY
    running = (surprise.double() @ left.T).float()
    return surprise, p.square().sum(-1) * (1 - running)


def drift(normed: Tensor) -> Tensor:
    """coherence_drift [B, T]: sqrt(1 - <u, s>), u the direction of each state [B, T, D], s that of the sum of the first ones so far."""
    u = torch.nn.functional.normalize(normed.double(), dim=-1)
    start = u.clone()
    start[:, DRIFT_START:] = 0
    s = torch.nn.functional.normalize(start.cumsum(1), dim=-1)
    return (1 - (u * s).sum(-1)).clamp_min(0).sqrt().float()


def angle(before: Tensor, after: Tensor, exact: bool = True) -> Tensor:
    """Angle in radians between states [..., D], by atan2 of chord lengths (acos loses small angles to rounding); in float32 unless exact."""
    if exact:
        before, after = before.double(), after.double()
    a = torch.nn.functional.normalize(before, dim=-1, eps=1e-30)
    b = torch.nn.functional.normalize(after, dim=-1, eps=1e-30)
    return (2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))).float()
