"""Tiny models as ONNX folders, made once a run: an export takes longer than all that is asked of it.

Tests that import this are skipped where the onnx extra is not installed.
"""

from __future__ import annotations

import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qig_edge.convert import onnx_folder, onnx_int8
from qig_edge.convert.recipe import load_onnx_recipe
from qig_edge.model.kernel import Kernel
from qig_edge.train import checkpoint
from qig_edge.train.tokenizer import load_tokenizer
from tests.convert.tiny import DEPTHS, DRAFT, KINDS, TWINS, random_kernel, tiny_config, tiny_tokenizer

for package in ("onnxruntime", "onnxscript", "optimum.onnxruntime"):
    pytest.importorskip(package, reason="the onnx extra is not installed")

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "checkpoint"
# Between them: both states, gates of all kinds, both heads, the twin, and every way to decide.
SHORT: dict[str, Any] = {"n_layers": 3, "exit_first": 2, "recursion_min_loops": 1, "recursion_max_loops": 2}
CASES: dict[str, dict[str, Any]] = {
    "gates, roles": {**KINDS["learnt gates, code rate, roles"], "gate_margin": 3.0, "head_rank": 64},
    "twin": TWINS["twin, one group"],
    "no factors": KINDS["no factors"],
    "depth": {**DEPTHS["everything"], **SHORT, "exit_first": 1},
    "depth, diagonal, probed": {**DEPTHS["everything, diagonal, probed"], **SHORT, **DRAFT},
}
_rooms: list[tempfile.TemporaryDirectory[str]] = []


def kernel(case: str) -> Kernel:
    """The model of a case; "golden": the one of tests/golden."""
    return checkpoint.load_model(GOLDEN) if case == "golden" else random_kernel(tiny_config(**CASES[case]), 1)


@cache
def folder(case: str) -> Path:
    """Its ONNX folder, float32."""
    out = _room() / case
    out.mkdir()
    tokenizer = load_tokenizer(GOLDEN) if case == "golden" else tiny_tokenizer()
    onnx_folder.write(out, kernel(case), tokenizer, case, None)
    return out


@cache
def folder_int8(case: str, recipe: str, static: bool = False) -> Path:
    """The same in 8 bits; static: activations by the ranges of three random texts."""
    plain, out, model = folder(case), _room() / f"{case} {recipe} {static}", kernel(case)
    shutil.copytree(plain, out)
    rng = np.random.default_rng(5)
    windows = rng.integers(5, model.config.vocab_size, (3, 24)).tolist() if static else None
    with tempfile.TemporaryDirectory() as work:
        onnx_int8.quantize(plain / "model.onnx", out / "model.onnx", load_onnx_recipe(recipe), model.config, Path(work), windows)
    return out


@cache
def _room() -> Path:
    _rooms.append(tempfile.TemporaryDirectory(prefix="onnx-models-"))  # it goes with the interpreter
    return Path(_rooms[0].name)
