"""Rounding that is fitted to a product's inputs: its bytes, and that it changes the products less than rounding to the nearest place."""

from __future__ import annotations

import random

import gguf
import numpy as np
import pytest

from qig_edge.convert import rounding
from qig_edge.errors import CheckpointError

KINDS = {"q4_0": gguf.GGMLQuantizationType.Q4_0, "q4_1": gguf.GGMLQuantizationType.Q4_1}


def inputs(rng: np.random.Generator, width: int) -> np.ndarray:
    """Correlated, and of scales that differ by column."""
    mixed = rng.normal(size=(2000, width)) @ (np.eye(width) + 0.3 * rng.normal(size=(width, width)))
    return mixed * np.exp(rng.normal(size=width))


def plain(w: np.ndarray, kind: str) -> np.ndarray:
    return gguf.quants.dequantize(gguf.quants.quantize(w, KINDS[kind]), KINDS[kind])


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_products_change_less_than_by_the_nearest_place(kind: str, transposed: bool) -> None:
    rng = np.random.default_rng(random.randrange(2**32))
    w = rng.normal(size=(96, 160)).astype(np.float32)
    x = inputs(rng, 160)
    moment = x.T @ x / len(x)
    packed = rounding.blocks(w, kind, moment, transposed)
    restored = gguf.quants.dequantize(packed, KINDS[kind])
    nearest = plain(np.ascontiguousarray(w.T), kind).T if transposed else plain(w, kind)
    fitted = restored.T if transposed else restored
    assert fitted.shape == w.shape and np.isfinite(fitted).all()
    ours, theirs = rounding.lost(w, fitted, moment), rounding.lost(w, nearest, moment)
    assert 0 < ours < 0.75 * theirs, (ours, theirs)
    # lost() is the energy of the outputs' change
    energy = np.square(x @ (fitted - w).T).sum() / np.square(x @ w.T).sum()
    assert ours == pytest.approx(energy, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_without_moments_scales_are_searched_for(kind: str) -> None:
    rng = np.random.default_rng(random.randrange(2**32))
    w = rng.normal(size=(64, 96)).astype(np.float32)
    restored = gguf.quants.dequantize(rounding.blocks(w, kind, None), KINDS[kind])
    assert 0 < rounding.lost(w, restored, None) < rounding.lost(w, plain(w, kind), None)
    assert rounding.lost(w, restored, None) == pytest.approx(np.square(restored - w).sum() / np.square(w).sum(), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_on_the_grid_stay(kind: str) -> None:
    rng = np.random.default_rng(random.randrange(2**32))
    codes = rng.integers(-8, 8, (32, 64)).astype(np.float32)
    codes[:, ::32] = -8
    codes[:, 1::32] = 7
    w = codes * np.float32(0.25)
    assert (gguf.quants.dequantize(rounding.blocks(w, kind, np.eye(64)), KINDS[kind]) == w).all()
    zero = np.zeros((4, 32), np.float32)
    assert (gguf.quants.dequantize(rounding.blocks(zero, kind, np.eye(32)), KINDS[kind]) == 0).all()


def test_units_that_are_never_active_and_few_tokens() -> None:
    """A moment without an inverse."""
    rng = np.random.default_rng(random.randrange(2**32))
    w = rng.normal(size=(32, 128)).astype(np.float32)
    x = rng.normal(size=(5, 128))
    x[:, 40:80] = 0
    packed = rounding.blocks(w, "q4_0", x.T @ x / 5)
    assert np.isfinite(gguf.quants.dequantize(packed, KINDS["q4_0"])).all()
    assert rounding.blocks(w, "q4_0", np.zeros((128, 128))).tobytes() == rounding.blocks(w, "q4_0", None).tobytes()


def test_weights_beyond_half_precision() -> None:
    for w, kind in ((np.full((1, 32), 9e5, np.float32), "q4_0"), (np.full((1, 32), -7e4, np.float32), "q4_1")):
        with pytest.raises(CheckpointError, match="too large for the half-precision scale"):
            rounding.blocks(w, kind, None)
