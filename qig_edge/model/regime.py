"""The regime of a token: linear (it may stop), geometric (it runs all blocks) or breakdown (it goes on only where its state turns much).

Phi of the mandatory blocks is smoothed over the tokens by an exponential mean and passes thresholds with hysteresis (docs/formats.md, "Depth").
Both recurrences are computed for all tokens at once: the mean by a triangular product, the automaton as a prefix
composition of functions on three regimes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qig_edge.config import ModelConfig
from qig_edge.model.steer import Steered

LINEAR, GEOMETRIC, BREAKDOWN = 0, 1, 2


@dataclass
class RegimeMemory:
    """What the next token needs: the smoothed Phi and the regime of the last one, [B] each."""

    mean: Tensor
    regime: Tensor


class RegimeDetector(nn.Module):
    """Phi [B, T] of tokens at `positions` -> regime [B, T] (int64), and the memory after them."""

    low: Tensor
    high: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.linear = Steered(config.regime_linear_share, config.regime_low)
        self.breakdown = Steered(config.regime_breakdown_share, config.regime_high, above=True)

    def thresholds(self) -> tuple[Tensor, Tensor]:
        """low and high as they stand, apart by more than the hysteresis."""
        low, high = self.linear.threshold, self.breakdown.threshold
        return low, torch.maximum(high, low + 2.5 * self.config.regime_hysteresis + 1e-4)

    def ramp(self, pressure: float) -> None:
        """Thresholds that are fixed by the configuration, at `pressure` of their way from "nobody"."""
        config = self.config
        if not config.regime_linear_share:
            self.linear.threshold.fill_(config.regime_low * pressure)
        if not config.regime_breakdown_share:
            self.breakdown.threshold.fill_(1 - (1 - config.regime_high) * pressure)

    def forward(self, phi: Tensor, positions: Tensor, memory: RegimeMemory | None) -> tuple[Tensor, RegimeMemory]:
        phi = phi.detach()
        b, t = phi.shape
        low, high = self.thresholds()
        if memory is None:
            start = (low + high) / 2
            memory = RegimeMemory(start.expand(b), torch.full((b,), GEOMETRIC, device=phi.device))
        rate = torch.where(positions > 0, self.config.regime_smoothing, 0.0).float()  # [T]
        means = self._smooth(phi.float(), rate, memory.mean)
        counted = (positions > 0).expand(b, t)
        self.linear.follow(means, counted)
        self.breakdown.follow(means, counted)
        regimes = self._automaton(means, counted, memory.regime, low, high)
        return regimes, RegimeMemory(means[:, -1], regimes[:, -1])

    def _smooth(self, phi: Tensor, rate: Tensor, before: Tensor) -> Tensor:
        """m_i = m_(i-1) + rate_i (phi_i - m_(i-1)) as one product with the weights that each earlier token has left."""
        kept = torch.cumsum(torch.log1p(-rate.double().clamp(max=1 - 1e-12)), 0)  # ln of what is left of the start
        left = torch.exp(kept[:, None] - kept[None, :]).tril() * rate.double()  # [T, T]
        return (phi.double() @ left.T + torch.exp(kept) * before.double()[:, None]).float()

    def _automaton(self, m: Tensor, counted: Tensor, before: Tensor, low: Tensor, high: Tensor) -> Tensor:
        h = self.config.regime_hysteresis
        up_low, down_low, up_high, down_high = m >= low + h, m < low - h, m >= high + h, m < high - h
        one = torch.ones_like(m, dtype=torch.int64)
        step = torch.stack(
            (
                torch.where(up_high, 2 * one, torch.where(up_low, one, 0 * one)),
                torch.where(down_low, 0 * one, torch.where(up_high, 2 * one, one)),
                torch.where(down_low, 0 * one, torch.where(down_high, one, 2 * one)),
            ),
            -1,
        )  # [B, T, 3]: the regime after this token, by the regime before it
        same = torch.arange(3, device=m.device).expand_as(step)
        step = torch.where(counted.unsqueeze(-1), step, same)
        reach = 1
        while reach < m.shape[1]:  # step[t] := what tokens t - reach + 1 .. t do together
            earlier = torch.cat((same[:, :reach], step[:, :-reach]), 1)
            step = step.gather(-1, earlier)
            reach *= 2
        return step.gather(-1, before[:, None, None].expand(-1, m.shape[1], 1)).squeeze(-1)
