"""A Jarvis preset small enough to train in seconds, and runs of the real command (tests/train/conftest.py)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.train.conftest import text, train  # noqa: F401

PRESET = """
[model]
architecture = "jarvis"
vocab_size = 400
d_model = 32
n_layers = 2
n_heads = 4
hidden_dim = 64
context_length = 64
[train]
tokens = 12288
batch_tokens = 512
micro_tokens = 256
context = 32
final_context = 64
warmup_tokens = 1024
optimizer = "{optimizer}"
precision = "float32"
eval_tokens = 4096
save_tokens = 1024
validation_permille = 100
"""


@pytest.fixture(scope="session")
def preset(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    folder = tmp_path_factory.mktemp("presets")

    def write(optimizer: str = "adamw") -> Path:
        path = folder / f"jarvis-{optimizer}.toml"
        path.write_text(PRESET.format(optimizer=optimizer), "utf-8")
        return path

    return write
