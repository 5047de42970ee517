"""Factored embedding and head: tokens live in a basin space of width b, which the model's width D sees through one projection each way."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qig_edge.config import ModelConfig
from qig_edge.model.quant import Linear, fake_weight, round_a8, straight


class BasinEmbedding(nn.Module):
    """ids [B, T] -> [B, T, D]: a row of the V x b table times a b x D projection (no projection where basin_dim is 0: b = D)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(config.vocab_size, config.embed_dim))
        self.proj = Linear(config.basin_dim, config.d_model) if config.basin_dim else None
        self.kind: str | None = None

    def forward(self, ids: Tensor) -> Tensor:
        z = F.embedding(ids, fake_weight(self.table, self.kind))
        return self.proj(z) if self.proj is not None else z


class Head(nn.Module):
    """x [..., D] -> logits [..., V] through an inner width r; with head_rank 0 the vocabulary factor is the embedding's table."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        inner = config.head_rank or config.basin_dim
        self.down = Linear(config.d_model, inner) if inner else None
        self.out = Linear(config.head_rank, config.vocab_size) if config.head_rank else None

    def forward(self, x: Tensor, embedding: BasinEmbedding) -> Tensor:
        if self.down is not None:
            x = self.down(x)
        if self.out is not None:
            return self.out(x)
        if embedding.kind in ("q4_0", "q8_0"):
            x = straight(x, round_a8(x))
        return F.linear(x, fake_weight(embedding.table, embedding.kind))
