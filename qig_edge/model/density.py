"""Exact geometry of quantum states in float64: what the fast forms of attention are tested against. Not used at run time.

Sources: Uhlmann's fidelity and the Bures metric as in Bengtsson and Zyczkowski, "Geometry of Quantum States", chapters 9 and 13.
"""

from __future__ import annotations

import torch
from torch import Tensor


def matrix_sqrt(rho: Tensor) -> Tensor:
    """Principal square root of Hermitian positive semidefinite matrices [..., n, n]; small negative eigenvalues are rounding and become 0."""
    values, vectors = torch.linalg.eigh(rho)
    return (vectors * values.clamp_min(0).sqrt().unsqueeze(-2).to(vectors.dtype)) @ vectors.mH


def fidelity(rho: Tensor, sigma: Tensor) -> Tensor:
    """F = (Tr sqrt(sqrt(rho) sigma sqrt(rho)))^2 of density matrices [..., n, n], in [0, 1]; symmetric; 1 only for equal states."""
    root = matrix_sqrt(rho)
    values = torch.linalg.eigvalsh(root @ sigma @ root).clamp_min(0)
    return values.sqrt().sum(-1).square()


def bures_distance(rho: Tensor, sigma: Tensor) -> Tensor:
    """sqrt(2 (1 - sqrt F)) of density matrices [..., n, n]: a metric, in [0, sqrt 2]."""
    return (2 * (1 - fidelity(rho, sigma).clamp(0, 1).sqrt())).clamp_min(0).sqrt()


def pure(phi: Tensor) -> Tensor:
    """Density matrices [..., n + 1, n + 1] of psi = (1, phi) / sqrt 2 for unit vectors phi [..., n]: the state behind attention's "pure"."""
    psi = torch.cat((torch.ones_like(phi[..., :1]), phi), -1) / 2**0.5
    return psi.unsqueeze(-1) * psi.unsqueeze(-2)
