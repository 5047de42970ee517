"""Query and key vectors as quantum states, their overlap and distance (the formulas are in docs/formats.md, "The forward pass").

In quantum terms the pure state is psi = (1, phi) / sqrt 2, so that overlap (1 + o) / 2 >= 0, F = ((1 + o) / 2)^2 and
Bures distance d / sqrt 2; the constant is
absorbed by the temperature. For the diagonal state without phases o is the Bhattacharyya coefficient and d the Bures distance itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

D_EPS = 1e-6  # inside the square root: bounds the gradient of d at o = 1, the same in every executor
NORM_EPS = 1e-12


def rotary(positions: Tensor, width: int, base: float) -> tuple[Tensor, Tensor]:
    """cos and sin [T, width] of position t times base^(-c / width), float32 from float64, so that all executors share the angles."""
    frequency = base ** (-torch.arange(width, dtype=torch.float64, device=positions.device) / width)
    angle = positions.to(torch.float64).unsqueeze(-1) * frequency
    return angle.cos().float(), angle.sin().float()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the pairs (c, c + C/2) of x [..., T, C] by the angles of cos, sin [T, C/2]."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def pure_state(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """phi = R_t x / |x|, x [..., T, C] in float32 -> [..., T, C], unit vectors (zero stays zero)."""
    unit = x * torch.rsqrt(x.square().sum(-1, keepdim=True) + NORM_EPS)
    return rotate(unit, cos, sin)


def diagonal_state(x: Tensor, gain: Tensor, phases: tuple[Tensor, Tensor] | None) -> Tensor:
    """Amplitudes sqrt(softmax(g x)) of x [B, H, T, C], g [H]; with phases (cos, sin [T, C]) each amplitude is a complex number: [B, H, T, 2C]."""
    # sqrt(softmax) as exp(log_softmax / 2): its gradient stays finite where a probability underflows
    amplitude = torch.exp(0.5 * torch.log_softmax(gain[:, None, None] * x, -1))
    if phases is None:
        return amplitude
    cos, sin = phases
    return torch.cat((amplitude * cos, amplitude * sin), -1)


def overlap(phi_q: Tensor, phi_k: Tensor) -> Tensor:
    """o_ij = <phi_i, phi_j> [..., Tq, Tk], at most 1."""
    return (phi_q @ phi_k.transpose(-1, -2)).clamp(max=1.0)


def distance(o: Tensor, metric: str = "bures", eps: float = D_EPS) -> Tensor:
    """d = sqrt(2 (1 - o) + eps), or the geodesic 2 asin(d / 2) for "fisher_rao"; eps 0 gives the exact metric."""
    d = (2 * (1 - o) + eps).sqrt()
    # the 1e-6 keeps asin's slope finite at opposite states
    return 2 * torch.asin((d / 2).clamp(max=1 - 1e-6)) if metric == "fisher_rao" else d
