"""What quantized executors do to weights, activations and the cache, emulated in torch: for 4-bit-aware training and for verification.

Rounding as in docs/formats.md; the weight formats equal gguf.quants bit for bit. Gradients pass straight through.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

BLOCK = 32


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rounded: Tensor) -> Tensor:
        return rounded.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _blocks(w: Tensor) -> Tensor:
    return w.detach().float().reshape(*w.shape[:-1], -1, BLOCK)


def _inverse(amax: Tensor) -> Tensor:
    """127 / amax, 0 for 0, rounded once, as the kernels divide: torch multiplies a number over a tensor by the reciprocal. Values of 4-bit blocks,
    rows of an embedding, lie at half-way points by the dozen, and its last bit decides them all."""
    return torch.where(amax == 0, 0.0, torch.full_like(amax, 127.0) / amax)


def round_q4_0(w: Tensor) -> Tensor:
    """w [..., K], K % 32 == 0, as Q4_0 restores it: w = d (q - 8), d = fp16(the value of largest magnitude / -8)."""
    x = _blocks(w)
    extreme = x.gather(-1, x.abs().argmax(-1, keepdim=True))
    d = extreme / -8
    inverse = torch.where(d == 0, 0.0, 1 / d)
    # the product is rounded to float32 before the 8.5, as gguf.quants does: it decides the half-way points
    q = ((x.double() * inverse.double()).float() + 8.5).trunc().clamp(0, 15) - 8
    return (q * d.half().float()).reshape(w.shape)


def round_q4_1(w: Tensor) -> Tensor:
    """w [..., K], K % 32 == 0, as Q4_1 restores it: w = d q + m, d = fp16((largest - smallest) / 15), m = fp16(smallest)."""
    x = _blocks(w)
    low = x.amin(-1, keepdim=True)
    d = (x.amax(-1, keepdim=True) - low) / 15
    inverse = torch.where(d == 0, 0.0, 1 / d)
    q = (((x - low).double() * inverse.double()).float() + 0.5).trunc().clamp(0, 15)
    scaled = (q.double() * d.half().double()).float()  # in float32 before the sum, as gguf.quants does
    return (scaled + low.half().float()).reshape(w.shape)


def round_q8_0(w: Tensor) -> Tensor:
    """w [..., K], K % 32 == 0, as Q8_0 restores it: d = fp16(amax / 127), q rounded half away from zero."""
    x = _blocks(w)
    d = x.abs().amax(-1, keepdim=True) / 127
    q = x * torch.where(d == 0, 0.0, 1 / d)
    q = q.sign() * (q.abs() + 0.5).floor()
    return (q * d.half().float()).reshape(w.shape)


def round_a8(x: Tensor) -> Tensor:
    """Activations [..., K] as int8 products see them: per 32, d = amax / 127 in float32, half to even."""
    b = _blocks(x)
    amax = b.abs().amax(-1, keepdim=True)
    q = (b * _inverse(amax)).round()
    return (q * (amax / 127)).reshape(x.shape)


def round_state(phi: Tensor) -> Tensor:
    """States [..., C] as the int8 cache keeps them: q = half-to-even(phi 127 / amax), scaled to a unit vector."""
    x = phi.detach().float()
    amax = x.abs().amax(-1, keepdim=True)
    q = (x * _inverse(amax)).round()
    norm = q.square().sum(-1, keepdim=True).sqrt()
    return q * torch.where(norm == 0, 0.0, 1 / norm)


def round_value(v: Tensor) -> Tensor:
    """Values [..., C] as the int8 cache keeps them: amax / 127 per vector."""
    x = v.detach().float()
    amax = x.abs().amax(-1, keepdim=True)
    return (x * _inverse(amax)).round() * (amax / 127)


# "_t": the file holds the transpose, whose blocks lie along the outputs
WEIGHTS = {
    "q4_0": round_q4_0,
    "q4_1": round_q4_1,
    "q8_0": round_q8_0,
    "q4_0_t": lambda w: round_q4_0(w.t()).t(),
    "q8_0_t": lambda w: round_q8_0(w.t()).t(),
    "f16": lambda w: w.detach().half().float(),
}
ROUNDED = "rounded"  # weights that stand on their grid already: they stay, only the inputs are rounded
INT8_INPUT = ("q4_0", "q4_1", "q8_0", "q4_0_t", "q8_0_t", ROUNDED)


def straight(x: Tensor, rounded: Tensor) -> Tensor:
    """The value of `rounded`, the gradient of x."""
    return _Straight.apply(x, rounded)


def fake_weight(w: Tensor, kind: str | None) -> Tensor:
    """w as the file type `kind` restores it (None or f32: as it is), straight-through."""
    return straight(w, WEIGHTS[kind](w)) if kind in WEIGHTS else w


class Linear(nn.Linear):
    """A product without bias whose weight and input can be fake-quantized: the kinds of INT8_INPUT also round the input as the kernels do."""

    kind: str | None = None

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.product(x)

    def product(self, x: Tensor, rows: int | None = None, frozen: bool = False) -> Tensor:
        """With the first `rows` rows of the weight alone; frozen: without a gradient for it."""
        if self.kind in INT8_INPUT:
            x = straight(x, round_a8(x))
        weight = self.weight.detach() if frozen else self.weight
        return nn.functional.linear(x, fake_weight(weight[:rows], self.kind))
