"""How a token is drawn from logits, in NumPy: docs/formats.md, "Sampling", as kernels/src/sampler.c does it.

For back ends that are not libqig. The random numbers are the same; the token is, as long as the logits are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qig_edge.errors import RuntimeFault
from qig_edge.runtime.backend import Sampling

if TYPE_CHECKING:
    import numpy as np

MULTIPLIER, INCREMENT, MASK = 6364136223846793005, 1442695040888963407, 2**64 - 1  # PCG32


def seeded(seed: int) -> int:
    """The generator's first state."""
    return ((seed + INCREMENT) * MULTIPLIER + INCREMENT) & MASK


def uniform(state: int) -> tuple[float, int]:
    """A number in [0, 1) of 53 bits, and the state after it: two steps of PCG32 (XSH RR)."""
    words = []
    for _ in range(2):
        x, turn = ((state >> 18) ^ state) >> 27 & 0xFFFFFFFF, state >> 59
        words.append((x >> turn | x << (-turn & 31)) & 0xFFFFFFFF)
        state = (state * MULTIPLIER + INCREMENT) & MASK
    return ((words[0] >> 5) << 26 | words[1] >> 6) * 2.0**-53, state


def draw(sampling: Sampling, logits: np.ndarray, history: np.ndarray, state: int) -> tuple[int, int]:
    """A token for logits float32[V] after the tokens int[n], and the generator's state after it; greedy draws leave the state alone.

    Raises RuntimeFault for logits that are not numbers, or of which the highest is infinite.
    """
    import numpy as np

    bad = np.isnan(logits)
    if bad.any():
        raise RuntimeFault(f"the logit of token {int(bad.argmax())} is not a number")
    last = history[max(0, len(history) - sampling.repeat_last_n) :]
    if sampling.repeat_penalty != 1 and len(last):
        logits, ids = logits.copy(), np.unique(last)
        penalty = np.float32(sampling.repeat_penalty)
        logits[ids] = np.where(logits[ids] > 0, logits[ids] / penalty, logits[ids] * penalty)
    best = int(logits.argmax())  # of equals the lowest id
    if not np.isfinite(logits[best]):
        raise RuntimeFault("the highest logit is infinite")
    if sampling.temperature == 0 or sampling.top_k == 1:
        return best, state
    ids = np.arange(len(logits))
    if 0 < sampling.top_k < len(logits):
        ids = np.flatnonzero(logits >= np.partition(logits, -sampling.top_k)[-sampling.top_k])
    ids = ids[np.argsort(-logits[ids], kind="stable")][: sampling.top_k or None]
    weights = np.exp((logits[ids] - logits[best]).astype(np.float64) / sampling.temperature)
    kept = len(ids)
    if sampling.top_p < 1:
        # as many of the likeliest as it takes to reach top_p of the mass
        kept = int(np.searchsorted(np.cumsum(weights), sampling.top_p * math.fsum(weights))) + 1
    weights = weights[:kept][weights[:kept] >= sampling.min_p]
    u, state = uniform(state)
    sums = np.cumsum(weights)
    return int(ids[min(int(np.searchsorted(sums, u * sums[-1], side="right")), len(sums) - 1)]), state
