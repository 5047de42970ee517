"""The entanglement gate: which pairs of positions are coupled at all.

The joint state (|0> psi_i + |1> psi_j) / sqrt 2 has entanglement entropy h((3 + o) / 4) bits (h: binary entropy); the
coupling c = 1 - h((3 + o) / 4) rises with the overlap
o over its whole range, so a threshold on c is a threshold on distance. The self pair is always coupled.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def coupling(o: Tensor) -> Tensor:
    """c = 1 - h((3 + o) / 4) in [0, 1] bits for overlaps o in [-1, 1]."""
    p = (3 + o) / 4
    q = 1 - p
    return 1 + (torch.xlogy(p, p) + torch.xlogy(q, q)) / math.log(2)


def threshold_overlap(threshold: float) -> float:
    """The overlap o at which c equals threshold (bisection in float64: c is monotone); pairs below it are cut. -inf for threshold 0 (off)."""
    if threshold <= 0:
        return -math.inf

    def c(o: float) -> float:
        p = (3 + o) / 4
        return 1 + sum(x * math.log2(x) for x in (p, 1 - p) if x > 0)

    low, high = -1.0, 1.0
    for _ in range(60):
        mid = (low + high) / 2
        low, high = (mid, high) if c(mid) <= threshold else (low, mid)
    return high


def gate(scores: Tensor, o: Tensor, causal: Tensor, own: Tensor, threshold: float | Tensor, margin: float) -> Tensor:
    """Pairs let through, bool [..., Tq, Tk]. scores and o [..., Tq, Tk]; causal and own (the self pair) broadcast over them; margin in nats.

    First the absolute cut, then the relative one against the largest score that is left. threshold: one for all (0: off), or a tensor that broadcasts
    over o, the thresholds of heads.
    """
    allowed = causal
    if isinstance(threshold, Tensor):
        allowed = (allowed & ((coupling(o) > threshold) | (threshold <= 0))) | own
    elif threshold > 0:
        allowed = (allowed & (o > threshold_overlap(threshold))) | own
    if margin > 0:
        best = scores.masked_fill(~allowed, -math.inf).amax(-1, keepdim=True)
        allowed = allowed & (scores >= best - margin) | own
    return allowed.expand(scores.shape)


def soft_gate(o: Tensor, own: Tensor, threshold: Tensor, softness: Tensor) -> Tensor:
    """The absolute cut while it is still learnt: weights in (0, 1) [..., Tq, Tk], sigmoid((c - threshold) / softness), 1 for the own pair."""
    return torch.where(own, 1.0, torch.sigmoid((coupling(o) - threshold) / softness.clamp_min(1e-3)))
