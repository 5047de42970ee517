"""Optimizers by name: from torch, and for some names from libraries of the `optimizers` extra.

"adamw" and "rmsprop" (which divides by the root of the diagonal Fisher) take every weight. "muon", "kfac", "shampoo"
and "soap" take the matrices of the blocks (and of the draft, but for kfac) and leave the rest (embedding, head, norms,
temperatures) to AdamW.
"""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn

from qig_edge.errors import ConfigError, MissingExtra
from qig_edge.train.config import TrainConfig
from qig_edge.train.states import narrow, widened

OF_MATRICES = ("muon", "kfac", "shampoo", "soap")


class Optimizers:
    """One or two torch optimizers that step, and save their state, as one. Rates are set as factors of the configured
    ones.

    Raises MissingExtra where the optimizer's library is not installed, ConfigError where torch is too old for it.
    """

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        # kfac measures curvature with the model's own loss, in which the draft has no part
        parts = (".blocks.",) if config.optimizer == "kfac" else (".blocks.", ".draft.")
        inner = {n: p for n, p in named if p.ndim == 2 and any(part in f".{n}" for part in parts)}
        if config.optimizer not in OF_MATRICES:
            inner = {}
        rest = [p for n, p in named if n not in inner]
        groups = [
            {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0},
        ]
        groups = [g for g in groups if g["params"]]
        self.parts: list[torch.optim.Optimizer] = [
            _rmsprop(groups, config) if config.optimizer == "rmsprop" else _adamw(groups, config)
        ]
        self.base = [config.learning_rate]
        self.narrow = config.optimizer_states == "bfloat16"
        if inner:
            self.parts.append(_matrix_optimizer(model, inner, config))
            self.base.append(config.matrix_learning_rate)

    def step(self, factor: float, batch: Tensor) -> None:
        """One step at `factor` times the configured rates; gradients are cleared. batch [B, T + 1]: tokens on which
        curvature may be measured.
        """
        for part, base in zip(self.parts, self.base, strict=True):
            for group in part.param_groups:
                group["lr"] = base * factor
            if hasattr(part, "measure"):
                part.measure(batch)
            with widened(part) if self.narrow else contextlib.nullcontext():
                part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
            if self.narrow:
                narrow(part)  # torch widens what it loads


def _adamw(groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), eps=1e-10)


class _RMSprop(torch.optim.RMSprop):
    """torch's, with weight decay beside the gradient as in AdamW: inside, it would be divided by the Fisher too."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["decay"])
        super().step(closure)


def _rmsprop(groups: list[dict[str, Any]], config: TrainConfig) -> torch.optim.Optimizer:
    apart = [{"params": g["params"], "decay": g["weight_decay"]} for g in groups]
    return _RMSprop(apart, lr=config.learning_rate, alpha=config.beta2, eps=1e-10)


def _matrix_optimizer(model: nn.Module, inner: dict[str, nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    rate, decay = config.matrix_learning_rate, config.weight_decay
    if config.optimizer == "muon":
        if not hasattr(torch.optim, "Muon"):
            raise ConfigError(
                f"optimizer = 'muon' needs torch >= 2.9 (this is {torch.__version__}); use --optimizer adamw"
            )
        return torch.optim.Muon(
            list(inner.values()), lr=rate, weight_decay=decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        )
    try:
        if config.optimizer == "kfac":
            from qig_edge.train.kfac import Kfac

            return Kfac(model, inner, config)
        from qig_edge.train.shampoo import shampoo, soap

        return (shampoo if config.optimizer == "shampoo" else soap)(list(inner.values()), config)
    except ImportError:
        raise MissingExtra(f"optimizer = '{config.optimizer}'", "optimizers") from None
