"""torch and libqig on the same files: logits, telemetry, decode against prefill, for every kind of model that a file can hold.

Tolerances. F32: both sum float32 products of at most 96 terms in other orders, 1e-4 is stated. Quantized files: where both round every activation
to the same int8, the difference stays at float32's (5e-6 of the logits' spread); where a value lies so close to a half-way point that the order of
a sum decides, one activation moves by 1/127 of its block's largest, and so does all that follows: up to 0.1 of the spread was measured over 120
models, 0.25 is the limit. So that nothing systematic hides under that limit, at least a quarter of the rows has to agree as closely as floats do.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from qig_edge.convert.recipe import load_recipe, parts
from qig_edge.model.kernel import Kernel, Output
from qig_edge.runtime.native import NativeModel, isa_list
from tests.convert.tiny import KINDS as QIG
from tests.convert.tiny import TWINS, VOCAB, random_kernel, tiny_config, tiny_tokenizer, write

KINDS = QIG | TWINS
SEEDS = (0, 1, 2)  # fixed: which activations lie at a half-way point depends on them
TOKENS = 32
CLOSE, LIMIT = 1e-4, 0.25  # of the logits' standard deviation
FIELDS = {"phi": 0.02, "surprise": 0.05, "confidence": 0.05, "agency": 0.05, "curvature": 0.03, "kappa": 1e-5}
TOKENIZER = tiny_tokenizer()


class Case(NamedTuple):
    model: Kernel
    ids: torch.Tensor  # [1, TOKENS]
    path: Path
    out: Output


def case(folder: Path, kind: str, recipe: str, seed: int) -> Case:
    """A random model, its file, and what torch makes of a random text with the file's rounding."""
    model = random_kernel(tiny_config(**KINDS[kind]), seed)
    path = folder / f"{seed}.gguf"
    write(path, model, recipe, TOKENIZER)
    ids = torch.randint(5, VOCAB, (1, TOKENS))
    model.fake_quantize(parts(model.config, load_recipe(recipe)), recipe != "f32")
    with torch.no_grad():
        return Case(model, ids, path, model(ids, observe=True))


@pytest.mark.parametrize("kind", KINDS)
def test_f32_within_1e_4_of_torch(tmp_path: Path, kind: str) -> None:
    ran = 0
    for isa in isa_list():
        c = case(tmp_path, kind, "f32", 0)
        with NativeModel(c.path, isa) as native, native.session(n_threads=1, prompt_telemetry=True) as session:
            error = np.abs(session.eval_all(c.ids[0].tolist()) - c.out.logits[0].numpy()).max()
            assert error <= 1e-4, (isa, error)
            assert_telemetry(session, c, 1e-2)
            ran += 1
    assert ran >= 1


@pytest.mark.parametrize("recipe", ["f16", "q8", "q4"])
@pytest.mark.parametrize("kind", KINDS)
def test_quantized_file_computes_what_torch_rounds_to(tmp_path: Path, kind: str, recipe: str) -> None:
    close, ran = [], 0
    for seed in SEEDS:
        c = case(tmp_path, kind, recipe, seed)
        expected = c.out.logits[0].numpy()
        for isa in isa_list():
            with NativeModel(c.path, isa) as native, native.session(n_threads=1, prompt_telemetry=True) as session:
                error = np.abs(session.eval_all(c.ids[0].tolist()) - expected).max(-1) / expected.std()
                assert error.max() <= LIMIT, (seed, isa, error.max())
                close += [e <= CLOSE for e in error]
                assert_telemetry(session, c, 1.0)
                ran += 1
    assert ran == len(SEEDS) * len(isa_list())
    assert np.mean(close) >= 0.25, f"{np.mean(close):.0%} of the rows agree to {CLOSE}"


def assert_telemetry(session: object, c: Case, share: float) -> None:
    """Every field of every token within its tolerance times share (kappa, which nothing is rounded for, always 1e-5 of itself)."""
    records = [session.telemetry(i) for i in range(TOKENS)]  # type: ignore[attr-defined]
    seen = c.out.telemetry
    assert seen is not None
    for field, tolerance in FIELDS.items():
        ours, torchs = np.array([getattr(r, field) for r in records]), getattr(seen, field)[0].numpy()
        if field == "kappa" and c.model.config.attention == "dot":  # torch's metrics give a twin the constant kappa_0, a file knows of none
            torchs = np.zeros_like(torchs)
        limit = tolerance * np.abs(torchs).max() if field == "kappa" else tolerance * share
        assert (np.abs(ours - torchs) <= limit).all(), (field, np.abs(ours - torchs).max())
    assert [r.blocks_run for r in records] == seen.blocks_run[0].tolist()
    assert all(r.bytes_read > 0 for r in records)


@pytest.mark.parametrize("recipe", ["f32", "q8", "q4"])
@pytest.mark.parametrize("kind", KINDS)
def test_prefill_equals_decode_bit_for_bit(tmp_path: Path, kind: str, recipe: str) -> None:
    c = case(tmp_path, kind, recipe, 1)
    ids = c.ids[0].tolist()
    for isa in isa_list():
        with NativeModel(c.path, isa) as native:
            with native.session(n_threads=1, prompt_telemetry=True) as session:
                at_once = session.eval_all(ids)
                told = [session.telemetry(i) for i in range(TOKENS)]
            with native.session(n_threads=2, n_batch=5, prompt_telemetry=True) as session:
                assert (session.eval_all(ids) == at_once).all()
            with native.session(n_threads=1) as session:
                for i, token in enumerate(ids):
                    session.eval([token])
                    assert (session.logits() == at_once[i]).all(), (isa, i)
                    one = session.telemetry(i)
                    assert [getattr(one, f) for f in FIELDS] == [getattr(told[i], f) for f in FIELDS], (isa, i)


@pytest.mark.parametrize("int8_cache", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_torch_cache_on_equals_cache_off(kind: str, int8_cache: bool) -> None:
    model = random_kernel(tiny_config(**KINDS[kind]), 2)
    model.fake_quantize(None, int8_cache)
    ids = torch.randint(5, VOCAB, (2, TOKENS))
    with torch.no_grad():
        whole = model(ids).logits
        cache, rows, at = None, [], 0
        for n in (7, 1, 1, 12, 1, 10):
            out = model(ids[:, at : at + n], cache=cache, keep_cache=True)
            cache, at = out.cache, at + n
            rows.append(out.logits)
    assert at == TOKENS
    error = (torch.cat(rows, 1) - whole).abs().max().item()
    # an int8 state whose entry lies at a half-way point may round the other way
    assert error <= (0.25 * whole.std().item() if int8_cache else 1e-4), error
