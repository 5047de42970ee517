"""The engine against float64 arithmetic, and against itself: batch sizes, threads, splits, rollback and sliding change no bit."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import qig_edge
from qig_edge.errors import RuntimeFault
from qig_edge.runtime.backend import ContextFull, Sampling
from qig_edge.runtime.native import NativeModel, isa_list
from qig_edge.runtime.prototypes import library

_spec = importlib.util.spec_from_file_location("qig_tiny", Path(__file__).with_name("tiny.py"))
assert _spec and _spec.loader
tiny = importlib.util.module_from_spec(_spec)
sys.modules["qig_tiny"] = tiny
_spec.loader.exec_module(tiny)
Tiny = tiny.Tiny

RAGGED = {"d": 50, "heads": 6, "kv_heads": 3, "head_dim": 10, "hidden": 77, "basin": 21, "rank": 13, "vocab": 2391}
MATHS = {
    "pure": {},
    "fisher": {"metric": "fisher_rao"},
    "phases": {"state": "diagonal"},
    "no-phases": {"state": "diagonal", "phases": False, "metric": "fisher_rao"},
    "no-decay": {"decay": False},
    "margin": {"margin": 2.0},
    "threshold": {"threshold": 0.2, "margin": 4.0},
    "fisher-threshold": {"metric": "fisher_rao", "threshold": 0.2},
    "tied": {"rank": 0},
    "no factors": {"basin": 0, "rank": 0},
    "factors of the head alone": {"basin": 0},
    "one-group": {"kv_heads": 1},
}
FIELDS = {"phi": 2e-5, "agency": 1e-6, "curvature": 2e-5, "kappa": 1e-4, "surprise": 2e-3, "confidence": 2e-5}


def tokens_of(t: object, n: int, seed: int = 7) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(0, t.vocab, n)]


@pytest.fixture(params=isa_list())
def isa(request: pytest.FixtureRequest) -> str:
    return request.param


def records(session: object, n: int) -> dict[str, np.ndarray]:
    kept = [session.telemetry(i) for i in range(n)]
    return {f: np.array([getattr(r, f) for r in kept]) for f in FIELDS}


def assert_records(session: object, run: object, n: int, scale: float = 1) -> None:
    for field, values in records(session, n).items():
        error = np.abs(values - getattr(run, field)[:n]).max()
        assert error <= FIELDS[field] * scale, f"{field} differs by {error}"


@pytest.mark.parametrize("shape", [{}, RAGGED], ids=["even", "ragged"])
@pytest.mark.parametrize("maths", MATHS.values(), ids=MATHS)
def test_float32_file_equals_float64(tmp_path: Path, isa: str, shape: dict, maths: dict) -> None:
    t = Tiny(**{**shape, **maths})
    weights, ids = tiny.write(tmp_path / "m.gguf", t), tokens_of(t, 24)
    run = tiny.forward(t, weights, ids, "f32")
    assert run.closest > 1e-5, "a pair stands on the edge of a gate: choose another seed"
    if t.margin or t.threshold:
        assert 0.05 < run.agency[8:].mean() < 0.95  # the gate does something, and not everything
    with NativeModel(tmp_path / "m.gguf", isa) as model, model.session(n_threads=2) as session:
        logits = session.eval_all(ids)
        error = np.abs(logits - run.logits).max()
        assert error <= 1e-4, f"logits differ by {error} (seed {t.seed})"
        assert_records(session, run, len(ids))
        assert session.cache_bytes == t.layers * t.kv_heads * t.context * (t.state_dim + t.head_dim) * 4


@pytest.mark.parametrize("kind", ["F16", "Q8_0", "Q4_0"])
@pytest.mark.parametrize("maths", ["pure", "phases", "no-phases", "margin", "tied", "no factors"])
def test_quantized_file_equals_emulated_rounding(tmp_path: Path, isa: str, kind: str, maths: str) -> None:
    types = ("blk.1.attn_v", "F16"), ("blk.0.ffn_down", "Q8_0"), ("output_down", "F32")
    t = Tiny(type=kind, types=types, **MATHS[maths])
    weights, ids = tiny.write(tmp_path / "m.gguf", t), tokens_of(t, 24)
    run = tiny.forward(t, weights, ids, "i8")
    with NativeModel(tmp_path / "m.gguf", isa) as model, model.session(n_threads=1) as session:
        logits = session.eval_all(ids)
        # A value that float32 and float64 round to different integers moves everything after it a little; most tokens see none.
        error = np.abs(logits - run.logits).max(axis=1) / run.logits.std()
        assert np.median(error) <= 2e-3, f"median {np.median(error)}, worst {error.max()} (seed {t.seed})"
        assert error.max() <= 0.1, f"worst {error.max()}"
        entry = t.layers * t.kv_heads * t.context
        assert session.cache_bytes == entry * (t.state_dim + t.head_dim + 8)
        # the rounding is what the format says: without it the reference is further off than the engine
        plain = tiny.forward(t, tiny.Weights(weights.by_name, set(), weights.bytes), ids, "f32")
        assert np.median(np.abs(logits - plain.logits).max(axis=1) / run.logits.std()) > 2 * np.median(error)


def test_float32_weights_with_int8_cache_and_back(tmp_path: Path, isa: str) -> None:
    t = Tiny()
    weights, ids = tiny.write(tmp_path / "m.gguf", t), tokens_of(t, 24)
    for cache, close in (("f32", 1e-4), ("i8", 2e-2)):
        run = tiny.forward(t, weights, ids, cache)
        with NativeModel(tmp_path / "m.gguf", isa) as model, model.session(cache_type=cache) as session:
            error = np.abs(session.eval_all(ids) - run.logits).max(axis=1)
            assert np.median(error) <= 1e-4 and error.max() <= close, f"{cache}: {error}"


ENGINES = {
    "f32": Tiny(**RAGGED, context=200, margin=3.0),
    "q8-diagonal": Tiny(type="Q8_0", state="diagonal", context=200),
    "q4": Tiny(type="Q4_0", types=(("output", "Q8_0"), ("blk.0.attn_k", "F16")), context=200, vocab=4500),
}


@pytest.fixture(params=ENGINES.values(), ids=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    tiny.write(tmp_path / "m.gguf", request.param)
    return request.param


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_prefill_equals_decode_bit_for_bit(tmp_path: Path, isa: str, engine: object) -> None:
    ids = tokens_of(engine, 70)
    with NativeModel(tmp_path / "m.gguf", isa) as model:
        with model.session(n_threads=1) as session:
            rows = []
            for token in ids:
                session.eval([token])
                rows.append(session.logits().copy())
            decoded, kept = np.stack(rows), records(session, len(ids))
        assert np.isfinite(decoded).all()
        cases = 0
        for n_batch in (1, 3, 32, 128):
            for n_threads, n_threads_batch in ((1, 0), (2, 5), (5, 2), (0, 0)):
                threads = {"n_threads": n_threads, "n_threads_batch": n_threads_batch}
                with model.session(**threads, n_batch=n_batch, prompt_telemetry=True) as session:
                    assert same(session.eval_all(ids[:41]), decoded[:41])
                    session.eval(ids[41:64])
                    assert same(session.logits(), decoded[63])
                    session.eval(ids[64:])
                    assert same(session.logits(), decoded[-1])
                    for field, values in records(session, len(ids)).items():
                        assert same(values, kept[field]), field
                cases += 1
        assert cases == 16


def test_unobserved_prompts_leave_the_running_mean_alone(tmp_path: Path) -> None:
    t = Tiny()
    weights, ids = tiny.write(tmp_path / "m.gguf", t), tokens_of(t, 20)
    run = tiny.forward(t, weights, ids, "f32")
    with NativeModel(tmp_path / "m.gguf") as model, model.session() as session:
        session.eval(ids[:10])
        session.eval([ids[10]])
        kept = records(session, 11)
        assert (
            kept["surprise"][0] == 0
            and np.isnan(kept["surprise"][1:10]).all()
            and np.isnan(kept["confidence"][:9]).all()
        )
        purity = run.confidence[9] / (1 - _mean(run.surprise[1:10]))
        assert abs(kept["confidence"][9] - purity) <= 1e-4
        assert abs(kept["surprise"][10] - run.surprise[10]) <= 2e-3
        for field in ("phi", "agency", "curvature", "kappa"):
            assert np.abs(kept[field] - getattr(run, field)[:11]).max() <= 2e-4


def _mean(surprise: np.ndarray) -> float:
    m = 0.0
    for s in surprise:
        m += (s - m) / 16
    return m


def test_bytes_read(tmp_path: Path) -> None:
    t = Tiny(type="Q8_0", decay=False)
    tiny.write(tmp_path / "m.gguf", t)
    with NativeModel(tmp_path / "m.gguf") as model, model.session() as session:
        ids = tokens_of(t, 9)
        for token in ids:
            session.eval([token])
        for i in range(9):
            cache = t.layers * t.kv_heads * (i + 1) * (t.state_dim + t.head_dim + 8)
            assert session.telemetry(i).bytes_read == model.info.weight_bytes + cache
            assert session.telemetry(i).blocks_run == t.layers
        session.rollback(0)
        session.eval(ids[:8])
        shared = [
            session.telemetry(i).bytes_read - t.layers * t.kv_heads * (i + 1) * (t.state_dim + t.head_dim + 8)
            for i in range(8)
        ]
        assert len(set(shared)) == 1 and model.info.weight_bytes / 8 < shared[0] < model.info.weight_bytes / 4


def test_rollback_brings_everything_back(tmp_path: Path, isa: str, engine: object) -> None:
    ids, other = tokens_of(engine, 40), tokens_of(engine, 40, seed=8)
    drawing = Sampling(temperature=1.5, top_k=0, top_p=1.0, min_p=0.0, seed=11)
    with NativeModel(tmp_path / "m.gguf", isa) as model, model.session(n_threads=2) as session:
        session.set_sampler(drawing)
        session.eval(ids[:20])
        before = session.logits().copy()
        drawn = [_step(session) for _ in range(10)]
        after, kept = session.logits().copy(), records(session, 30)
        session.rollback(30)  # nothing to forget but the draws
        assert same(session.logits(), after)
        next_one = session.sample()
        for bad in (-1, 31):
            with pytest.raises(RuntimeFault):
                session.rollback(bad)
        session.rollback(20)
        assert session.pos == 20 and same(session.logits(), before)
        with pytest.raises(RuntimeFault):
            session.telemetry(20)
        session.eval(other[:17])
        session.rollback(20)
        assert [_step(session) for _ in range(10)] == drawn and same(session.logits(), after)
        again = records(session, 30)
        assert all(same(kept[f], again[f]) for f in kept)
        assert session.sample() == next_one
        session.rollback(0)
        assert session.pos == 0 and list(session.tokens) == []
        with pytest.raises(RuntimeFault):
            session.logits()
        session.eval(ids[:20])
        assert same(session.logits(), before)


def _step(session: object) -> int:
    token = session.sample()
    session.eval([token])
    return token


def test_slide_equals_a_fresh_session(tmp_path: Path, isa: str, engine: object) -> None:
    ids = tokens_of(engine, 60)
    with NativeModel(tmp_path / "m.gguf", isa) as model:
        for keep, tail in ((7, 20), (0, 33), (5, 0), (20, 40)):
            with model.session() as session, model.session() as fresh:
                session.eval(ids)
                session.slide(keep, tail)
                kept = ids[:keep] + ids[len(ids) - tail :]
                fresh.eval(kept)
                assert list(session.tokens) == kept and same(session.logits(), fresh.logits())
                session.eval([3]), fresh.eval([3])
                assert same(session.logits(), fresh.logits())
                a, b = records(session, len(kept) + 1), records(fresh, len(kept) + 1)
                assert all(same(a[f], b[f]) for f in a)
        with model.session() as session:
            session.eval(ids)
            for keep, tail in ((-1, 3), (61, 0), (30, 31), (3, -1)):
                with pytest.raises(RuntimeFault):
                    session.slide(keep, tail)
            assert session.pos == 60
            session.slide(0, 0)
            assert session.pos == 0


def test_a_full_context_is_refused_whole(tmp_path: Path) -> None:
    t = Tiny()
    tiny.write(tmp_path / "m.gguf", t)
    ids = tokens_of(t, 20)
    with NativeModel(tmp_path / "m.gguf") as model, model.session(n_ctx=16) as session:
        with pytest.raises(ContextFull, match="16"):
            session.eval(ids[:17])
        assert session.pos == 0
        session.eval(ids[:10])
        before = session.logits().copy()
        with pytest.raises(ContextFull):
            session.eval(ids[:7])
        for bad in ([-1], [t.vocab], [1, 2, 2**31 - 1]):
            with pytest.raises(RuntimeFault, match="vocabulary"):
                session.eval(bad)
        with pytest.raises(RuntimeFault):
            session.eval([])
        assert session.pos == 10 and same(session.logits(), before)
        session.eval(ids[10:16])
        assert session.pos == 16
        for bad in ({"n_ctx": -1}, {"n_threads": 9999}, {"n_threads_batch": 9999}, {"n_batch": -2}):
            with pytest.raises(RuntimeFault, match=next(iter(bad))):
                model.session(**bad)


def test_version_is_the_packages() -> None:
    assert library().qig_version().decode() == qig_edge.__version__


# --- sampling ---------------------------------------------------------------------------------------------------------------------------


def expected(logits: np.ndarray, s: Sampling, history: list[int]) -> np.ndarray:
    """The distribution that docs/formats.md defines, in float64."""
    x = logits.astype(np.float64)
    for token in set(history[len(history) - s.repeat_last_n :] if s.repeat_last_n else []):
        x[token] = x[token] / s.repeat_penalty if x[token] > 0 else x[token] * s.repeat_penalty
    order = sorted(range(len(x)), key=lambda i: (-x[i], i))
    if s.top_k:
        order = order[: s.top_k]
    p = np.exp((x[order] - x[order[0]]) / s.temperature)
    p /= p.sum()
    keep = len(p) if s.top_p == 1 else int(np.searchsorted(np.cumsum(p), s.top_p * (1 - 1e-12))) + 1
    out = np.zeros(len(x))
    for token, mass in zip(order[:keep], p[:keep], strict=True):
        if mass >= s.min_p * p[0]:
            out[token] = mass
    return out / out.sum()


@pytest.mark.parametrize(
    "drawing",
    [
        Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, seed=5),
        Sampling(temperature=0.8, top_k=12, top_p=1.0, min_p=0.0, repeat_penalty=1.0, seed=6),
        Sampling(temperature=1.3, top_k=0, top_p=0.6, min_p=0.0, repeat_penalty=1.0, seed=7),
        Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.02, repeat_penalty=1.0, seed=8),
        Sampling(temperature=0.9, top_k=40, top_p=0.8, min_p=0.05, repeat_penalty=1.5, repeat_last_n=4, seed=9),
    ],
    ids=["plain", "top-k", "top-p", "min-p", "all"],
)
def test_draws_follow_the_distribution(tmp_path: Path, drawing: Sampling) -> None:
    t, n = Tiny(), 6000
    tiny.write(tmp_path / "m.gguf", t)
    ids = tokens_of(t, 8)
    with NativeModel(tmp_path / "m.gguf") as model, model.session() as session:
        session.eval(ids)
        p = expected(session.logits(), drawing, ids)
        session.set_sampler(drawing)
        draws = [session.sample() for _ in range(n)]
        counts = np.bincount(draws, minlength=t.vocab)
        assert counts[p == 0].sum() == 0, f"drawn though cut: {np.nonzero(counts * (p == 0))}"
        # chi-square over tokens expected at least five times, the rest as one; three standard deviations over its mean, seed fixed
        big = p * n >= 5
        observed, wanted = [*counts[big], counts[~big].sum()], [*(p[big] * n), p[~big].sum() * n]
        terms = [(o - e) ** 2 / e for o, e in zip(observed, wanted, strict=True) if e > 0]
        assert len(terms) > 3
        df = len(terms) - 1
        assert sum(terms) <= df + 3 * math.sqrt(2 * df) + 4, (
            f"chi-square {sum(terms)} at {df} degrees (seed {drawing.seed})"
        )
        session.set_sampler(drawing)
        assert [session.sample() for _ in range(50)] == draws[:50]
        session.set_sampler(Sampling(**{**drawing.__dict__, "seed": drawing.seed + 1}))
        assert [session.sample() for _ in range(50)] != draws[:50]


def test_greedy_takes_the_highest(tmp_path: Path) -> None:
    t = Tiny()
    tiny.write(tmp_path / "m.gguf", t)
    with NativeModel(tmp_path / "m.gguf") as model, model.session() as session:
        with pytest.raises(RuntimeFault, match="evaluate"):
            session.sample()
        session.eval(tokens_of(t, 8))
        best = int(np.argmax(session.logits()))
        for drawing in (
            Sampling.greedy(),
            Sampling(top_k=1, repeat_penalty=1.0),
            Sampling(min_p=1.0, repeat_penalty=1.0),
        ):
            session.set_sampler(drawing)
            assert {session.sample() for _ in range(20)} == {best}
