"""How far the tokens of a text tell of each other: the window that training needs to see what there is to see.

The measure is recurrence: how much likelier than by chance the token d places later is the same one, sum_v p_d(v, v) /
sum_v p(v)^2 - 1, zero where tokens d apart are independent (the collision form of their mutual information). Below 16
places grammar rules, repeats being avoided; beyond, the subject does, and the recurrence falls with distance. The
correlation length is where it has fallen to 1/e of its highest.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from qig_edge.errors import ConfigError
from qig_edge.model.build import AnyConfig
from qig_edge.train.config import TrainConfig
from qig_edge.train.shards import Shard

NEAREST, FARTHEST = 16, 4096  # places
LEAST = 64  # a shorter window would leave attention nothing to do
SAMPLE = 1_000_000  # tokens of each source
PROBES = 8  # distances of an octave


def recurrence(tokens: np.ndarray, distances: list[int]) -> float:
    """Mean over distances of the excess probability, relative to chance, that tokens so far apart are equal; 0 where it
    is no more than noise.

    tokens: int [N], N greater than every distance.
    """
    counts = np.bincount(tokens)
    chance = float(np.square(counts / len(tokens)).sum())
    found = float(np.mean([np.mean(tokens[:-d] == tokens[d:]) for d in distances])) / chance - 1
    error = (len(tokens) * len(distances) * chance) ** -0.5
    return found if found > 4 * error else 0.0


def correlation_length(shards: dict[str, Shard], weights: dict[str, float]) -> int:
    """In tokens, from 16 to 4096, from the training tokens of the sources, each by its share of what is trained on."""
    distances = [NEAREST << k for k in range((FARTHEST // NEAREST).bit_length() - 1)]
    curve = np.zeros(len(distances))
    for name, weight in weights.items():
        tokens = np.asarray(shards[name].train[:SAMPLE])
        if len(tokens) >= 2 * FARTHEST:  # fewer can't tell
            octaves = [[d + d * k // PROBES for k in range(PROBES)] for d in distances]
            curve += weight * len(shards[name].train) * np.array([recurrence(tokens, octave) for octave in octaves])
    peak = int(np.argmax(curve))
    if not curve[peak] > 0:
        return NEAREST
    low = curve[peak] / math.e
    for k in range(peak + 1, len(distances)):
        if curve[k] < low:
            # octaves stand for their middles; between two of them the curve is a line over the logarithm
            share = (curve[k - 1] - low) / (curve[k - 1] - curve[k])
            return round(distances[k - 1] * math.sqrt(2) * 2**share)
    return FARTHEST


def choose_context(length: int, context_length: int, batch_tokens: int) -> int:
    """The shortest window, a power of two, that holds `length` tokens, fits the model and divides the batch.

    Raises ConfigError where no power of two does.
    """
    fitting = [1 << k for k in range(31) if 1 << k <= context_length and batch_tokens % (1 << k) == 0]
    useful = [c for c in fitting if c >= min(LEAST, context_length)] or fitting[-1:]
    if not useful or useful[-1] == 1:
        raise ConfigError(
            f"context = 0 (measure it) needs batch_tokens with a power of two as divisor, not {batch_tokens}"
        )
    return next((c for c in useful if c >= length), useful[-1])


def with_context(
    config: TrainConfig, model: AnyConfig, shards: dict[str, Shard], weights: dict[str, float]
) -> tuple[int, TrainConfig]:
    """The correlation length of the data, and the settings with a context that holds it. Raises ConfigError where none
    fits.
    """
    length = correlation_length(shards, weights)
    context = choose_context(length, model.context_length, config.batch_tokens)
    return length, dataclasses.replace(config, context=context)
