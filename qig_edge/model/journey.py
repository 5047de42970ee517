"""A batch of tokens on its way through the blocks: which of them still run, what they have noted, what their readouts at exits said."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from qig_edge.model.attention import Observed
from qig_edge.model.regime import GEOMETRIC, RegimeMemory
from qig_edge.model.telemetry import angle


@dataclass
class ExitSeen:
    """What stood at one exit, after `blocks` blocks.

    runs [B, T]: who still ran; state [B, T, D] before anything was decided here, where the exit was wanted; log_p [B, T, V]:
    log-distributions (without gradient), and probed [B, T]: the probe's distance, where they were made.
    """

    blocks: int
    runs: Tensor
    state: Tensor | None = None
    log_p: Tensor | None = None
    probed: Tensor | None = None


@dataclass
class Journey:
    """x [B, T, D], embedded (x before any block), and per token [B, T]: runs (still going), sums over the blocks it ran, turned (the
    curvature of the last one), how many of its blocks had a choice (routed) and took the deep feed-forward (deep), its regime and
    coupling factor. full [B, 1]: rows that stop nowhere.

    `noted` says whether the blocks observe themselves; without it the sums stay zero.
    """

    x: Tensor
    embedded: Tensor
    noted: bool
    runs: Tensor
    turned: Tensor
    phi: Tensor
    active: Tensor
    possible: Tensor
    curvature: Tensor
    blocks: Tensor
    deep: Tensor
    routed: Tensor
    regime: Tensor
    factor: Tensor
    full: Tensor
    skips: bool = False
    memory: RegimeMemory | None = None
    exits: list[ExitSeen] = field(default_factory=list)

    @classmethod
    def start(cls, x: Tensor, noted: bool) -> Journey:
        def filled(value: float) -> Tensor:
            return torch.full(x.shape[:2], value, device=x.device)

        return cls(
            x,
            x,
            noted,
            runs=torch.ones(x.shape[:2], dtype=torch.bool, device=x.device),
            turned=filled(0.0),
            phi=filled(0.0),
            active=filled(0.0),
            possible=filled(0.0),
            curvature=filled(0.0),
            blocks=filled(0.0),
            deep=filled(0.0),
            routed=filled(0.0),
            regime=torch.full(x.shape[:2], GEOMETRIC, device=x.device),
            factor=filled(1.0),
            full=torch.zeros(x.shape[0], 1, dtype=torch.bool, device=x.device),
        )

    def advance(self, x: Tensor, seen: Observed | None, training: bool) -> None:
        """Takes the states after a block, for the tokens that ran it. training: angles may be rougher."""
        after = torch.where(self.runs.unsqueeze(-1), x, self.x) if self.skips else x
        if self.noted:
            assert seen is not None
            ran = self.runs.float()
            self.turned = torch.where(
                self.runs, angle(self.x.detach(), after.detach(), exact=not training), self.turned
            )
            self.phi = self.phi + ran * seen.phi
            self.active = self.active + ran * seen.active
            self.possible = self.possible + ran * seen.possible
            self.curvature = self.curvature + ran * self.turned
            self.blocks = self.blocks + ran
            if seen.routed is not None:
                self.deep = self.deep + ran * seen.routed.deep
                self.routed = self.routed + ran
        self.x = after

    def stop(self, who: Tensor) -> None:
        """The tokens `who` [B, T] run no further block."""
        self.runs = self.runs & ~who
        self.skips = True
