"""torch and libqig decide alike: which blocks a token runs, its regime and all telemetry, for every way of deciding and for all together.

A decision compares a measured number with a threshold. Where the two lie closer than the executors' arithmetic, the sides may differ
(a near-tie), and from there on so does everything: a text is compared up to its first near-tie, and most tokens must be compared.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qig_edge.config import load_preset, preset_names, qig_config
from qig_edge.convert.recipe import load_recipe, parts
from qig_edge.model.kernel import Kernel, Output
from qig_edge.runtime.native import NativeModel, isa_list
from tests.convert.tiny import DEPTHS, VOCAB, random_kernel, tiny_config, tiny_tokenizer, write

TOKENS = 40
FIELDS = ("phi", "surprise", "confidence", "agency", "curvature", "coherence_drift", "kappa")
TOKENIZER = tiny_tokenizer()


def torch_out(model: Kernel, recipe: str, ids: torch.Tensor) -> Output:
    model.fake_quantize(parts(model.config, load_recipe(recipe)), recipe != "f32")
    with torch.no_grad():
        return model(ids, observe=True)


def alike(path: Path, out: Output, ids: torch.Tensor, isa: str, logits_tolerance: float, tolerance: float) -> int:
    """Tokens up to the first decision that differs; everything before it is compared."""
    with NativeModel(path, isa) as native, native.session(n_threads=1, prompt_telemetry=True) as session:
        logits = session.eval_all(ids[0].tolist())
        records = [session.telemetry(i) for i in range(ids.shape[1])]
    told = out.telemetry
    assert told is not None
    ours = [(r.blocks_run, r.regime) for r in records]
    theirs = list(zip(told.blocks_run[0].tolist(), told.regime[0].tolist(), strict=True))
    same = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b), ids.shape[1])
    expected = out.logits[0].numpy()
    apart = np.abs(logits[:same] - expected[:same]).max(-1, initial=0.0)
    # a route that differs changes no count: it shows in the logits
    same = next((i for i, a in enumerate(apart) if not a <= logits_tolerance * expected.std()), same)
    for field in FIELDS:
        mine = np.array([getattr(r, field) for r in records[:same]])
        torchs = getattr(told, field)[0, :same].numpy()
        scale = np.abs(torchs).max(initial=1.0)
        assert (np.abs(mine - torchs) <= tolerance * scale).all(), (isa, field, np.abs(mine - torchs).max())
    return same


@pytest.mark.parametrize("kind", DEPTHS)
def test_f32_decides_as_torch(tmp_path: Path, kind: str) -> None:
    compared = possible = 0
    runs: set[int] = set()
    regimes: set[int] = set()
    for seed in (0, 1):
        model = random_kernel(tiny_config(**DEPTHS[kind]), seed)
        ids = torch.randint(5, VOCAB, (1, TOKENS), generator=torch.Generator().manual_seed(seed))
        write(tmp_path / "m.gguf", model, "f32", TOKENIZER)
        out = torch_out(model, "f32", ids)
        assert out.telemetry is not None
        runs |= set(out.telemetry.blocks_run[0].tolist())
        regimes |= set(out.telemetry.regime[0].tolist())
        for isa in isa_list():
            compared += alike(tmp_path / "m.gguf", out, ids, isa, 1e-3, 1e-3)
            possible += TOKENS
    assert compared >= 0.9 * possible, f"{compared} of {possible} tokens before a near-tie"
    if kind != "routing":
        assert len(runs) > 1, "no token stopped: nothing was decided"
    if model.config.regime:
        assert len(regimes) > 1


@pytest.mark.parametrize("recipe", ["q8", "q4"])
@pytest.mark.parametrize("kind", ["everything", "everything, diagonal, probed"])
def test_quantized_decides_as_torch_rounds(tmp_path: Path, kind: str, recipe: str) -> None:
    compared = possible = 0
    for seed in (0, 1, 2):
        model = random_kernel(tiny_config(**DEPTHS[kind]), seed)
        ids = torch.randint(5, VOCAB, (1, TOKENS), generator=torch.Generator().manual_seed(seed))
        write(tmp_path / "m.gguf", model, recipe, TOKENIZER)
        out = torch_out(model, recipe, ids)
        compared += alike(tmp_path / "m.gguf", out, ids, "auto", 0.25, 0.1)
        possible += TOKENS
    # where an activation lies at a half-way point both round it, to different sides: more ties than with floats
    assert compared >= 0.5 * possible, f"{compared} of {possible} tokens before a near-tie"


@pytest.mark.parametrize("kind", DEPTHS)
def test_torch_cache_on_equals_cache_off(kind: str) -> None:
    model = random_kernel(tiny_config(**DEPTHS[kind]), 3)
    ids = torch.randint(5, VOCAB, (2, TOKENS), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole = model(ids).logits
        cache, rows, at = None, [], 0
        for n in (9, 1, 1, 14, 1, 14):
            out = model(ids[:, at : at + n], cache=cache, keep_cache=True)
            cache, at = out.cache, at + n
            rows.append(out.logits)
    assert at == TOKENS
    assert (torch.cat(rows, 1) - whole).abs().max() <= 1e-4


@pytest.mark.parametrize("preset", [n for n in preset_names("qig") if not n.startswith("dense")])
def test_every_preset_at_reduced_size(tmp_path: Path, preset: str) -> None:
    fields = load_preset(preset)["model"]
    small = {
        "vocab_size": VOCAB,
        "d_model": 64,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 32,
        "hidden_dim": 96,
        "basin_dim": 32,
        "context_length": 64,
        "head_rank": 64 if fields.get("head_rank") else 0,
        "shallow_dim": 32 if fields.get("shallow_dim") else 0,
        **({"draft_dim": 96, "draft_vocab": VOCAB - 20} if fields.get("draft_lag") else {}),
        "decoherence_modes": 16 if fields.get("decoherence_modes") else 0,
    }
    model = random_kernel(qig_config({**fields, **small}, preset), 5)
    ids = torch.randint(5, VOCAB, (1, TOKENS), generator=torch.Generator().manual_seed(5))
    write(tmp_path / "m.gguf", model, "f32", TOKENIZER)
    compared = alike(tmp_path / "m.gguf", torch_out(model, "f32", ids), ids, "auto", 1e-3, 1e-3)
    assert compared >= 0.9 * TOKENS, f"{compared} of {TOKENS} tokens before a near-tie"
