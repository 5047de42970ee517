"""Feed-forward with squared ReLU: relu(x W_up)^2 W_down. Most hidden units are zero, which decode can use."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from qig_edge.config import ModelConfig
from qig_edge.model.quant import Linear
from qig_edge.model.recompute import recomputed


class FeedForward(nn.Module):
    """x [..., D] -> [..., D] through `hidden` units."""

    def __init__(self, config: ModelConfig, hidden: int) -> None:
        super().__init__()
        self.up = Linear(config.d_model, hidden)
        self.down = Linear(hidden, config.d_model)
        self.recompute = False  # hidden units in the backward pass

    def forward(self, x: Tensor) -> Tensor:
        return recomputed(self.recompute, self._product, x)

    def _product(self, x: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x)).square())
