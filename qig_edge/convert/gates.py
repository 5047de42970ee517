"""A checkpoint with another gate than it was trained with: which pairs attention leaves out may be chosen after training."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    from qig_edge.config import ModelConfig
    from qig_edge.model.kernel import Kernel

FIELDS = {"gate.margin": "gate_margin", "gate.threshold": "gate_threshold"}  # by the file's keys


def gated(config: ModelConfig, settings: Mapping[str, str]) -> ModelConfig:
    """The configuration with other gates. Raises ConfigError for another key, a value out of range, or a model that has no such gate."""
    changed: dict[str, float] = {}
    for key, text in settings.items():
        if key not in FIELDS:
            raise ConfigError(f"--set {key}: what a file can be given here is {' or '.join(FIELDS)}")
        if config.attention != "qfi":
            raise ConfigError(f"--set {key}: a dense twin has no gate")
        if config.gate_learnt and key == "gate.threshold":
            raise ConfigError(f"--set {key}: this model's heads have learnt thresholds of their own")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ConfigError(f"--set {key}={text}: a number is needed")
        changed[FIELDS[key]] = value
    return dataclasses.replace(config, **changed)  # type: ignore[arg-type]


def with_gates(model: Kernel, settings: Mapping[str, str]) -> Kernel:
    """The model itself without settings, else one of the same weights; errors as gated()."""
    if not settings:
        return model
    from qig_edge.model.kernel import Kernel

    other = Kernel(gated(model.config, settings)).eval()
    other.load_state_dict(model.state_dict())
    return other
