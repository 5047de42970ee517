"""The four metrics that a Jarvis model tells of its attention, in NumPy. qig_edge/model/jarvis.py defines them; these are the same formulas.

A row of attention a_i is read as the state |a_i> = sum_j sqrt(a_ij) |j> over the n visible positions.
    coherence      ((sum_j sqrt a_ij)^2 - 1) / (n - 1), 0 where n = 1
    entanglement   S(rho) / ln H with rho_gh = sum_j sqrt(a^g_ij a^h_ij) / H and S(rho) = -Tr rho ln rho
    interference   (|sum_j a_ij v_j|^2 - sum_j a_ij^2 |v_j|^2) / (sum_j a_ij |v_j|)^2
    fidelity       <x, y>^2 / (|x|^2 |y|^2)
"""

from __future__ import annotations

import math

import numpy as np


def coherence(weights: np.ndarray) -> np.ndarray:
    """Of rows of attention [..., T, n], zero where masked: [..., T], in [0, 1]."""
    visible = _visible(weights)
    total = np.sqrt(weights).sum(-1) ** 2 - 1
    return np.where(visible > 1, total / np.maximum(visible - 1, 1), 0.0)


def entanglement(weights: np.ndarray) -> np.ndarray:
    """Of the heads' rows [B, H, T, n]: [B, T], in [0, 1]; 0 with a single head."""
    heads = weights.shape[1]
    if heads == 1:
        return np.zeros((weights.shape[0], weights.shape[2]), weights.dtype)
    amplitude = np.sqrt(weights).swapaxes(1, 2)  # [B, T, H, n]
    levels = np.linalg.eigvalsh(amplitude @ amplitude.swapaxes(-1, -2) / heads).clip(0)
    return -(levels * np.log(np.where(levels > 0, levels, 1))).sum(-1) / math.log(heads)


def interference(weights: np.ndarray, values: np.ndarray, mixed: np.ndarray) -> np.ndarray:
    """Of rows [..., T, n], values [..., n, C] and their mixture [..., T, C]: [..., T], in (-1, 1)."""
    lengths = np.linalg.norm(values, axis=-1)[..., None]
    apart = (weights**2 @ lengths**2)[..., 0]
    most = (weights @ lengths)[..., 0] ** 2
    return ((mixed**2).sum(-1) - apart) / np.maximum(most, 1e-12)


def fidelity(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Of states [..., D]: squared cosine, [...], in [0, 1]."""
    lengths = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
    return ((before * after).sum(-1) / np.maximum(lengths, 1e-12)) ** 2


def _visible(weights: np.ndarray) -> np.ndarray:
    """Keys that each of the last T positions sees, [T]."""
    t, n = weights.shape[-2:]
    return np.arange(n - t + 1, n + 1)
