"""Adam in NumPy: warm-up, the gradient's length clipped, weight decay beside the gradient and of matrices only."""

from __future__ import annotations

import math

import numpy as np


class Adam:
    """Steps the arrays of `weights` in place.

    The rate rises over the first `warmup` steps, then stays. clip: the most that all gradients together may measure (0: off). decay: share of a
    matrix that a step at rate 1 would take away; vectors keep their length.
    """

    def __init__(
        self,
        weights: dict[str, np.ndarray],
        rate: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        decay: float = 0.01,
        warmup: int = 100,
        clip: float = 1.0,
    ) -> None:
        self.weights, self.rate, self.betas, self.eps = weights, rate, betas, eps
        self.decay, self.warmup, self.clip = decay, warmup, clip
        self.steps = 0
        self.first = {name: np.zeros_like(w) for name, w in weights.items()}
        self.second = {name: np.zeros_like(w) for name, w in weights.items()}

    def rate_now(self) -> float:
        """Of the next step."""
        return self.rate * min(1.0, (self.steps + 1) / self.warmup) if self.warmup else self.rate

    def step(self, gradients: dict[str, np.ndarray]) -> float:
        """One step; gradients by name, which are left as they are. Returns their Euclidean length before clipping."""
        norm = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in gradients.values()))
        scale = min(1.0, self.clip / (norm + 1e-6)) if self.clip else 1.0
        rate = self.rate_now()
        self.steps += 1
        b1, b2 = self.betas
        c1, c2 = 1 - b1**self.steps, 1 - b2**self.steps
        for name, w in self.weights.items():
            g, m, v = gradients[name] * scale, self.first[name], self.second[name]
            m += (1 - b1) * (g - m)
            v += (1 - b2) * (g * g - v)
            if w.ndim >= 2:
                w *= 1 - rate * self.decay
            w -= (rate / c1) * m / (np.sqrt(v / c2) + self.eps)
        return norm
