"""Factored embedding and head: tokens live in a basin space of width b, which the model's width D sees through one projection each way.

Under a code-rate ceiling no token's state may be vaguer than max_entropy: where the entropy of softmax(x), divided by
log D, exceeds it, the token's row is scaled up to the ceiling. The scale belongs to the token, so it is stored, not
computed in the forward pass.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qig_edge.config import ModelConfig
from qig_edge.model.quant import INT8_INPUT, Linear, fake_weight, round_a8, straight


class BasinEmbedding(nn.Module):
    """ids [B, T] -> [B, T, D]: a row of the V x b table times a b x D projection (no projection where basin_dim is 0: b = D)."""

    token_scale: Tensor | None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.max_entropy = config.code_rate
        self.table = nn.Parameter(torch.empty(config.vocab_size, config.embed_dim))
        self.proj = Linear(config.basin_dim, config.d_model) if config.basin_dim else None
        self.register_buffer("token_scale", torch.ones(config.vocab_size) if config.code_rate else None)
        self.kind: str | None = None

    def forward(self, ids: Tensor) -> Tensor:
        z = F.embedding(ids, fake_weight(self.table, self.kind))
        if self.token_scale is not None:
            z = z * self.token_scale[ids].unsqueeze(-1)
        return self.proj(z) if self.proj is not None else z

    @torch.no_grad()
    def initialize(self, how: str, d_model: int) -> None:
        """Rows of length 1. "normal": independent directions. "geometric": random orthonormal bases one after another, so that
        the tokens of a basis are equally far from each other, and a projection that keeps their angles.
        """
        if self.proj is None:
            # an unfactored tied table reads out with the rows it reads in: shorter rows keep the first logits small
            nn.init.normal_(self.table, std=0.02)
            return
        rows, width = self.table.shape
        nn.init.normal_(self.table, std=width**-0.5)
        nn.init.normal_(self.proj.weight)  # states of unit mean square
        if how == "geometric":
            for at in range(0, rows, width):
                part = nn.init.orthogonal_(torch.empty(width, width, device=self.table.device))
                self.table[at : at + width] = part[: rows - at]
            nn.init.orthogonal_(self.proj.weight)
            self.proj.weight.mul_(max(d_model, width) ** 0.5)

    @torch.no_grad()
    def refresh(self) -> None:
        """Scales of all tokens for the present weights: the least s >= 1 at which softmax(s x) is no vaguer than the ceiling (30 bisections)."""
        if self.token_scale is None:
            return
        x = self.table if self.proj is None else self.table @ self.proj.weight.T
        low = torch.ones_like(self.token_scale)
        high = torch.full_like(low, 64.0)

        def vague(scale: Tensor) -> Tensor:
            log_p = torch.log_softmax(scale[:, None] * x, -1)
            return -(log_p.exp() * log_p).sum(-1) > self.max_entropy * math.log(x.shape[1])

        above = vague(low)
        for _ in range(30):
            middle = (low + high) / 2
            still = vague(middle)
            low, high = torch.where(still, middle, low), torch.where(still, high, middle)
        self.token_scale.copy_(torch.where(above, high, 1.0))


class Head(nn.Module):
    """x [..., D] -> logits [..., V] through an inner width r; with head_rank 0 the vocabulary factor is the embedding's table, a whole head has no
    inner width."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inner = config.head_rank or config.basin_dim
        self.down = Linear(config.d_model, inner) if inner and not config.whole_head else None
        self.out = Linear(config.head_rank, config.vocab_size) if config.head_rank else None

    def forward(self, x: Tensor, embedding: BasinEmbedding, words: int | None = None, frozen: bool = False) -> Tensor:
        """words: logits of the first so many alone. frozen: the weights get no gradient."""
        if self.down is not None:
            x = self.down.product(x, None, frozen)
        if self.out is not None:
            return self.out.product(x, words, frozen)
        if embedding.kind in INT8_INPUT:
            x = straight(x, round_a8(x))
        table = embedding.table.detach() if frozen else embedding.table
        return F.linear(x, fake_weight(table[:words], embedding.kind))
