"""A stored threshold that training steers to a share: decode only compares with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RATE = 0.05  # of the way to a batch's own quantile, a step


class Steered(nn.Module):
    """threshold (0-dim buffer) below which about `share` of the values lie; in training it follows each batch's quantile.

    `pressure` in [0, 1] scales the share: a budget is ramped by raising it. Nothing moves at share 0 or outside training.
    """

    threshold: Tensor
    pressure: Tensor

    def __init__(self, share: float, initial: float, lowest: float, highest: float) -> None:
        super().__init__()
        self.share, self.lowest, self.highest = share, lowest, highest
        self.register_buffer("threshold", torch.tensor(initial))
        self.register_buffer("pressure", torch.tensor(1.0), persistent=False)
        self.goals: list[Tensor] = []

    @torch.no_grad()
    def follow(self, values: Tensor, among: Tensor) -> None:
        """Notes the quantile of `values` where the mask `among` (same shape) holds; what is not a number is left out.

        The threshold itself stays until settle(): the backward pass of this step still needs it as it was.
        """
        if not self.training or self.share == 0:
            return
        among = among & values.isfinite()
        ordered = torch.where(among, values.float(), torch.inf).flatten().sort().values
        count = among.sum()
        index = (self.share * self.pressure * count).long().clamp(max=(count - 1).clamp_min(0))
        goal = torch.where(
            self.pressure > 0, ordered.take(index), self.lowest
        )  # ordered[index] would wait for the device
        self.goals.append(torch.where((count > 0) & goal.isfinite(), goal, self.threshold))

    @torch.no_grad()
    def settle(self) -> None:
        """Moves towards what this step's batches noted."""
        if self.goals:
            goal = torch.stack(self.goals).mean().clamp(self.lowest, self.highest)
            self.threshold.lerp_(goal, RATE)
            self.goals.clear()
