"""The draft of exact speculation: a guess at the next token that runs no block.

What it knows of the token and of the lag - 1 before it are their embeddings; of everything earlier, the state that the full depth left of the
token `lag` positions back. So the guesses of lag tokens in a row need nothing of the pass that verifies them, and what is guessed at a position
depends on the text alone.

    u_t = [n(e_(t-1)); ..; n(e_(t-lag+1)); n(s_(t-lag))]      n(x) = x / rms x;  0 before the text
    z = e_t + input u;   z += down relu(up rmsnorm(z))^2;   logits = head(rmsnorm(z)), of the first draft_vocab words
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qig_edge.config import ModelConfig
from qig_edge.model.quant import Linear


class DraftHead(nn.Module):
    """embedded, states [B, T, D] -> z [B, T, D], normed for the head."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        d = config.d_model
        self.lag, self.eps = config.draft_lag, config.norm_eps
        self.input = Linear(self.lag * d, d)
        self.norm = nn.RMSNorm(d, eps=config.norm_eps)
        self.up = Linear(d, config.draft_dim)
        self.down = Linear(config.draft_dim, d)
        self.output_norm = nn.RMSNorm(d, eps=config.norm_eps)

    def forward(self, embedded: Tensor, states: Tensor) -> Tensor:
        seen = [_earlier(self._unit(embedded), n) for n in range(1, self.lag)]
        z = embedded + self.input(torch.cat([*seen, _earlier(self._unit(states), self.lag)], -1))
        return self.output_norm(z + self.down(F.relu(self.up(self.norm(z))).square()))

    def _unit(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=self.eps)


def _earlier(x: Tensor, by: int) -> Tensor:
    """x [B, T, D] moved `by` positions later, zeros before it."""
    return F.pad(x, (0, 0, by, 0))[:, : x.shape[1]]
