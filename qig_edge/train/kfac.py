"""Natural gradient with Kronecker factors: the factors from curvlinops, the step around them from here.

The Fisher information of a product y = W x is approximated by B (x) A, A the mean of x x^T over tokens, B that of g
g^T, g the gradient at y of the log-likelihood of a token drawn from the model itself. The step is along B^-1 M A^-1, M
the momentum of the gradient. Each matrix's step has the length that AdamW's would have (0.2 a weight, times the rate),
so that rates mean the same for every optimizer here; its direction is natural.
"""

from __future__ import annotations

import warnings
from typing import Any

import curvlinops
import torch
import torch.distributed as dist
from torch import Tensor, nn

from qig_edge.train.config import TrainConfig

MOMENTUM = 0.95
KEEP = 0.9  # share of the old factors that a refresh keeps
RMS = 0.2  # of a step at rate 1: what AdamW's steps have in practice


class _Readout(nn.Module):
    """ids [B, T] -> logits [B, V, T], as curvlinops and the cross entropy want them."""

    def __init__(self, model: nn.Module, weights: list[nn.Parameter]) -> None:
        super().__init__()
        self.model = model
        self.weights = weights

    def forward(self, ids: Tensor) -> Tensor:
        # a weight that this batch did not use would stop autograd.grad: zero times it keeps it in the graph
        unused = sum((w.flatten()[0] * 0 for w in self.weights), torch.zeros((), device=ids.device))
        return self.model(ids).logits.transpose(1, 2) + unused


class Kfac(torch.optim.Optimizer):
    """weights: parameter name in the model -> matrix [out, in] of a product. State: factors, their damped inverses,
    momentum.
    """

    def __init__(self, model: nn.Module, weights: dict[str, nn.Parameter], config: TrainConfig) -> None:
        super().__init__(
            list(weights.values()), {"lr": config.matrix_learning_rate, "weight_decay": config.weight_decay, "steps": 0}
        )
        self.model, self.names = model, {f"model.{n.removesuffix('.weight')}": p for n, p in weights.items()}
        self.every, self.damping, self.seed = config.precondition_every, config.kfac_damping, config.seed

    def measure(self, batch: Tensor) -> None:
        """Renews the factors on batch [B, T + 1] when it is time to."""
        steps = self.param_groups[0]["steps"]
        # the first factors come before most matrices have a gradient at all: they are replaced soon
        if steps % self.every and steps not in (1, 3):
            return
        ids, targets = batch[:, :-1], batch[:, 1:]
        weights = list(self.names.values())
        training = self.model.training
        self.model.eval()  # a look: what the model keeps of its batches stays as it is
        # compiled blocks would run past the hooks that see inputs and gradients
        with warnings.catch_warnings(), torch.compiler.set_stance("force_eager"):
            warnings.simplefilter("ignore")
            operator = curvlinops.KFACLinearOperator(
                _Readout(self.model, weights),
                nn.CrossEntropyLoss(reduction="mean"),
                weights,
                [(ids, targets)],
                check_deterministic=False,
                seed=(self.seed << 20) + steps,
                num_data=ids.shape[0],
                num_per_example_loss_terms=ids.shape[1],
            )
            operator.compute_kronecker_factors()
        self.model.train(training)
        found = operator.state_dict()
        for name, weight in self.names.items():
            inner, outer = found["input_covariances"].get(name), found["gradient_covariances"].get(name)
            if inner is not None and outer is not None:
                self._renew(self.state[weight], _mean_over_processes(inner), _mean_over_processes(outer))

    def _renew(self, state: dict[str, Any], inner: Tensor, outer: Tensor) -> None:
        for key, factor in (("inner", inner), ("outer", outer)):
            old = state.get(key)
            # early factors tell little of later ones: the mean starts where the first real step does
            state[key] = (
                factor if old is None or self.param_groups[0]["steps"] <= 3 else KEEP * old + (1 - KEEP) * factor
            )
            state[f"{key}_inverse"] = _damped_inverse(state[key], self.damping)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        group = self.param_groups[0]
        group["steps"] += 1
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(weight)
            state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
            step = torch.lerp(weight.grad, state["momentum"], MOMENTUM)  # Nesterov's look ahead
            if "inner_inverse" in state:
                step = state["outer_inverse"] @ step @ state["inner_inverse"]
            rms = step.square().mean().sqrt()
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.add_(step * (RMS / (rms + 1e-30)), alpha=-group["lr"])


def _damped_inverse(factor: Tensor, damping: float) -> Tensor:
    """(F + damping m I)^-1 in float64, m the mean eigenvalue of F [n, n]; the identity where F is zero."""
    wide = factor.double()
    identity = torch.eye(len(wide), dtype=wide.dtype, device=wide.device)
    mean = wide.trace() / len(wide)
    if not mean > 0:
        return identity.to(factor.dtype)
    return torch.cholesky_inverse(torch.linalg.cholesky(wide / mean + damping * identity)).to(factor.dtype)


def _mean_over_processes(factor: Tensor) -> Tensor:
    if dist.is_initialized():
        dist.all_reduce(factor)
        factor /= dist.get_world_size()
    return factor
