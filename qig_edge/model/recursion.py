"""The recursive integrator: one block with shared weights that a token runs through again until its phi is high enough.

At least min_loops times, at most max_loops; each loop has keys and values of its own, and a token that left leaves none in later loops.
"""

from __future__ import annotations

from torch import Tensor, nn

from qig_edge.config import ModelConfig


class Integrator(nn.Module):
    """The shared block and the rule for leaving."""

    def __init__(self, config: ModelConfig, block: nn.Module) -> None:
        super().__init__()
        self.config, self.block = config, block

    def leaves(self, loop: int, phi: Tensor) -> Tensor:
        """Tokens [B, T] that leave after loop number `loop` (from 1), by that loop's phi [B, T]."""
        ready = phi >= self.config.recursion_min_phi
        return ready if loop >= self.config.recursion_min_loops else ready & False
