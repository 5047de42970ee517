"""Small Jarvis models: the torch one and the NumPy one with the same weights."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from qig_edge.jarvis.network import Network
from qig_edge.model.jarvis_config import JarvisConfig

TINY = JarvisConfig(vocab_size=61, d_model=32, n_layers=3, n_heads=4, hidden_dim=48, context_length=40)
PLAIN = dataclasses.replace(TINY, final_norm=False, norm_eps=1e-10, n_layers=2)


def network(config: JarvisConfig = TINY, seed: int = 3, dtype: Any = np.float32) -> Network:
    """Random, with gains and biases that are not 1 and 0."""
    made = Network.random(config, seed, dtype)
    rng = np.random.default_rng(seed)
    for w in made.weights.values():
        if w.ndim == 1:
            w += 0.3 * rng.standard_normal(w.shape)
    return made
