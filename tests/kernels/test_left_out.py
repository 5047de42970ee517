"""Keys that are left out of attention change nothing: at long contexts every float, record and choice is that of a session that reads all keys."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from qig_edge.errors import RuntimeFault
from qig_edge.runtime.native import NativeModel, isa_list

_spec = importlib.util.spec_from_file_location("qig_tiny", Path(__file__).with_name("tiny.py"))
assert _spec and _spec.loader
tiny = importlib.util.module_from_spec(_spec)
sys.modules["qig_tiny"] = tiny
_spec.loader.exec_module(tiny)
Tiny = tiny.Tiny

# one layer is enough where the cache is all that matters; slopes of 8 heads: 1/2, 1/4, 1/8 ..
BASE = {"type": "Q8_0", "layers": 1, "d": 32, "hidden": 32, "heads": 8, "kv_heads": 4, "head_dim": 16, "margin": 4.0}
TOKENS = 500  # the first two heads, one group, leave keys out from 256 on
CASES: dict[str, dict] = {
    "margin": {},
    "narrow": {"margin": 0.3},
    "wide": {"margin": 60.0},
    "threshold-too": {"threshold": 0.2},
    "thresholds-of-heads": {"gate_learnt": True},
    "fisher": {"metric": "fisher_rao", "threshold": 0.2},
    "phases": {"state": "diagonal"},
    "one-group": {"kv_heads": 1},
    "depth": {
        "layers": 5, "mandatory": 2, "regime": (0.45, 0.6, 0.3, 0.02, 0.7), "factors": (0.8, 1.0, 1.3), "exits": (2, 3, 4),
        "thresholds": (0.35, 0.3, 0.35), "rule": "probe", "loops": (1, 4), "min_phi": 0.4,
    },
}  # fmt: skip


def tokens_of(t: object, n: int, seed: int = 7) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(0, t.vocab, n)]


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def state(session: object, at: int) -> str:
    """Every field of a record but bytes_read; as text, so that NaN equals NaN."""
    return str(dataclasses.replace(session.telemetry(at), bytes_read=0))


@pytest.mark.parametrize("isa", isa_list())
@pytest.mark.parametrize("case", CASES)
def test_all_floats_are_those_of_reading_every_key(tmp_path: Path, isa: str, case: str) -> None:
    t = Tiny(**{**BASE, **CASES[case]}, context=TOKENS)
    tiny.write(tmp_path / "m.gguf", t)
    ids = tokens_of(t, TOKENS)
    row = t.state_dim + 4  # of a key; of a value head_dim + 4
    with (
        NativeModel(tmp_path / "m.gguf", isa) as model,
        model.session(n_threads=1, all_keys=True) as every,
        model.session(n_threads=2, n_batch=48) as session,
    ):
        for s in (every, session):
            s.eval(ids[:440])
        left_out = 0
        for step, at in enumerate(range(440, TOKENS)):
            assert same(every.logits(), session.logits()), f"before token {at}"
            for s in (every, session):
                s.eval([ids[at]])
            assert state(every, at) == state(session, at)
            a, b = every.cache_reads(at), session.cache_reads(at)
            assert (a.keys_sketched, a.sketch_bytes, a.keys_read) == (0, 0, a.keys_seen) and a.values_read == b.values_read
            assert b.keys_seen == a.keys_seen and 0 < b.keys_read <= b.keys_seen and b.keys_sketched <= b.keys_seen
            assert b.sketch_bytes == b.keys_sketched * (t.state_dim // 2 + 4)
            told = every.telemetry(at).bytes_read - session.telemetry(at).bytes_read
            assert told == (a.keys_read - b.keys_read) * row - b.sketch_bytes
            left_out += a.keys_read - b.keys_read
            if step == 20:  # other tokens over keys that stood in the cache, and blocks of the sketch that had been whole
                for s in (every, session):
                    s.rollback(405)
                    s.eval(tokens_of(t, 47, seed=9) + [ids[0]] * 8)
                    s.eval(ids[460:461])
        assert same(every.logits(), session.logits())
        # heads of a group share their keys: what one leaves out another may read
        assert left_out > 0 or case == "one-group", "nothing was left out"
        with pytest.raises(RuntimeFault, match="no record at position 500"):
            session.cache_reads(TOKENS)


def test_long_contexts(tmp_path: Path) -> None:
    """All heads leave keys out, by age, by their sketch, and where the sketch rules out too little."""
    t = Tiny(**{**BASE, "head_dim": 32}, context=64)
    tiny.write(tmp_path / "m.gguf", t)
    ids = tokens_of(t, 4400)
    with NativeModel(tmp_path / "m.gguf") as model, model.session(n_ctx=4400, all_keys=True) as every, model.session(n_ctx=4400) as session:
        for s in (every, session):
            s.eval(ids[:4390])
        for at in range(4390, 4400):
            assert same(every.logits(), session.logits())
            for s in (every, session):
                s.eval([ids[at]])
            reads = session.cache_reads(at)
            assert 0 < reads.keys_sketched < reads.keys_seen and 0 < reads.keys_read < reads.keys_seen / 2, reads
        assert session.cache_bytes > every.cache_bytes


@pytest.mark.parametrize("setting", [{"margin": 0.0}, {"margin": 0.0, "threshold": 0.2}, {"decay": False}, {"head_dim": 12}, {"type": "F32"}])
def test_no_sketch_where_it_would_not_be_read(tmp_path: Path, setting: dict) -> None:
    """Without a cut by the score, without decay, with a state that is no multiple of 8, with a float cache: no memory is taken for it."""
    t = Tiny(**{**BASE, **setting}, context=TOKENS)
    tiny.write(tmp_path / "m.gguf", t)
    with NativeModel(tmp_path / "m.gguf") as model, model.session(all_keys=True) as every, model.session() as session:
        session.eval(tokens_of(t, 300))
        reads = session.cache_reads(299)
        assert session.cache_bytes == every.cache_bytes and reads.keys_sketched == 0 and reads.keys_read == reads.keys_seen
