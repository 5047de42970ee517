"""Models by configuration: what trains, converts and compares a model does so with either kind."""

from __future__ import annotations

from typing import TypeAlias

from qig_edge.config import ModelConfig
from qig_edge.model.jarvis import Jarvis
from qig_edge.model.jarvis_config import JarvisConfig
from qig_edge.model.kernel import Kernel

Model: TypeAlias = Kernel | Jarvis
AnyConfig: TypeAlias = ModelConfig | JarvisConfig


def new_model(config: AnyConfig) -> Model:
    """A model with fresh weights, drawn from torch's generator."""
    return Kernel(config) if isinstance(config, ModelConfig) else Jarvis(config)
