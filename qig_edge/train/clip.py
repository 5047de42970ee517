"""Bounds on one step: the gradient's length, or the distance that the step moves the model's distributions.

The Fisher distance of a step d is sqrt(sum_i F_ii d_i^2), in nats^(1/2) a token: half its square would be the mean
Kullback-Leibler divergence of the predictions before and after, were the Fisher matrix diagonal. F_ii is a slow mean of
squared gradients times the tokens behind a gradient: for tokens that err independently that is the mean squared gradient
of one token, else more. The diagonal knows no correlations, and a step goes along with them: early in the training of
a small model the predictions moved 1.5 times as far as the bound said (a test holds it within 3).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from qig_edge.train.config import TrainConfig


class Clip:
    """Bounds steps as config.clip says. "fisher" keeps a mean of squared gradients and, during a step, a copy of the
    weights.
    """

    def __init__(self, parameters: list[torch.nn.Parameter], config: TrainConfig) -> None:
        self.parameters, self.config = parameters, config
        self.moments: list[Tensor] | None = None
        self.steps = 0

    def gradients(self) -> float:
        """Bounds the gradients where clip = "norm"; returns their Euclidean norm before that."""
        most = self.config.clip_norm if self.config.clip == "norm" else 0.0
        return torch.nn.utils.clip_grad_norm_(self.parameters, most or math.inf).item()

    def step(self, step: Callable[[], None]) -> float | None:
        """Runs `step`; where clip = "fisher" shortens what it did to clip_fisher and returns the Fisher distance it had
        before.
        """
        if self.config.clip != "fisher":
            step()
            return None
        self._watch()
        before = [p.detach().clone() for p in self.parameters]
        step()
        return self._shorten(before)

    @torch.no_grad()
    def _watch(self) -> None:
        """Takes the gradients into the mean of their squares."""
        if self.moments is None:
            self.moments = [torch.zeros_like(p) for p in self.parameters]
        self.steps += 1
        beta = self.config.beta2
        for p, moment in zip(self.parameters, self.moments, strict=True):
            moment.mul_(beta)
            if p.grad is not None:
                moment.addcmul_(p.grad, p.grad, value=1 - beta)

    @torch.no_grad()
    def _shorten(self, before: list[Tensor]) -> float:
        assert self.moments is not None
        total = torch.zeros((), dtype=torch.float64, device=before[0].device)
        for p, old, moment in zip(self.parameters, before, self.moments, strict=True):
            total += (moment * (p - old).square()).sum(dtype=torch.float64)
        distance = math.sqrt(total.item() * self.config.batch_tokens / (1 - self.config.beta2**self.steps))
        if distance > self.config.clip_fisher:
            share = self.config.clip_fisher / distance
            for p, old in zip(self.parameters, before, strict=True):
                p.copy_(torch.lerp(old, p, share))
        return distance

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "moments": self.moments}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        saved = state["moments"]
        self.moments = None if saved is None else [m.to(p.device) for m, p in zip(saved, self.parameters, strict=True)]
