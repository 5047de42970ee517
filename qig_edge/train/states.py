"""What optimizers remember of each weight: how much memory that takes, and keeping it at half the size between the steps.

bfloat16 states are widened for the step and rounded after it. Means that remember twenty steps, as in training, move by far more a step than the
rounding (1 part in 256) hides; the weights themselves stay float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

# Bytes a weight, besides what preconditioners take: both means of AdamW, one of RMSprop, the momentum of Muon and K-FAC, Shampoo's momentum and the
# two states of its graft, SOAP's two means.
BYTES = {"AdamW": 8, "_RMSprop": 4, "Muon": 4, "Kfac": 4, "_Shampoo": 12, "SOAP": 8}
# Of these, two square matrices on each side of a weight matrix.
PRECONDITIONED = ("Kfac", "_Shampoo", "SOAP")


def states_bytes(parts: list[torch.optim.Optimizer]) -> int:
    """Bytes of the states of these optimizers after their first steps, in float32."""
    total = 0
    for part in parts:
        kind = type(part).__name__
        for group in part.param_groups:
            for p in group["params"]:
                total += BYTES[kind] * p.numel()
                if kind in PRECONDITIONED:
                    total += 2 * 4 * sum(n * n for n in p.shape)
    return total


def narrow(part: torch.optim.Optimizer) -> None:
    """Rounds the states of a torch optimizer to bfloat16, but for its counters."""
    _cast(part, torch.float32, torch.bfloat16)


@contextlib.contextmanager
def widened(part: torch.optim.Optimizer) -> Iterator[None]:
    """The states as float32 inside, as bfloat16 afterwards."""
    _cast(part, torch.bfloat16, torch.float32)
    yield
    narrow(part)


def _cast(part: torch.optim.Optimizer, old: torch.dtype, new: torch.dtype) -> None:
    for state in part.state.values():
        for key, value in state.items():
            if isinstance(value, torch.Tensor) and value.ndim and value.dtype == old:
                state[key] = value.to(new)
