"""A tiny model with random weights, through the real library."""

from __future__ import annotations

from pathlib import Path

import pytest

from qig_edge.bench.random_model import write_random
from qig_edge.config import ModelConfig


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Q4_0 file of about 40 thousand weights, context 64."""
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    config = ModelConfig(
        vocab_size=320,
        d_model=64,
        n_layers=2,
        n_heads=2,
        n_kv_heads=1,
        head_dim=32,
        hidden_dim=96,
        basin_dim=32,
        context_length=64,
    )
    write_random(config, "tiny", path, seed=7)
    return path
