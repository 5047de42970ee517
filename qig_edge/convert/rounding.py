"""4-bit blocks of a matrix, chosen so that its products change least: the values are rounded to a scale that is searched for, and what a column's
rounding changes in the outputs is taken back by the columns after it.

The change of the outputs is tr(E M E'), E = rounded - W and M the second moment of the inputs (qig_edge.convert.calibration). Column by column, in
the order of the matrix: each is rounded to the grid of its blocks, and the columns still to come move by what minimises the change so far
(second-order rounding, as in optimal brain surgery; U below is the upper factor of M's inverse, whose rows are these moves).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qig_edge.convert.recipe import BLOCK
from qig_edge.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np

COMPENSATED = ("q4_0", "q4_1")  # the types whose steps are coarse enough to matter
DAMPING = 0.1  # of the mean second moment, added to each: M of few tokens has no inverse, and says little beyond them
# scales that are tried for Q4_0, as the largest weight's place on the grid of -8 to 7, and for Q4_1, as steps from the smallest to the largest
PLACES = (-9.0, -8.5, -8.0, -7.75, -7.5, -7.25, -7.0, -6.75, 6.5, 6.75, 7.0, 7.25, 7.5, 8.0)
STEPS = (14.5, 15.0, 15.5, 16.0, 16.5)


def blocks(weights: np.ndarray, kind: str, moment: np.ndarray | None, transposed: bool = False) -> np.ndarray:
    """The bytes of a matrix [out, in] in the blocks of `kind`, a type of COMPENSATED: uint8 rows as the file holds them.

    moment [in, in]: mean of x x' over inputs x; None: inputs of which nothing is known, so that scales are searched for and nothing is taken back.
    transposed: the file holds the transpose, whose blocks lie along the outputs. Raises CheckpointError where no scale of half precision fits.
    """
    import numpy as np

    width = weights.shape[1]
    known = moment is not None and float(np.trace(moment)) > 0
    factor = _inverse_factor(moment) if moment is not None and known else np.eye(width)
    w = weights.astype(np.float64)
    codes = np.empty(weights.shape, np.uint8)
    per = 1 if transposed else BLOCK  # columns that share scales
    scales: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, width, BLOCK):
        end = min(start + BLOCK, width)
        left = np.empty((len(w), end - start))
        for j in range(start, end):
            if j % per == 0:
                part = w[:, j : j + per].astype(np.float32)
                importance = 1 / np.diagonal(factor)[j : j + per].astype(np.float32) ** 2
                shaped = part.reshape(-1, BLOCK)
                d, m = _fit(shaped, np.broadcast_to(importance, part.shape).reshape(-1, BLOCK), kind)
                if not (np.isfinite(d).all() and np.isfinite(m).all()):
                    raise CheckpointError(f"a weight is too large for the half-precision scale of {kind}: use --f32")
                scales.append((d, m))
            column = w[:, j].reshape(-1, BLOCK) if transposed else w[:, j : j + 1]
            code = _codes(column, d, m, kind)
            restored = (code * d.astype(np.float64) + m).reshape(-1)
            codes[:, j] = (code - _lowest(kind)).reshape(-1)
            left[:, j - start] = (w[:, j] - restored) / factor[j, j]
            w[:, j:end] -= np.outer(left[:, j - start], factor[j, j:end])
        w[:, end:] -= left @ factor[start:end, end:]
    return _pack(codes.T if transposed else codes, scales, kind, transposed)


def lost(weights: np.ndarray, restored: np.ndarray, moment: np.ndarray | None) -> float:
    """Share of the products' energy that rounding changed, tr(E M E') / tr(W M W'); without a moment that of the weights themselves."""
    import numpy as np

    change, whole = restored.astype(np.float64) - weights, weights.astype(np.float64)
    if moment is None:
        total = float(np.square(whole).sum())
        return float(np.square(change).sum()) / total if total else 0.0
    total = float(np.einsum("ri,ij,rj->", whole, moment, whole, optimize=True))
    return float(np.einsum("ri,ij,rj->", change, moment, change, optimize=True)) / total if total > 0 else 0.0


def _inverse_factor(moment: np.ndarray) -> np.ndarray:
    """U [K, K], upper triangular, U' U = (M + damping)^-1."""
    import numpy as np

    damped = moment + np.eye(len(moment)) * (DAMPING * float(np.mean(np.diagonal(moment))))
    return np.linalg.cholesky(np.linalg.inv(damped)).T


def _lowest(kind: str) -> int:
    return -8 if kind == "q4_0" else 0


def _codes(x: np.ndarray, d: np.ndarray, m: np.ndarray, kind: str) -> np.ndarray:
    """Nearest places of x [N, n] on the grids d [N, 1] (and m): -8 to 7, or 0 to 15."""
    import numpy as np

    low = _lowest(kind)
    with np.errstate(divide="ignore"):
        inverse = np.where(d == 0, 0, 1 / d.astype(np.float64))
    return np.clip(np.rint((x - m) * inverse), low, low + 15)


def _half(d: np.ndarray) -> np.ndarray:
    import numpy as np

    with np.errstate(over="ignore"):
        return d.astype(np.float16).astype(np.float32)


def _fit(x: np.ndarray, importance: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Scales d [N, 1] and offsets m [N, 1] (0 for Q4_0) of blocks x [N, 32], in half precision, that lose least of sum importance (x - restored)^2
    among those tried: each start, and the least-squares fit to the places that it gives."""
    import numpy as np

    low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
    peak = np.take_along_axis(x, np.abs(x).argmax(-1, keepdims=True), -1)
    starts = [(peak / place, np.zeros_like(peak)) for place in PLACES]
    if kind == "q4_1":
        starts = [((high - low) / steps, low) for steps in STEPS]
    best = np.full(peak.shape, np.inf, np.float32)
    found_d, found_m = np.zeros_like(peak), np.zeros_like(peak)
    for d, m in starts:
        for _ in range(2):
            d, m = _half(d), _half(m)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                inverse = np.where(d == 0, np.float32(0), 1 / d)
                q = np.clip(np.rint((x - m) * inverse), _lowest(kind), _lowest(kind) + 15)
                error = (importance * np.square(x - m - q * d)).sum(-1, keepdims=True)
                better = error < best
                best = np.where(better, error, best)
                found_d, found_m = np.where(better, d, found_d), np.where(better, m, found_m)
                d, m = _least_squares(x, q, importance, d, m, kind)
    found_d[~np.isfinite(best)] = np.nan  # nothing fits: told by the caller
    return found_d, found_m


def _least_squares(
    x: np.ndarray, q: np.ndarray, w: np.ndarray, d: np.ndarray, m: np.ndarray, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """d (and m) that restore x best from the places q; as they were where q leaves them open."""
    import numpy as np

    qq, qx = (w * q * q).sum(-1, keepdims=True), (w * q * x).sum(-1, keepdims=True)
    if kind == "q4_0":
        return np.where(qq > 0, qx / np.where(qq > 0, qq, 1), d), m
    one, q1, x1 = w.sum(-1, keepdims=True), (w * q).sum(-1, keepdims=True), (w * x).sum(-1, keepdims=True)
    spread = one * qq - q1 * q1
    open_ = ~(spread > 1e-6 * one * qq)
    safe = np.where(open_, 1, spread)
    return np.where(open_, d, (one * qx - q1 * x1) / safe), np.where(open_, m, (qq * x1 - q1 * qx) / safe)


def _pack(codes: np.ndarray, scales: list[tuple[np.ndarray, np.ndarray]], kind: str, transposed: bool) -> np.ndarray:
    """codes [rows, width], 0 to 15, as GGUF's blocks: scale, for Q4_1 offset, then 16 bytes of which the low halves are the first 16 weights."""
    import numpy as np

    rows, width = codes.shape
    halves = codes.reshape(rows, width // BLOCK, 2, BLOCK // 2)
    nibbles = halves[:, :, 0] | (halves[:, :, 1] << 4)
    # scales came column group by column group; in the transpose a column's blocks are a row's
    parts = []
    for values in zip(*scales, strict=True) if kind == "q4_1" else [[d for d, _ in scales]]:
        grid = np.stack([v[:, 0] for v in values]) if transposed else np.concatenate(values, 1)
        parts.append(grid.astype("<f2")[..., None].view(np.uint8))
    return np.concatenate([*parts, nibbles], -1).reshape(rows, -1)
