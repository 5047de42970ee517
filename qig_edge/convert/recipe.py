"""Recipes: which matrix of a model is stored as what type. One file a recipe in recipes/*.toml; the first pattern that matches a GGUF name decides.

The q4 recipe is also what 4-bit-aware training rounds to (qig_edge.train.recipe reads it through `parts`). Vectors are F32 whatever a recipe says.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import sys
from functools import cache
from importlib import resources

from qig_edge.config import ModelConfig
from qig_edge.convert.jarvis_names import jarvis_tensors
from qig_edge.convert.names import TensorName, tensor_names
from qig_edge.errors import ConfigError
from qig_edge.model.jarvis_config import JarvisConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TYPES = ("q4_0", "q8_0", "f16", "f32")
BLOCK = 32  # weights of a Q4_0 or Q8_0 block, all of one row
BITS = {"q4_0": 4.5, "q8_0": 8.5, "f16": 16.0, "f32": 32.0}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """types: (pattern of GGUF names, type) in order; suffix goes into file names; file_type is gguf's LlamaFileType by name.

    usual_kl: mean KL divergence in nats a token that a sound conversion stays below.
    """

    name: str
    what: str
    suffix: str
    file_type: str
    usual_kl: float
    types: tuple[tuple[str, str], ...]

    def kind(self, tensor: TensorName) -> str:
        """Type of one tensor: the recipe's, but F16 where a row does not divide into blocks, and F32 for a vector."""
        if tensor.part is None:
            return "f32"
        kind = next(kind for pattern, kind in self.types if fnmatch.fnmatchcase(tensor.gguf, pattern))
        return "f16" if kind in ("q4_0", "q8_0") and odd_width(tensor) else kind


def odd_width(tensor: TensorName) -> int:
    """Width of the weights' rows, or (transposed) of the input, that does not divide into blocks; 0 where all do."""
    widths = tensor.shape if tensor.transposed else tensor.shape[-1:]
    return next((width for width in widths if width % BLOCK), 0)


def recipe_names() -> list[str]:
    """Names of the recipes, sorted."""
    folder = resources.files("qig_edge.convert") / "recipes"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


@cache
def load_recipe(name: str) -> Recipe:
    """One recipe by name. Raises ConfigError for a name that there is not, or a recipe that leaves a tensor without a type."""
    if name not in recipe_names():
        raise ConfigError(f"recipe '{name}' must be one of {', '.join(recipe_names())}")
    table = tomllib.loads((resources.files("qig_edge.convert") / "recipes" / f"{name}.toml").read_text("utf-8"))
    types = tuple(table["types"].items())
    for pattern, kind in types:
        if kind not in TYPES:
            raise ConfigError(f"recipe '{name}': type '{kind}' of '{pattern}' must be one of {', '.join(TYPES)}")
    if not types or types[-1][0] != "*":
        raise ConfigError(f"recipe '{name}' must end with the pattern '*', so that every tensor has a type")
    return Recipe(name, table["what"], table["suffix"], table["file_type"], float(table["usual_kl"]), types)


def parts(config: ModelConfig | JarvisConfig, recipe: Recipe, sparse_down: bool = False) -> dict[str, str]:
    """What fake_quantize of the model takes to round as a file of this recipe does: module name -> type, of every matrix that is not F32.

    sparse_down as in tensor_names: the blocks of a transposed matrix lie along the other dimension, "q4_0_t" and "q8_0_t".
    """
    kinds: dict[str, str] = {}
    names = jarvis_tensors(config) if isinstance(config, JarvisConfig) else tensor_names(config, sparse_down)
    for tensor in names:
        kind = recipe.kind(tensor)
        if tensor.part is not None and kind != "f32":
            kinds[tensor.part] = f"{kind}_t" if tensor.transposed and kind in ("q4_0", "q8_0") else kind
    return kinds
