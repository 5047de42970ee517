"""Running the command line inside this process, and a tiny model to run it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from qig_edge.bench.random_model import write_random
from qig_edge.cli import main
from qig_edge.config import ModelConfig
from qig_edge.runtime.native import NativeModel


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, context 64; the rows of its end tokens are zero, so that a greedy answer never ends by itself."""
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
    with NativeModel(path) as model:
        table = next(t for t in model.tensors() if t.name == "token_embd.weight")
        ends = (model.eos, model.eot)
    row = table.bytes // 320
    data = bytearray(path.read_bytes())
    for token in ends:
        assert token is not None
        data[table.offset + row * token : table.offset + row * (token + 1)] = bytes(row)
    path.write_bytes(data)
    return path


@pytest.fixture()
def qig_edge(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """qig_edge(*args) runs one command and gives its exit code, stdout and stderr."""

    def run(*args: object) -> Result:
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in args])
        out, err = capfd.readouterr()
        return Result(int(left.value.code or 0), out, err)

    return run
