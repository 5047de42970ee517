"""Recipes: which matrix of a model is stored as what type, and how far the file may be from the checkpoint. One TOML file a recipe, those that ship
in recipes/; the first pattern that matches a GGUF name decides.

    what = "..."          one line for people
    suffix = "..."        of file names
    max_kl = 0.05         mean KL divergence, nats a token, above which a conversion fails
    onnx = "arm64"        only of a recipe for an ONNX model: the instruction set that 8 bits are for
    [types]
    "*.ffn_down.weight" = "q8_0"
    "*" = "q4_0"

The q4 recipe is also what 4-bit-aware training rounds to (qig_edge.train.recipe reads it through `parts`). Vectors are F32 whatever a recipe says.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import math
import sys
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from qig_edge.config import ModelConfig
from qig_edge.convert.jarvis_names import jarvis_tensors
from qig_edge.convert.names import TensorName, tensor_names
from qig_edge.errors import ConfigError
from qig_edge.model.jarvis_config import JarvisConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TYPES = ("q4_0", "q4_1", "q8_0", "f16", "f32")
BLOCK = 32  # weights of a block of any quantized type, all of one row
BITS = {"q4_0": 4.5, "q4_1": 5.0, "q8_0": 8.5, "f16": 16.0, "f32": 32.0}
QUANTIZED = ("q4_0", "q4_1", "q8_0")
ONNX_TYPES = ("int8", "f32")
ONNX_SETS = ("arm64", "avx2", "avx512_vnni")  # that optimum has configurations for
KEYS = ("what", "suffix", "max_kl", "types")


@dataclasses.dataclass(frozen=True)
class Recipe:
    """types: (pattern of GGUF names, type) in order; suffix goes into file names.

    max_kl: mean KL divergence in nats a token that a conversion must stay below.
    """

    name: str
    what: str
    suffix: str
    max_kl: float
    types: tuple[tuple[str, str], ...]

    def kind(self, tensor: TensorName) -> str:
        """Type of one tensor: the recipe's, but F16 where a row does not divide into blocks, and F32 for a vector."""
        if tensor.part is None:
            return "f32"
        kind = self.asked(tensor)
        return "f16" if kind in QUANTIZED and odd_width(tensor) else kind

    def asked(self, tensor: TensorName) -> str:
        """The type that the first matching pattern gives it."""
        return next(kind for pattern, kind in self.types if fnmatch.fnmatchcase(tensor.gguf, pattern))

    def dense_down_only(self, config: ModelConfig) -> bool:
        """Whether it stores a deep feed-forward's second matrix as Q4_1, which the product that skips inactive units does not read."""
        return any(self.kind(t) == "q4_1" for t in tensor_names(config, sparse_down=True) if t.transposed)


@dataclasses.dataclass(frozen=True)
class OnnxRecipe:
    """The recipe of an ONNX model in 8 bits: as Recipe, with types "int8" and "f32" of what products read. instructions: one of ONNX_SETS."""

    name: str
    what: str
    suffix: str
    max_kl: float
    types: tuple[tuple[str, str], ...]
    instructions: str

    def int8(self, config: ModelConfig) -> set[str]:
        """Names in Kernel.state_dict() of the matrices that become 8 bits."""
        kinds = {t.torch: next(kind for pattern, kind in self.types if fnmatch.fnmatchcase(t.gguf, pattern)) for t in tensor_names(config) if t.part}
        return {name for name, kind in kinds.items() if kind == "int8"}


def odd_width(tensor: TensorName) -> int:
    """Width of the weights' rows, or (transposed) of the input, that does not divide into blocks; 0 where all do."""
    widths = tensor.shape if tensor.transposed else tensor.shape[-1:]
    return next((width for width in widths if width % BLOCK), 0)


def recipe_names() -> list[str]:
    """Names of the recipes that ship, sorted."""
    folder = resources.files("qig_edge.convert") / "recipes"
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml"))


