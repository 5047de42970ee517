"""Gravitational decoherence: a heavy, well-coupled, confident state collapses onto the dominant modes and stays.

    rate = coupling x mass x confidence;   mass = mean square of the state;   past the threshold x := U^T (U x)

U [modes, D] spans the dominant modes of the states seen at exits: the leading eigenvectors of their second moments,
which training keeps as a running mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qig_edge.config import ModelConfig
from qig_edge.model.steer import Steered

NEVER = 1e30  # a rate that no state has
MEMORY = 0.02  # weight of a new batch in the second moments


class Decoherence(nn.Module):
    """The modes and the threshold on the rate."""

    modes: Tensor
    moments: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.steer = Steered(config.collapse_share, NEVER, above=True)
        self.register_buffer("modes", torch.eye(config.d_model)[: config.decoherence_modes].clone())
        self.register_buffer("moments", torch.zeros(config.d_model, config.d_model))

    def rate(self, x: Tensor, coupling: Tensor, confidence: Tensor) -> Tensor:
        """[B, T] of states x [B, T, D]; coupling r [T] or [B, T]; confidence [B, T] in [0, 1]."""
        return coupling * x.float().square().mean(-1) * confidence

    def collapses(self, x: Tensor, rate: Tensor, runs: Tensor) -> Tensor:
        """Tokens [B, T] that collapse, of those that still run."""
        if self.training:
            with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
                seen = x.detach().float() * runs.unsqueeze(-1)
                moment = torch.einsum("btd,bte->de", seen, seen) / runs.sum().clamp_min(1)
                self.moments.lerp_(moment, MEMORY)
        self.steer.follow(rate.detach(), runs)
        return runs & (rate > self.steer.threshold)

    def project(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return (x.float() @ self.modes.T) @ self.modes

    @torch.no_grad()
    def refresh(self) -> None:
        """Takes the dominant modes of what was seen so far."""
        if self.moments.any():
            vectors = torch.linalg.eigh(self.moments.double()).eigenvectors
            self.modes.copy_(vectors[:, -self.modes.shape[0] :].T)
