"""Optimizers, from torch.

"muon" orthogonalizes the step of every matrix of a block and leaves the rest (embedding, head, norms, temperatures)
to AdamW.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from qig_edge.errors import ConfigError
from qig_edge.train.config import TrainConfig


class Optimizers:
    """One or two torch optimizers that step, and save their state, as one. Rates are set as factors of the configured ones."""

    def __init__(self, model: nn.Module, config: TrainConfig) -> None:
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        inner = [p for n, p in named if p.ndim == 2 and ".blocks." in f".{n}"] if config.optimizer == "muon" else []
        taken = {id(p) for p in inner}
        rest = [(n, p) for n, p in named if id(p) not in taken]
        groups = [
            {"params": [p for _, p in rest if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for _, p in rest if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                [g for g in groups if g["params"]],
                lr=config.learning_rate,
                betas=(config.beta1, config.beta2),
                eps=1e-10,
            )
        ]
        self.base = [config.learning_rate]
        if inner:
            if not hasattr(torch.optim, "Muon"):
                raise ConfigError(
                    f"optimizer = 'muon' needs torch >= 2.9 (this is {torch.__version__}); use --optimizer adamw"
                )
            self.parts.append(
                torch.optim.Muon(
                    inner,
                    lr=config.matrix_learning_rate,
                    weight_decay=config.weight_decay,
                    momentum=0.95,
                    adjust_lr_fn="match_rms_adamw",
                )
            )
            self.base.append(config.matrix_learning_rate)

    def step(self, factor: float) -> None:
        """One step at `factor` times the configured rates; gradients are cleared."""
        for part, base in zip(self.parts, self.base, strict=True):
            for group in part.param_groups:
                group["lr"] = base * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