def any_recipe(name: str) -> Recipe | OnnxRecipe:
    """One recipe: by name, or by the path of a TOML file. Raises ConfigError for a name that there is not, and for a file that is no recipe."""
    if name.endswith(".toml"):
        try:
            text = Path(name).read_text("utf-8")
        except OSError as e:
            raise ConfigError(f"recipe '{name}': {e.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"recipe '{name}' is not UTF-8") from None
        return parse(text, name, Path(name).stem)
    return _shipped(name)


def load_recipe(name: str) -> Recipe:
    """A recipe of GGUF files; errors as any_recipe, and ConfigError for one of ONNX models."""
    found = any_recipe(name)
    if isinstance(found, OnnxRecipe):
        raise ConfigError(f"recipe '{name}' is one of ONNX models, not of GGUF files")
    return found


def load_onnx_recipe(name: str) -> OnnxRecipe:
    """A recipe of ONNX models; errors as any_recipe, and ConfigError for one of GGUF files."""
    found = any_recipe(name)
    if isinstance(found, Recipe):
        raise ConfigError(f"recipe '{name}' is one of GGUF files, not of ONNX models")
    return found


@cache
def _shipped(name: str) -> Recipe | OnnxRecipe:
    if name not in recipe_names():
        raise ConfigError(f"recipe '{name}' must be one of {', '.join(recipe_names())}, or the path of a .toml file")
    return parse((resources.files("qig_edge.convert") / "recipes" / f"{name}.toml").read_text("utf-8"), name, name)


def parse(text: str, where: str, name: str) -> Recipe | OnnxRecipe:
    """The recipe that a TOML text describes; `where` names it in errors. Raises ConfigError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise ConfigError(f"recipe '{where}' is no TOML: {e}") from None
    unknown = next((key for key in table if key not in (*KEYS, "onnx")), None)
    if unknown is not None:
        raise ConfigError(f"recipe '{where}': unknown key '{unknown}': the keys are {', '.join(KEYS)}, and onnx of a recipe for ONNX models")
    missing = next((key for key in KEYS if key not in table), None)
    if missing is not None:
        raise ConfigError(f"recipe '{where}' lacks '{missing}': the keys are {', '.join(KEYS)}")
    what, suffix = (_line(table[key], key, where) for key in ("what", "suffix"))
    if "/" in suffix or "\\" in suffix:
        raise ConfigError(f"recipe '{where}': suffix '{suffix}' is a part of a file name, without separators")
    limit = table["max_kl"]
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not (0 < limit < math.inf):
        raise ConfigError(f"recipe '{where}': max_kl {limit!r} must be a number above 0")
    if "onnx" not in table:
        return Recipe(name, what, suffix, float(limit), _types(table["types"], TYPES, where))
    if table["onnx"] not in ONNX_SETS:
        raise ConfigError(f"recipe '{where}': onnx {table['onnx']!r} must be one of {', '.join(ONNX_SETS)}")
    return OnnxRecipe(name, what, suffix, float(limit), _types(table["types"], ONNX_TYPES, where), table["onnx"])


def _line(value: Any, key: str, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value.splitlines()) != 1:
        raise ConfigError(f"recipe '{where}': {key} must be one line of text, not {value!r}")
    return value


def _types(table: Any, known: tuple[str, ...], where: str) -> tuple[tuple[str, str], ...]:
    if not isinstance(table, dict) or not table:
        raise ConfigError(f"recipe '{where}': types must be a table of patterns and types")
    for pattern, kind in table.items():
        if kind not in known:
            raise ConfigError(f"recipe '{where}': type '{kind}' of '{pattern}' must be one of {', '.join(known)}")
    if list(table)[-1] != "*":
        raise ConfigError(f"recipe '{where}' must end with the pattern '*', so that every tensor has a type")
    return tuple(table.items())


def parts(config: ModelConfig | JarvisConfig, recipe: Recipe, sparse_down: bool = False) -> dict[str, str]:
    """What fake_quantize of the model takes to round as a file of this recipe does: module name -> type, of every matrix that is not F32.

    sparse_down as in tensor_names: the blocks of a transposed matrix lie along the other dimension, "q4_0_t" and "q8_0_t".
    """
    kinds: dict[str, str] = {}
    names = jarvis_tensors(config) if isinstance(config, JarvisConfig) else tensor_names(config, sparse_down)
    for tensor in names:
        kind = recipe.kind(tensor)
        if tensor.part is not None and kind != "f32":
            kinds[tensor.part] = f"{kind}_t" if tensor.transposed and kind in QUANTIZED else kind
    return kinds
