"""Recipes, and the table of names that they stand on."""

from __future__ import annotations

import re

import pytest

from qig_edge.bench.random_model import matrices
from qig_edge.config import preset_model, preset_names
from qig_edge.convert.names import tensor_names
from qig_edge.convert.recipe import load_recipe, parts, recipe_names
from qig_edge.errors import ConfigError
from qig_edge.model.kernel import Kernel
from qig_edge.train.recipe import quantized_parts
from tests.convert.tiny import DEPTHS, KINDS, tiny_config

# numbers that a file has as keys, and statistics that only training needs
AS_KEYS = (
    "calibration.log_scale",
    "calibration.bias",
    "coupling_beta",
    "moments",
    "regime.linear.threshold",
    "regime.breakdown.threshold",
    "decoherence.steer.threshold",
)
TWIN = {"attention": "dot", "basin_dim": 0, "decay": False}


@pytest.mark.parametrize("kind", [*KINDS, *DEPTHS, "twin"])
def test_names_cover_the_model_and_nothing_else(kind: str) -> None:
    config = tiny_config(**(TWIN if kind == "twin" else {**KINDS, **DEPTHS}[kind]))
    model, names = Kernel(config), tensor_names(config)
    weights = {
        k: v
        for k, v in model.state_dict().items()
        if not (k.endswith(AS_KEYS) or re.fullmatch(r"exits\.\d+\.steer\.threshold", k))
    }
    assert {name for n in names for name in (n.torch, n.then) if name} == set(weights)
    for n in names:
        if n.then is None:
            assert tuple(weights[n.torch].shape) == n.shape
        else:
            assert (weights[n.torch].numel() + weights[n.then].numel(),) == n.shape
    assert len({n.gguf for n in names}) == len(names) > 15
    products = {name for name, _ in model.products()} | {"embedding"}
    assert {n.part for n in names if n.part} == products
    assert sum(p.numel() for p in model.parameters()) == config.param_counts()["total"]


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_are_those_of_random_models(kind: str) -> None:
    config = tiny_config(**KINDS[kind])
    assert {n.gguf: n.shape for n in tensor_names(config) if n.part} == matrices(config)


def test_training_rounds_what_the_q4_recipe_says() -> None:
    q4 = load_recipe("q4")
    for config in [
        tiny_config(),
        tiny_config(**TWIN),
        tiny_config(head_rank=64),
        *map(preset_model, preset_names("qig")),
    ]:
        kinds = quantized_parts(config)
        assert kinds == parts(config, q4)
        inside = {k: v for k, v in kinds.items() if k.startswith(("blocks.", "draft."))}
        assert set(inside.values()) == {"q4_0"}
        assert {v for k, v in kinds.items() if k not in inside} == {"q8_0"}
        assert len(kinds) == len([n for n in tensor_names(config) if n.part])


def test_rows_that_do_not_divide_are_f16_in_training_too() -> None:
    config = tiny_config(hidden_dim=80, basin_dim=48)
    kinds = quantized_parts(config)
    assert {k for k, v in kinds.items() if v == "f16"} == {
        "blocks.0.ffn.down",
        "blocks.1.ffn.down",
        "embedding",
        "embedding.proj",
    }
    model = Kernel(config)
    model.fake_quantize(kinds, True)


def test_every_recipe_types_every_tensor() -> None:
    config = tiny_config(head_rank=64, state="diagonal")
    assert recipe_names() == ["f16", "f32", "q4", "q8"]
    for name in recipe_names():
        kinds = {n.gguf: load_recipe(name).kind(n) for n in tensor_names(config)}
        assert all(kinds[n.gguf] == "f32" for n in tensor_names(config) if n.part is None)
        matrix_kinds = {kinds[n.gguf] for n in tensor_names(config) if n.part}
        assert matrix_kinds == {"q4": {"q4_0", "q8_0"}, "q8": {"q8_0"}, "f16": {"f16"}, "f32": {"f32"}}[name]


def test_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="recipe 'q5' must be one of f16, f32, q4, q8"):
        load_recipe("q5")
