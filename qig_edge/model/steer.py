"""A stored threshold that training steers to a share: decode only compares with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RATE = 0.1  # of the way to a batch's own quantile, a step


class Steered(nn.Module):
    """threshold (0-dim buffer) beyond which about `share` of the values lie, below it or (`above`) above it; in training it follows each batch.

    `pressure` in [0, 1] scales the share: a budget is ramped by raising it, and at 0 no value lies beyond. Nothing moves at share 0 or
    outside training.
    """

    threshold: Tensor
    pressure: Tensor

    def __init__(self, share: float, initial: float, above: bool = False) -> None:
        super().__init__()
        self.share, self.initial, self.above = share, initial, above
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
        beyond = self.share * self.pressure
        below = 1 - beyond if self.above else beyond
        index = (below * count).long().clamp(max=(count - 1).clamp_min(0))
        goal = ordered.take(index)  # ordered[index] would wait for the device
        self.goals.append(torch.where((count > 0) & goal.isfinite(), goal, self.threshold))

    @torch.no_grad()
    def settle(self) -> None:
        """Moves towards what this step's batches noted; the first time, all the way."""
        if self.goals:
            goal = torch.stack(self.goals).mean()
            self.threshold.copy_(torch.where(self.threshold == self.initial, goal, self.threshold.lerp(goal, RATE)))
            self.goals.clear()
