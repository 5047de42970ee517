"""Bits per byte on held-out documents, by source."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from qig_edge.train.shards import Shard

LogitsFn = Callable[[Tensor], Tensor]  # ids [B, T] -> logits [B, T, V]


@torch.no_grad()
def nats(logits_of: LogitsFn, tokens: np.ndarray, context: int, batch: int, device: str = "cpu") -> float:
    """Sum of -ln p over tokens[1:], in windows of `context` that do not overlap (each sees only itself)."""
    total = 0.0
    rows = max(0, (len(tokens) - 1) // context)
    for first in range(0, rows, batch):
        window = np.stack(
            [tokens[i * context : (i + 1) * context + 1] for i in range(first, min(rows, first + batch))]
        ).astype(np.int64)
        total += _loss(logits_of, torch.from_numpy(window).to(device))
    rest = tokens[rows * context :].astype(np.int64)
    if len(rest) > 1:
        total += _loss(logits_of, torch.from_numpy(rest[None]).to(device))
    return total


def _loss(logits_of: LogitsFn, window: Tensor) -> float:
    logits = logits_of(window[:, :-1])
    return F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), window[:, 1:].reshape(-1), reduction="sum"
    ).item()


def bits_per_byte(
    logits_of: LogitsFn, shards: dict[str, Shard], context: int, batch: int = 4, device: str = "cpu"
) -> dict[str, float]:
    """By source name, and "all" over the bytes of all sources.

    Sources without a held-out document are left out; the dict is empty where none has one.
    """
    out: dict[str, float] = {}
    sum_nats, sum_bytes = 0.0, 0
    for name, shard in shards.items():
        if not shard.validation_bytes or len(shard.validation) < 2:
            continue
        n = nats(logits_of, shard.validation, context, batch, device)
        out[name] = n / math.log(2) / shard.validation_bytes
        sum_nats, sum_bytes = sum_nats + n, sum_bytes + shard.validation_bytes
    if sum_bytes:
        out["all"] = sum_nats / math.log(2) / sum_bytes
    return out
