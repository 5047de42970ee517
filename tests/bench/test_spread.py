"""A trained model spread over a larger shape computes what it computed before."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gguf
import numpy as np
import pytest

from qig_edge.bench.random_model import random_model, write_random
from qig_edge.bench.spread import Spread, scaled, shares
from qig_edge.config import ModelConfig, preset_model
from qig_edge.errors import ConfigError
from qig_edge.runtime.assets import shipped_model
from qig_edge.runtime.native import NativeModel

SMALL = ModelConfig(
    vocab_size=300,
    d_model=64,
    n_layers=2,
    n_heads=4,
    n_kv_heads=2,
    head_dim=32,
    hidden_dim=96,
    basin_dim=32,
    context_length=256,
    coupling_beta=0.43,
)
LARGE = dataclasses.replace(
    SMALL, vocab_size=700, d_model=192, n_layers=4, n_heads=8, n_kv_heads=4, head_dim=64, hidden_dim=224, basin_dim=64, head_rank=64
)
STORY = """Once upon a time there was a little girl who lived in a house by the sea. Every morning she went down to the water to look for shells.
One day she found a shell that was as big as her hand. She took it home and put it on the table. "What a beautiful shell!" said her mother."""


def spread_of(small: ModelConfig, large: ModelConfig, folder: Path, kind: str = "q8_0") -> tuple[Path, Path]:
    write_random(small, "small", folder / "small.gguf", kind=kind, seed=5)
    write_random(large, "large", folder / "large.gguf", kind=kind, spread=Spread(folder / "small.gguf", large))
    return folder / "small.gguf", folder / "large.gguf"


@pytest.mark.parametrize("margin", ["0", "1.5"])
@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_the_same_function(tmp_path: Path, kind: str, margin: str) -> None:
    ids = [5 + 7 * i % 290 for i in range(60)]
    rows, active = [], []
    for path in spread_of(SMALL, LARGE, tmp_path, kind):
        with NativeModel(path, settings={"gate.margin": margin}) as model, model.session(n_ctx=64, n_threads=1) as session:
            rows.append(session.eval_all(ids))
            active.append(np.mean([session.telemetry(i).agency for i in range(60)]))
    small, large = rows[0], rows[1]
    assert small.std() > 0.1 and large.shape == (60, 700)
    # sums come in another order, which may turn an int8 rounding over; an error in the spreading moves logits by their own size
    assert np.abs(large[:, :300] - small).max() < 0.02 * np.abs(small).max()
    assert np.array_equal(large[:, 300:600], large[:, :300])  # the table's rows repeat
    if margin != "0":
        assert 0.05 < active[0] < 0.95 and 0.05 < active[1] < 0.95


def test_with_every_component_of_a_large_preset(tmp_path: Path) -> None:
    """The presets' own components (routing, regimes, exits, decoherence, symmetry, a draft) stand there and change nothing."""
    wide = preset_model("qig-100m")
    large = dataclasses.replace(
        wide, vocab_size=4096, d_model=512, n_heads=8, n_kv_heads=4, head_dim=128, hidden_dim=704, basin_dim=192, head_rank=192,
        shallow_dim=64, draft_dim=64, draft_vocab=512,
    )  # fmt: skip
    write_random(large, "large", tmp_path / "large.gguf", spread=Spread(shipped_model(), large))
    best = []
    for path in (shipped_model(), tmp_path / "large.gguf"):
        with NativeModel(path, settings={"gate.margin": "0"}) as model, model.session(n_ctx=256, n_threads=1) as session:
            ids = model.tokenize(STORY)
            best.append(session.eval_all(ids)[:, :4096].argmax(1))
            assert {session.telemetry(i).blocks_run for i in range(len(ids))} == {model.info.n_layers}
    # the head's coarser type decides otherwise where two words are about as likely
    assert len(best[0]) > 60 and (best[0] == best[1]).mean() > 0.9


def test_shares_and_scales() -> None:
    for n in range(1, 9):
        assert sum(shares(n)) == 1 and len(shares(n)) == n
    values = np.random.default_rng(1).standard_normal((3, 64)).astype(np.float32)
    for kind in (gguf.GGMLQuantizationType.Q4_0, gguf.GGMLQuantizationType.Q8_0):
        blocks = gguf.quants.quantize(values, kind)
        quarter = scaled(blocks.reshape(3, 2, -1), 0.25).reshape(3, -1)
        assert np.array_equal(gguf.quants.dequantize(quarter, kind), gguf.quants.dequantize(blocks, kind) / 4)


BAD = {
    "d_model = 96 must be a multiple": {"d_model": 96},
    "head_dim = 48 must be a multiple": {"head_dim": 48},
    "n_layers = 3 must be a multiple": {"n_layers": 3},
    "hidden_dim = 64 must be at least its own, 96": {"hidden_dim": 64},
    "basin_dim = 0 must be at least its own, 32": {"basin_dim": 0, "head_rank": 0},
    "vocab_size = 290 must be at least its own, 300": {"vocab_size": 290},
    "rope_base = 500.0 must be as in the file, 10000.0": {"rope_base": 500.0},
    "n_kv_heads = 1 is too few": {"n_kv_heads": 1},
}


@pytest.mark.parametrize("message", BAD)
def test_shapes_that_do_not_fit(tmp_path: Path, message: str) -> None:
    write_random(SMALL, "small", tmp_path / "small.gguf", kind="q8_0")
    with pytest.raises(ConfigError, match=message):
        Spread(tmp_path / "small.gguf", dataclasses.replace(LARGE, **BAD[message]))


def test_files_that_cannot_be_spread(tmp_path: Path) -> None:
    for name, changes, message in (
        ("gates", {"gate_learnt": True, "gate_threshold": 0.1}, "qig.gate.learnt"),
        ("plain", {"basin_dim": 0}, "without a basin embedding"),
        ("dense", {"attention": "dot", "basin_dim": 0, "decay": False}, "architecture qig"),
    ):
        write_random(dataclasses.replace(SMALL, **changes), name, tmp_path / f"{name}.gguf", kind="q8_0")
        with pytest.raises(ConfigError, match=message):
            Spread(tmp_path / f"{name}.gguf", LARGE)
    with pytest.raises(ConfigError, match="smollm-135m"):
        random_model("smollm-135m", tmp_path, trained=shipped_model())
