"""A preset small enough to train in seconds, text to train it on, and runs of the real command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PRESET = """
[model]
vocab_size = 400
d_model = 32
n_layers = 2
n_heads = 2
n_kv_heads = 1
head_dim = 16
hidden_dim = 64
basin_dim = 32
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
def preset(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("presets")

    def write(optimizer: str = "adamw") -> Path:
        path = folder / f"tiny-{optimizer}.toml"
        path.write_text(PRESET.format(optimizer=optimizer), "utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stories and conversations of the project's own corpus, as JSON lines."""
    from qig_edge.corpus.generate import records

    path = tmp_path_factory.mktemp("text") / "corpus.jsonl"
    path.write_text(
        "".join(json.dumps(r) + "\n" for kind in ("tales", "talk") for r in records(60, 5, (kind,))), "utf-8"
    )
    return path


def arguments(*args: object) -> list[str]:
    return [sys.executable, "-m", "qig_edge.cli", "train", "--threads", "1", *map(str, args)]


@pytest.fixture(scope="session")
def train() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `qig-edge train` in a process of its own."""

    def run(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(arguments(*args), capture_output=True, text=True, timeout=300)
        assert done.returncode == code, done.stderr
        return done

    return run
