"""What a model file says of decisions beyond the configuration: numbers that training settled."""

from __future__ import annotations

import dataclasses

from qig_edge.config import ModelConfig


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """coupling_beta: learnt or configured; exits: a distance for each exit; collapse: the rate of decoherence (None: off);
    confidence: scale and bias of the calibration (None: none).
    """

    coupling_beta: float
    regime_low: float
    regime_high: float
    exits: tuple[float, ...]
    collapse: float | None
    confidence: tuple[float, float] | None

    @classmethod
    def of(cls, config: ModelConfig) -> Thresholds:
        """Those of an untrained model: exits stop nobody, no state collapses."""
        return cls(
            coupling_beta=config.coupling_beta,
            regime_low=config.regime_low,
            regime_high=config.regime_high,
            exits=(0.0,) * len(config.exit_blocks),
            collapse=1e30 if config.decoherence_modes else None,
            confidence=(1.0, 0.0) if config.confidence_learnt else None,
        )
