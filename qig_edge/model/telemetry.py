"""What the model tells of its own state, one record a token, the same fields and formulas in every executor (docs/formats.md, "Telemetry")."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SURPRISE_MEMORY = 16  # tokens; the running mean moves by 1/16 of each new surprise


@dataclass
class Telemetry:
    """Fields [B, T]; blocks_run is the same for every token."""

    phi: Tensor
    surprise: Tensor
    confidence: Tensor
    agency: Tensor
    curvature: Tensor
    kappa: Tensor
    blocks_run: int


def surprise_and_confidence(logits: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """surprise = sqrt(1 - sqrt p(token that came)), confidence = purity of the next distribution times (1 - running mean of surprise); [B, T] each.

    logits [B, T, V] belong to ids [B, T] from the start of the text: the first token has no surprise.
    """
    p = torch.softmax(logits.float(), -1)
    came = p[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
    surprise = (
        torch.cat((torch.zeros_like(came[:, :1]), (1 - came.sqrt()).clamp_min(0).sqrt()), 1)
        if ids.shape[1] > 1
        else torch.zeros(ids.shape)
    )
    mean, running = torch.zeros(ids.shape[0], device=ids.device), []
    for t in range(ids.shape[1]):
        if t:
            mean = mean + (surprise[:, t] - mean) / SURPRISE_MEMORY
        running.append(mean)
    return surprise, p.square().sum(-1) * (1 - torch.stack(running, 1))


def angle(before: Tensor, after: Tensor) -> Tensor:
    """Angle in radians between states [..., D], by atan2 of chord lengths (acos loses small angles to rounding)."""
    a = before.double() / before.double().norm(dim=-1, keepdim=True).clamp_min(1e-30)
    b = after.double() / after.double().norm(dim=-1, keepdim=True).clamp_min(1e-30)
    return (2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1))).float()
