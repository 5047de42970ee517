"""Agent symmetry: what both speaker and addressee could will.

S = 1 - 2 W^T W exchanges the roles along the role directions W (orthonormal rows); it is an involution, and (1 + S) / 2 = 1 - W^T W
projects a state onto what does not change under the exchange.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qig_edge.config import ModelConfig


class AgentSymmetry(nn.Module):
    """x [..., D] -> x - W^T (W x); W [rank, D] is orthonormalized where it is used."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.symmetry_rank, config.d_model))

    def directions(self) -> Tensor:
        """Orthonormal rows [rank, D] that span the role directions."""
        with torch.autocast(self.weight.device.type, enabled=False):
            return torch.linalg.qr(self.weight.float().T).Q.T

    def forward(self, x: Tensor) -> Tensor:
        w = self.directions()
        with torch.autocast(x.device.type, enabled=False):
            return x - (x.float() @ w.T) @ w

    @torch.no_grad()
    def refresh(self) -> None:
        """Stores the orthonormal rows: the same projection, as files hold it."""
        self.weight.copy_(self.directions())
