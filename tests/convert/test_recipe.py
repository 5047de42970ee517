"""Recipes, and the table of names that they stand on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qig_edge.bench.random_model import matrices
from qig_edge.config import preset_model, preset_names
from qig_edge.convert.names import tensor_names
from qig_edge.convert.recipe import load_onnx_recipe, load_recipe, parts, recipe_names
from qig_edge.errors import ConfigError
from qig_edge.model.kernel import Kernel
from qig_edge.train.recipe import quantized_parts
from tests.convert.tiny import DEPTHS, GGUF_RECIPES, KINDS, tiny_config

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
        projections = {k: v for k, v in kinds.items() if k in ("embedding.proj", "head.down")}
        assert set(projections.values()) <= {"q8_0"}
        assert {v for k, v in kinds.items() if k not in projections} == {"q4_0"}
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
    assert recipe_names() == ["f16", "f32", "int8-arm64", "int8-x86", "int8-x86-vnni", "q4", "q4-small", "q8"]
    for name in GGUF_RECIPES:
        kinds = {n.gguf: load_recipe(name).kind(n) for n in tensor_names(config)}
        assert all(kinds[n.gguf] == "f32" for n in tensor_names(config) if n.part is None)
        matrix_kinds = {kinds[n.gguf] for n in tensor_names(config) if n.part}
        assert matrix_kinds == {"q4": {"q4_0", "q8_0"}, "q4-small": {"q4_0"}, "q8": {"q8_0"}, "f16": {"f16"}, "f32": {"f32"}}[name]


def test_unknown_recipe_names_the_known_ones() -> None:
    known = "f16, f32, int8-arm64, int8-x86, int8-x86-vnni, q4, q4-small, q8"
    with pytest.raises(ConfigError, match=f"recipe 'q5' must be one of {known}, or the path of a .toml file"):
        load_recipe("q5")


def test_recipes_of_onnx_models(tmp_path: Path) -> None:
    config = tiny_config(**DEPTHS["everything"])
    matrices = {n.torch for n in tensor_names(config) if n.part}
    for name, instructions in (("int8-arm64", "arm64"), ("int8-x86", "avx2"), ("int8-x86-vnni", "avx512_vnni")):
        recipe = load_onnx_recipe(name)
        assert (recipe.instructions, recipe.int8(config)) == (instructions, matrices)
        with pytest.raises(ConfigError, match=f"recipe '{name}' is one of ONNX models"):
            load_recipe(name)
    with pytest.raises(ConfigError, match="recipe 'q8' is one of GGUF files"):
        load_onnx_recipe("q8")
    (tmp_path / "mine.toml").write_text('what = "w"\nsuffix = "s"\nmax_kl = 1\nonnx = "avx2"\n[types]\n"blk.1.*" = "int8"\n"*" = "f32"\n')
    own = load_onnx_recipe(str(tmp_path / "mine.toml")).int8(config)
    assert own == {m for m in matrices if m.startswith("blocks.1.")} and len(own) >= 6


GOOD = 'what = "w"\nsuffix = "s"\nmax_kl = 0.5\n[types]\n"blk.*" = "q4_1"\n"*" = "f16"\n'


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    recipe = load_recipe(str(tmp_path / "mine.toml"))
    assert (recipe.name, recipe.what, recipe.suffix, recipe.max_kl) == ("mine", "w", "s", 0.5)
    kinds = {n.gguf: recipe.kind(n) for n in tensor_names(tiny_config())}
    assert kinds["blk.1.ffn_up.weight"] == "q4_1" and kinds["token_embd.weight"] == "f16" and kinds["output_norm.weight"] == "f32"
    assert recipe.dense_down_only(tiny_config())
    assert not load_recipe("q4").dense_down_only(tiny_config())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + 'extra = "q8_0"\n"*" = "f16"\n', "is no TOML"),
        ('limit = 1\n' + GOOD, "unknown key 'limit': the keys are what, suffix, max_kl, types"),
        (GOOD.replace('what = "w"\n', ""), "lacks 'what'"),
        (GOOD.replace('"w"', '"a\\nb"'), "what must be one line of text"),
        (GOOD.replace('"s"', '"a/b"'), "suffix 'a/b' is a part of a file name"),
        (GOOD.replace("0.5", "0"), "max_kl 0 must be a number above 0"),
        (GOOD.replace("0.5", "nan"), "max_kl nan must be a number above 0"),
        (GOOD.replace("0.5", "true"), "max_kl True must be"),
        (GOOD.replace('"q4_1"', '"q3_k"'), "type 'q3_k' of 'blk.*' must be one of q4_0, q4_1, q8_0, f16, f32"),
        (GOOD.replace('"q4_1"', '"int8"'), "type 'int8' of 'blk.*' must be one of q4_0, q4_1"),
        ('onnx = "sse"\n' + GOOD, "onnx 'sse' must be one of arm64, avx2, avx512_vnni"),
        ('onnx = "avx2"\n' + GOOD, "type 'q4_1' of 'blk.*' must be one of int8, f32"),
        (GOOD.replace('"q4_1"', "[1]"), "type '[1]' of 'blk.*' must be one of"),
        (GOOD.replace('"*"', '"output*"'), "must end with the pattern '*'"),
        (GOOD.partition("[types]")[0] + "types = 3", "types must be a table"),
        (GOOD.partition('"blk')[0], "types must be a table"),
    ],
)  # fmt: skip
def test_files_that_are_no_recipes(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as raised:
        load_recipe(str(tmp_path / "bad.toml"))
    assert "bad.toml" in str(raised.value) and "\n" not in str(raised.value)


def test_recipe_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"\xff\xfe")
    for name, message in (("none.toml", "No such file"), ("latin.toml", "is not UTF-8")):
        with pytest.raises(ConfigError, match=message):
            load_recipe(str(tmp_path / name))
