"""What the losses of a run say about its pace: curiosity, cognitive mode, and the mean diagonal Fisher information I_Q.

C_slow is the slow mean, over `curiosity_tokens`, of the relative decrease of the (smoothed) training loss from step to
step. Times the steps that it reaches over it is c, the share of the loss that goes away in `curiosity_tokens` at this
pace, and the mode is read from it:

    exploration    c >= 5%     the loss falls fast
    investigation  c >= 1%
    integration    c >= 0      what is known is being put together
    drift          c < 0       the loss rises

Under schedule "curiosity" the learning rate's factor starts at 1 and holds while c >= 1%; below, it shrinks, the faster
the nearer c is to 0, and by half over `curiosity_tokens` where c <= 0. It never grows.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from qig_edge.train.config import TrainConfig

EXPLORATION, INVESTIGATION = 0.05, 0.01
FAST = 8  # the loss is smoothed over an eighth of what C_slow reaches over


@dataclass
class Pace:
    """Its fields are its state: plain numbers, saved in the checkpoint. `seen` and `gradients` count steps."""

    loss: float = 0.0
    slow: float = 0.0
    seen: int = 0
    factor: float = 1.0
    squared_norm: float = 0.0
    gradients: int = 0

    def observe(self, config: TrainConfig, step: int, loss: float, norm: float) -> None:
        """Takes in the loss (nats a token) and gradient norm of a step."""
        horizon = _horizon(config)
        if step == config.final_start:
            self.seen = 0  # other data and windows: losses before and after don't compare
        self.seen += 1
        if self.seen == 1:
            self.loss, self.slow = loss, 0.0
        else:
            smooth = self.loss + (loss - self.loss) / min(self.seen, max(2, horizon // FAST))
            decrease = (self.loss - smooth) / max(self.loss, 1e-9)
            self.slow += (decrease - self.slow) / min(self.seen - 1, horizon)
            self.loss = smooth
        self.gradients += 1
        self.squared_norm += (norm * norm - self.squared_norm) / min(self.gradients, 1 / max(1e-9, 1 - config.beta2))
        if config.schedule == "curiosity" and self.seen > horizon and step < config.final_start:
            dry = min(1.0, max(0.0, 1 - self.curiosity(config) / INVESTIGATION))
            self.factor *= 0.5 ** (dry / horizon)

    def curiosity(self, config: TrainConfig) -> float:
        """c: the share of the loss that goes away in curiosity_tokens at the present pace."""
        return self.slow * _horizon(config)

    def mode(self, config: TrainConfig) -> str:
        """exploration, investigation, integration or drift."""
        c = self.curiosity(config)
        return (
            "exploration"
            if c >= EXPLORATION
            else "investigation"
            if c >= INVESTIGATION
            else "integration"
            if c >= 0
            else "drift"
        )

    def fisher(self, config: TrainConfig, weights: int) -> float:
        """I_Q: mean over the weights of the diagonal Fisher information of a token, from squared gradients as in
        qig_edge.train.clip.
        """
        return self.squared_norm * config.batch_tokens / weights

    def state_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def _horizon(config: TrainConfig) -> int:
    return max(4, config.curiosity_tokens // config.batch_tokens)
