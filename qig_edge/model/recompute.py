"""Memory for time: what a part computed on the way is computed again in the backward pass instead of kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint


def recomputed(on: bool, part: Callable[..., Any], *args: Any) -> Any:
    """part(*args); where `on` and a gradient is wanted, only args and results are kept for it.

    `part` must be a function of its arguments and of weights and buffers that do not change before the backward pass.
    """
    if not on or not torch.is_grad_enabled():
        return part(*args)
    return checkpoint(part, *args, use_reentrant=False, preserve_rng_state=False)
