"""Curvature routing: which tokens of a block take the deep feed-forward, and which the shallow one.

curvature + w phi >= threshold takes the deep one; curvature is the angle by which the previous block turned the token's state (a cheap
stand-in for Ricci curvature), phi the integration of the block's own attention. The threshold is steered to a share of tokens, w is learnt while the
choice is still soft.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qig_edge.config import ModelConfig
from qig_edge.model.feed_forward import FeedForward
from qig_edge.model.steer import Steered


@dataclass
class Routed:
    """feature [B, T] that the choice was made by, and the share [B, T] of the deep path in it."""

    feature: Tensor
    deep: Tensor


class CurvatureRouter(nn.Module):
    """The shallow feed-forward of one block, and the choice between it and the deep one."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.shallow = FeedForward(config, config.shallow_dim)
        self.phi_weight = nn.Parameter(torch.zeros(1))
        self.steer = Steered(1 - config.deep_share, 0.0)

    def forward(
        self, deep: FeedForward, h: Tensor, curvature: Tensor, phi: Tensor, softness: Tensor | None
    ) -> tuple[Tensor, Routed]:
        """h [B, T, D] -> [B, T, D], and what was chosen; curvature and phi [B, T].

        softness: of the sigmoid that mixes the two; None once the choice is hard.
        """
        feature = curvature.detach() + self.phi_weight * phi.detach()
        gap = feature - self.steer.threshold
        if softness is None:
            is_deep = gap >= 0
            return torch.where(is_deep.unsqueeze(-1), deep(h), self.shallow(h)), Routed(feature, is_deep.float())
        # before the budget is ramped every token takes the deep path; the ramp moves the mixture over
        share = torch.sigmoid(gap / softness.clamp_min(1e-4))
        share = torch.where(self.steer.pressure > 0, share, torch.ones_like(share))
        part = share.unsqueeze(-1)
        return part * deep(h) + (1 - part) * self.shallow(h), Routed(feature, share)
