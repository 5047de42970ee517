"""Which part of the model a 4-bit file rounds to what: the converter's q4 recipe (qig_edge/convert/recipes/q4.toml), for 4-bit-aware training."""

from __future__ import annotations

from qig_edge.config import ModelConfig
from qig_edge.convert.recipe import load_recipe, parts
from qig_edge.model.jarvis_config import JarvisConfig


def quantized_parts(config: ModelConfig | JarvisConfig) -> dict[str, str]:
    """Module name of the model -> kind, of a dense twin and of a Jarvis model too."""
    return parts(config, load_recipe("q4"))
