"""What every test stands on: a home folder of its own, printed seeds, and the data folder where there is one.

QIG_TEST_SEED=N repeats a run's random numbers; QIG_EDGE_DATA names the folder with train/ and eval/ text that some tests read.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

SEED = int(os.environ.get("QIG_TEST_SEED") or random.SystemRandom().randrange(2**31))

# No test is timed: the machines of CI are slow at random.
settings.register_profile("qig-edge", deadline=None, print_blob=True)
settings.load_profile("qig-edge")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = SEED


def pytest_report_header(config: pytest.Config) -> list[str]:
    data = os.environ.get("QIG_EDGE_DATA", "not set: tests that read it skip")
    return [
        f"random, numpy and torch seed: {SEED} (QIG_TEST_SEED), hypothesis seed: {config.option.hypothesis_seed} (--hypothesis-seed)",
        f"QIG_EDGE_DATA: {data}",
    ]


@pytest.fixture(autouse=True, scope="session")
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Points HOME and the folders that follow it to a temporary place: no test reads or writes the user's files, or the network."""
    home = tmp_path_factory.mktemp("home")
    user_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    with pytest.MonkeyPatch.context() as patch:
        # zig's compiled C libraries are worth minutes, and the same for everybody: the one thing kept
        patch.setenv("ZIG_GLOBAL_CACHE_DIR", os.environ.get("ZIG_GLOBAL_CACHE_DIR") or str(user_cache / "zig"))
        patch.setenv("HOME", str(home))
        for name, folder in (
            ("XDG_CACHE_HOME", ".cache"),
            ("XDG_CONFIG_HOME", ".config"),
            ("XDG_DATA_HOME", ".local/share"),
            ("XDG_STATE_HOME", ".local/state"),
            ("HF_HOME", ".cache/huggingface"),
            ("MPLCONFIGDIR", ".config/matplotlib"),
        ):
            (home / folder).mkdir(parents=True)
            patch.setenv(name, str(home / folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("MPLBACKEND", "Agg")
        yield home


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Every test starts from the same printed seed, whatever ran before it."""
    random.seed(SEED)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(SEED)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)
        # two threads on two busy cores wait for each other longer than one computes
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with train/ and eval/; the test skips where QIG_EDGE_DATA does not name one."""
    given = os.environ.get("QIG_EDGE_DATA")
    if not given:
        pytest.skip("QIG_EDGE_DATA is not set: it names the folder with the text that this test reads")
    folder = Path(given)
    if not folder.is_dir():
        pytest.fail(f"QIG_EDGE_DATA={given} is no folder")
    return folder


@pytest.fixture(scope="session")
def repository() -> Path:
    """Top of the source tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Q4_0 file of about 40 thousand random weights, context 64; its end tokens' rows are zero, so that a greedy answer never ends by itself."""
    from qig_edge.bench.random_model import write_random
    from qig_edge.config import ModelConfig
    from qig_edge.runtime.native import NativeModel

    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    shape = {"vocab_size": 320, "d_model": 64, "n_layers": 2, "n_heads": 2, "n_kv_heads": 1, "head_dim": 32, "hidden_dim": 96}
    config = ModelConfig(**shape, basin_dim=32, context_length=64)
    write_random(config, "tiny", path, seed=7)
    with NativeModel(path) as model:
        table = next(t for t in model.tensors() if t.name == "token_embd.weight")
        ends = (model.eos, model.eot)
    row = table.bytes // config.vocab_size
    data = bytearray(path.read_bytes())
    for token in ends:
        assert token is not None
        data[table.offset + row * token : table.offset + row * (token + 1)] = bytes(row)
    path.write_bytes(data)
    return path


def wanted(what: str) -> None:
    """.ci/run, which sets QIG_CI, has it all; elsewhere the test skips and says what is missing."""
    if os.environ.get("QIG_CI"):
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"{what} is not installed")
