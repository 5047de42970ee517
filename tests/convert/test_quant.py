"""What torch rounds to in 4-bit-aware training is what a file restores: model.quant against gguf.quants, bit for bit."""

from __future__ import annotations

import random
from collections.abc import Callable

import gguf
import numpy as np
import pytest
import torch

from qig_edge.model.quant import round_a8, round_q4_0, round_q4_1, round_q8_0

CASES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda rng: rng.normal(size=(64, 256)),
    "wide range of scales": lambda rng: rng.normal(size=(64, 256)) * np.exp(rng.uniform(-30, 10, (64, 1))),
    "huge": lambda rng: rng.normal(size=(32, 64)) * 1e5,
    "scales that are subnormal halves": lambda rng: rng.normal(size=(32, 64)) * 1e-6,
    "zero blocks": lambda rng: (
        rng.normal(size=(32, 128)) * (rng.random((32, 4, 1)) < 0.5).repeat(32, 2).reshape(32, 128)
    ),
    "one value": lambda rng: np.where(np.arange(64) == 7, rng.normal(size=(16, 1)), 0.0),
    "two of the largest magnitude": lambda rng: rng.choice([-3.0, 3.0, 1.0, 0.0], size=(64, 64)),
    "integers, half-way points": lambda rng: rng.integers(-127, 128, (2048, 64)) / 2,
    "half-way points of the nibbles": lambda rng: np.concatenate(
        (np.full((64, 1), -8.0), rng.integers(-16, 16, (64, 31)) / 2), 1
    ),
}


def restored(w: np.ndarray, kind: gguf.GGMLQuantizationType) -> np.ndarray:
    return gguf.quants.dequantize(gguf.quants.quantize(w, kind), kind)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("round_", "kind"),
    [
        (round_q4_0, gguf.GGMLQuantizationType.Q4_0),
        (round_q4_1, gguf.GGMLQuantizationType.Q4_1),
        (round_q8_0, gguf.GGMLQuantizationType.Q8_0),
    ],
    ids=["q4_0", "q4_1", "q8_0"],
)
def test_torch_rounds_weights_as_gguf_does(
    case: str, round_: Callable[[torch.Tensor], torch.Tensor], kind: gguf.GGMLQuantizationType
) -> None:
    w = CASES[case](np.random.default_rng(random.randrange(2**32))).astype(np.float32)
    if kind == gguf.GGMLQuantizationType.Q4_1 and case == "huge":
        w /= 10  # the smallest weight of a block has to fit half precision, not a scale alone
    ours, theirs = round_(torch.from_numpy(w)).numpy(), restored(w, kind)
    assert w.size >= 1024
    assert np.isfinite(theirs).all()
    # 0.0 and -0.0 are the same weight
    different = np.argwhere(
        ~((ours == theirs) & (np.signbit(ours) == np.signbit(theirs)) | ((ours == 0) & (theirs == 0)))
    )
    assert len(different) == 0, (
        len(different),
        [(w[tuple(i)], ours[tuple(i)], theirs[tuple(i)]) for i in different[:3]],
    )


def test_activations_round_half_to_even() -> None:
    x = torch.zeros(2, 64)
    x[0, :5] = torch.tensor([127.0, 0.5, 1.5, 2.5, -0.5])
    assert round_a8(x)[0, :5].tolist() == [127.0, 0.0, 2.0, 2.0, 0.0]
    assert not round_a8(x)[1].any()


def test_activations_of_4_bit_rows_fall_where_the_kernels_put_them() -> None:
    """Their half-way points (4 of 8 steps is 63.5 of 127) hang on the last bit of 127 / amax, which is one division, as numpy has it."""
    x = round_q4_0(torch.randn(300, 32, generator=torch.Generator().manual_seed(1)))
    values = x.numpy()
    amax = np.abs(values).max(-1, keepdims=True)
    scaled = values * (np.float32(127) / amax)
    assert (np.abs(np.abs(scaled) % 1 - 0.5) < 1e-4).sum() > 300
    assert (round_a8(x).numpy() == np.rint(scaled) * (amax / np.float32(127))).all()
