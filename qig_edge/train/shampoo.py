"""Shampoo and SOAP from pytorch-optimizer, with a state that a checkpoint can hold."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_optimizer import SOAP, ScalableShampoo
from pytorch_optimizer.optimizer.utils.graft import LayerWiseGrafting
from torch import nn

from qig_edge.train.config import TrainConfig


class _Shampoo(ScalableShampoo):
    """The library keeps objects of its own in the state: they are saved as the tensors in them, so that a checkpoint
    holds data and no code.

    The inverse roots start a power iteration from torch's global generator; here it is seeded by the step, so that a
    resumed run, whose generator stands elsewhere, takes the same roots.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        first = self.param_groups[0]
        device = first["params"][0].device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(first.get("step", 0))
            return super().step(closure)

    def state_dict(self) -> dict[str, Any]:
        plain = super().state_dict()
        plain["state"] = {
            index: {
                "momentum": state["momentum"],
                "statistics": state["pre_conditioner"].statistics,
                "roots": state["pre_conditioner"].pre_conditioners,
                "graft_momentum": state["graft"].momentum,
                "graft_statistics": state["graft"].statistics,
            }
            for index, state in plain["state"].items()
        }
        return plain

    @torch.no_grad()
    def load_state_dict(self, saved: dict[str, Any]) -> None:
        super().load_state_dict({**saved, "state": {}})
        at = 0
        for group in self.param_groups:
            for weight in group["params"]:
                state = saved["state"].get(at)
                at += 1
                if state is None:
                    continue
                weight.grad = torch.zeros_like(weight)
                self.init_group({**group, "params": [weight]})
                weight.grad = None
                ours = self.state[weight]
                blocks = ours["pre_conditioner"]
                ours["momentum"].copy_(state["momentum"])
                blocks.statistics = _like(state["statistics"], weight)
                blocks.pre_conditioners = _like(state["roots"], weight)
                ours["graft"].momentum.copy_(state["graft_momentum"])
                ours["graft"].statistics.copy_(state["graft_statistics"])


def _like(value: Any, weight: nn.Parameter) -> Any:
    """Copies on the device of the weight; float32 stays float32."""
    if isinstance(value, torch.Tensor):
        return value.to(weight.device, copy=True)
    return [_like(v, weight) for v in value]


def shampoo(weights: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Directions from the inverse roots of G G^T and G^T G, lengths from RMSprop (grafting)."""
    return _Shampoo(
        weights,
        lr=config.matrix_learning_rate,
        betas=(config.beta1, config.beta2),
        moving_average_for_momentum=True,
        weight_decay=config.weight_decay,
        decoupled_weight_decay=True,
        start_preconditioning_step=config.precondition_every,
        preconditioning_compute_steps=config.precondition_every,
        graft_type=LayerWiseGrafting.RMSPROP,
    )


def soap(weights: list[nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """Adam in the eigenbasis of Shampoo's statistics. Its first step only measures."""
    return SOAP(
        weights,
        lr=config.matrix_learning_rate,
        betas=(config.beta1, config.beta2),
        weight_decay=config.weight_decay,
        precondition_frequency=config.precondition_every,
    )
