"""Early exits: a token stops where the distribution it predicts no longer moves.

bures: the Bures distance between the distributions of successive exits, each a readout of the state as it stands.
probe: the distance to the distribution at full depth, predicted from the state by one row of weights (trained on the
real distance), so that looking costs a row and not a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qig_edge.config import ModelConfig
from qig_edge.model.steer import Steered


def bures(log_p: Tensor, log_q: Tensor) -> Tensor:
    """sqrt(1 - sum_v sqrt(p q)) of log-distributions [..., V], in [0, 1]: the Bures distance of diagonal states over sqrt 2."""
    return (1 - torch.exp(0.5 * (log_p + log_q)).sum(-1)).clamp_min(0).sqrt()


class Exit(nn.Module):
    """One exit: its threshold, steered to a share of tokens, and for rule "probe" its weights."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.steer = Steered(config.exit_share, 0.0)
        self.probe = nn.Linear(config.d_model, 1) if config.exit_rule == "probe" else None

    def distance(self, normed: Tensor) -> Tensor:
        """Predicted distance [B, T] from the normed states y [B, T, D] (rule "probe")."""
        assert self.probe is not None
        with torch.autocast(normed.device.type, enabled=False):
            return torch.sigmoid(self.probe(normed.float())).squeeze(-1)

    def stops(self, distance: Tensor, runs: Tensor) -> Tensor:
        """Tokens [B, T] that stop here, of those that still run. A distance that is not a number stops nobody."""
        self.steer.follow(distance.detach(), runs)
        return runs & (distance < self.steer.threshold)
