"""Depth that follows need, in the engine: every decision against float64 arithmetic, and the engine against itself bit for bit."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from qig_edge.errors import ConfigError
from qig_edge.runtime.native import NativeModel, isa_list

_spec = importlib.util.spec_from_file_location("qig_tiny", Path(__file__).with_name("tiny.py"))
assert _spec and _spec.loader
tiny = sys.modules.get("qig_tiny") or importlib.util.module_from_spec(_spec)
if "qig_tiny" not in sys.modules:
    sys.modules["qig_tiny"] = tiny
    _spec.loader.exec_module(tiny)
Tiny = tiny.Tiny

BASE = {"layers": 5, "mandatory": 2, "context": 160, "margin": 4.0}
REGIME = {"regime": (0.385, 0.43, 0.3, 0.01, 0.6), "factors": (0.7, 1.1, 1.4)}
PROBE = {"exits": (2, 3, 4), "thresholds": (0.35, 0.3, 0.35), "rule": "probe"}
BURES = {"exits": (3, 4), "thresholds": (0.0, 0.42)}
LOOPS = {"loops": (1, 4), "min_phi": 0.4}
# What each component is on top of BASE, and what it must have done to some tokens but not to all.
COMPONENTS: dict[str, tuple[dict, tuple[str, ...]]] = {
    "route": ({"shallow": 32, "route": (0.2, 0.72)}, ("shallow",)),
    "regime": (
        {"regime": (0.45, 0.6, 0.3, 0.02, 0.7), "factors": REGIME["factors"]},
        ("linear", "breakdown"),
    ),
    "regime-after-all-blocks": ({"mandatory": 0, "regime": (0.53, 0.57, 0.3, 0.01, 0.4), **LOOPS}, ("linear", "loop")),
    "probe": (PROBE, ("exit",)),
    "bures": (BURES, ("exit",)),
    "bures-collapse": ({**BURES, "collapse": 5.0}, ("exit", "collapse")),
    "probe-collapse": ({**PROBE, "collapse": 8.0}, ("exit", "collapse")),
    "exits-that-stop-nobody": ({"exits": (2, 3), "thresholds": (0.0, 0.0)}, ()),
    "loops": (LOOPS, ("loop",)),
    "loops-for-all": ({"loops": (3, 3)}, ()),
    "symmetry": ({"symmetry": 3}, ()),
    "code-rate": ({"code_rate": True}, ()),
    "gates": ({"gate_learnt": True, "margin": 0.0}, ()),
    "gates-fisher": ({"gate_learnt": True, "metric": "fisher_rao", "mandatory": 0}, ()),
    "calibration": ({"confidence": (0.7, 0.4)}, ()),
    "transposed": ({"transposed": ("blk.0", "blk.3")}, ()),
}
ALL = {
    **BASE, "layers": 6, **REGIME, **LOOPS, "shallow": 32, "route": (0.2, 0.72), "symmetry": 3, "code_rate": True, "gate_learnt": True,
    "confidence": (0.7, 0.1), "transposed": ("blk.0", "blk.3", "integrator"),
}  # fmt: skip
EVERYTHING = {
    "probe": {**ALL, "exits": (2, 3, 5), "thresholds": (0.35, 0.35, 0.35), "rule": "probe", "collapse": 90.0},
    "bures": {**ALL, "exits": (3, 4, 5), "thresholds": (0.0, 0.3, 0.25), "collapse": 45.0},
}
FIELDS = {
    "phi": 2e-5, "agency": 1e-6, "curvature": 2e-5, "kappa": 1e-4, "surprise": 2e-3, "confidence": 2e-5, "coherence_drift": 2e-3,
    "regime": 0, "blocks_run": 0,
}  # fmt: skip


def tokens_of(t: object, n: int, seed: int = 7) -> list[int]:
    return [int(i) for i in np.random.default_rng(seed).integers(0, t.vocab, n)]


@pytest.fixture(params=isa_list())
def isa(request: pytest.FixtureRequest) -> str:
    return request.param


def records(session: object, n: int, *more: str) -> dict[str, np.ndarray]:
    kept = [session.telemetry(i) for i in range(n)]
    return {f: np.array([getattr(r, f) for r in kept]) for f in (*FIELDS, *more)}


def same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def decode(session: object, ids: list[int]) -> np.ndarray:
    rows = []
    for token in ids:
        session.eval([token])
        rows.append(session.logits().copy())
    return np.stack(rows)


def assert_equal(session: object, logits: np.ndarray, run: object, t: object) -> None:
    assert run.closest > 1e-6 and run.near > 1e-5, "something stands on the edge of a decision: choose another seed"
    error = np.abs(logits - run.logits).max()
    assert error <= 1e-4, f"logits differ by {error} (seed {t.seed})"
    for field, values in records(session, len(logits), "bytes_read").items():
        error = np.abs(values - getattr(run, field)).max()
        assert error <= FIELDS.get(field, 0), f"{field} differs by {error} (seed {t.seed})"


@pytest.mark.parametrize("name", COMPONENTS)
def test_component_equals_float64(tmp_path: Path, isa: str, name: str) -> None:
    changes, acted = COMPONENTS[name]
    t = Tiny(**{**BASE, **changes})
    weights, ids = tiny.write(tmp_path / "m.gguf", t), tokens_of(t, 40)
    run = tiny.forward(t, weights, ids, "f32")
    assert all(run.stopped[what] > 0 for what in acted), run.stopped
    if set(acted) - {"shallow"}:
        assert len(set(run.blocks_run)) > 1
    else:
        assert set(run.blocks_run) == {t.layers + t.loops[1]}
    with NativeModel(tmp_path / "m.gguf", isa) as model, model.session(n_threads=1) as session:
        assert_equal(session, decode(session, ids), run, t)


@pytest.mark.parametrize("basin", [32, 0])
@pytest.mark.parametrize("state", ["pure", "diagonal"])
@pytest.mark.parametrize("rule", EVERYTHING)
def test_everything_together_equals_float64(tmp_path: Path, isa: str, rule: str, state: str, basin: int) -> None:
    """About half of the tokens stop early, by every rule there is."""
    t = Tiny(**EVERYTHING[rule], state=state, basin=basin, rank=basin)
    weights, ids = tiny.write(tmp_path / "m.gguf", t), tokens_of(t, 60)
    run = tiny.forward(t, weights, ids, "f32")
    if state == "pure" and basin:
        assert all(run.stopped[what] > 0 for what in ("linear", "breakdown", "exit", "collapse", "shallow")), run.stopped
        assert 0.2 < (run.blocks_run < t.layers).mean() < 0.9 and (run.blocks_run > t.layers).any()
        assert set(run.regime) == {0, 1, 2}
    with NativeModel(tmp_path / "m.gguf", isa) as model, model.session(n_threads=2) as session:
        assert_equal(session, decode(session, ids), run, t)


@pytest.mark.parametrize(("kind", "cache"), [("Q8_0", "i8"), ("Q4_0", "f32")])
@pytest.mark.parametrize("rule", EVERYTHING)
def test_quantized_equals_emulated_rounding(tmp_path: Path, isa: str, rule: str, kind: str, cache: str) -> None:
    """A rounding that falls otherwise in float32 may turn a decision, and all that follows, so a few tokens may differ."""
    t = Tiny(**EVERYTHING[rule], type=kind)
    weights, ids = tiny.write(tmp_path / "m.gguf", t), tokens_of(t, 24)
    run = tiny.forward(t, weights, ids, cache)
    with NativeModel(tmp_path / "m.gguf", isa) as model, model.session(n_threads=1, cache_type=cache) as session:
        logits = decode(session, ids)
        error = np.abs(logits - run.logits).max(axis=1) / run.logits.std()
        kept = records(session, len(ids))
        assert np.median(error) <= 2e-3, f"median {np.median(error)}, worst {error.max()} (seed {t.seed})"
        assert (kept["blocks_run"] == run.blocks_run).mean() >= 0.9 and (kept["regime"] == run.regime).mean() >= 0.9


@pytest.mark.parametrize("rule", EVERYTHING)
def test_weights_are_shared_by_those_who_used_them(tmp_path: Path, rule: str) -> None:
    t = Tiny(**EVERYTHING[rule])
    weights, ids, passes = tiny.write(tmp_path / "m.gguf", t), tokens_of(t, 60), [1, 7, 16, 3, 16, 1, 16]
    run = tiny.forward(t, weights, ids, "f32", passes)
    assert run.near > 1e-5
    with NativeModel(tmp_path / "m.gguf") as model, model.session(n_batch=16) as session:
        for end, n in zip(np.cumsum(passes), passes, strict=True):
            session.eval(ids[end - n : end])
        read = records(session, len(ids), "bytes_read")["bytes_read"]
        assert np.abs(read - run.bytes_read).max() <= 1  # the last unit of a sum of fractions


ENGINES = {
    "probe-f32": Tiny(**EVERYTHING["probe"]),
    "bures-f32": Tiny(**EVERYTHING["bures"]),
    "probe-q4": Tiny(**EVERYTHING["probe"], type="Q4_0", vocab=4500),
    "bures-q4-no-factors": Tiny(**EVERYTHING["bures"], type="Q4_0", basin=0, rank=0),
    "bures-q8-diagonal": Tiny(**EVERYTHING["bures"], type="Q8_0", state="diagonal", vocab=2391),
    "ragged": Tiny(
        **EVERYTHING["bures"], d=50, heads=6, kv_heads=3, head_dim=10, hidden=77, basin=21, rank=13, vocab=2391
    ),
}


@pytest.fixture(params=ENGINES.values(), ids=list(ENGINES))
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> object:
    tiny.write(tmp_path / "m.gguf", request.param)
    return request.param


def test_prefill_equals_decode_bit_for_bit(tmp_path: Path, isa: str, engine: object) -> None:
    ids = tokens_of(engine, 70)
    with NativeModel(tmp_path / "m.gguf", isa) as model:
        with model.session(n_threads=1) as session:
            decoded = decode(session, ids)
            kept = records(session, len(ids))
        assert np.isfinite(decoded).all() and len(set(kept["blocks_run"])) > 1
        cases = 0
        for n_batch in (1, 3, 32, 128):
            for n_threads in (1, 2, 5):
                with model.session(n_threads=n_threads, n_batch=n_batch, prompt_telemetry=True) as session:
                    assert same(session.eval_all(ids[:41]), decoded[:41])
                    session.eval(ids[41:64])
                    assert same(session.logits(), decoded[63])
                    session.eval(ids[64:])
                    assert same(session.logits(), decoded[-1])
                    for field, values in records(session, len(ids)).items():
                        assert same(values, kept[field]), field
                cases += 1
        assert cases == 12


def test_rollback_and_slide_are_exact(tmp_path: Path, isa: str, engine: object) -> None:
    """A session that was anywhere else before equals a fresh one, at every position it is rolled back to."""
    ids, other = tokens_of(engine, 48), tokens_of(engine, 40, seed=8)
    with NativeModel(tmp_path / "m.gguf", isa) as model, model.session(n_threads=2) as session:
        whole = decode(session, ids)
        kept = records(session, len(ids), "bytes_read")
        for at in (47, 33, 17, 16, 15, 7, 2, 1, 0):
            session.rollback(at)
            assert session.pos == at
            if at:
                assert same(session.logits(), whole[at - 1])
            session.eval(other[: 40 - at // 2])
            session.rollback(at)
            assert same(decode(session, ids[at:]), whole[at:]), at
            again = records(session, len(ids), "bytes_read")
            assert all(same(kept[f], again[f]) for f in kept), at
        for keep, tail in ((7, 20), (0, 33), (5, 0)):
            session.rollback(0)
            session.eval(ids)
            session.slide(keep, tail)
            left = ids[:keep] + ids[len(ids) - tail :] if tail else ids[:keep]
            with model.session() as fresh:
                fresh.eval(left)
                assert same(session.logits(), fresh.logits())
                session.eval(other[:3]), fresh.eval(other[:3])
                assert same(session.logits(), fresh.logits())
                a, b = (records(s, len(left) + 3, "bytes_read") for s in (session, fresh))
                assert all(same(a[f], b[f]) for f in a)


def test_a_context_can_be_filled(tmp_path: Path, engine: object) -> None:
    """Every cache has room for every token, whoever runs what."""
    with NativeModel(tmp_path / "m.gguf") as model, model.session(n_ctx=37, n_batch=8) as session:
        session.eval(tokens_of(engine, 37))
        assert session.pos == 37 and np.isfinite(session.logits()).all()


# --- settings ---------------------------------------------------------------------------------------------------------------------------


def blocks_run(path: Path, ids: list[int], settings: dict[str, str]) -> np.ndarray:
    with NativeModel(path, settings=settings) as model, model.session() as session:
        session.eval(ids)
        return records(session, len(ids), "bytes_read")["blocks_run"]


def test_settings_override_the_file(tmp_path: Path) -> None:
    """A number that is set acts as if the file held it."""
    t = Tiny(**EVERYTHING["probe"])
    path, ids = tmp_path / "m.gguf", tokens_of(t, 40)
    tiny.write(path, t)
    low, high, smoothing, hysteresis, curvature = t.regime
    changes: dict[str, tuple[str, dict]] = {
        "gate.margin": ("1.5", {"margin": 1.5}),
        "regime.low": ("0.3", {"regime": (0.3, high, smoothing, hysteresis, curvature)}),
        "regime.high": ("0.6", {"regime": (low, 0.6, smoothing, hysteresis, curvature)}),
        "regime.smoothing": ("0.9", {"regime": (low, high, 0.9, hysteresis, curvature)}),
        "regime.hysteresis": ("0.001", {"regime": (low, high, smoothing, 0.001, curvature)}),
        "regime.curvature": ("1.2", {"regime": (low, high, smoothing, hysteresis, 1.2)}),
        "exit.threshold": ("0.5", {"thresholds": (0.5, 0.5, 0.5)}),
        "decoherence.threshold": ("15", {"collapse": 15.0}),
        "recursion.min_phi": ("0.05", {"min_phi": 0.05}),
    }
    plain = blocks_run(path, ids, {})
    differed = 0
    for key, (value, fields) in changes.items():
        tiny.write(tmp_path / "other.gguf", Tiny(**{**EVERYTHING["probe"], **fields}))
        wanted, got = blocks_run(tmp_path / "other.gguf", ids, {}), blocks_run(path, ids, {key: value})
        assert (wanted == got).all(), key
        differed += bool((got != plain).any())
    assert differed >= 6
    wide = blocks_run(path, ids, {"regime.low": "0", "regime.high": "1", "exit.threshold": "0", "decoherence.threshold": "1e30"})
    assert (wide >= t.layers + t.loops[0]).all()


def test_bad_settings_are_one_line(tmp_path: Path) -> None:
    tiny.write(tmp_path / "all.gguf", Tiny(**EVERYTHING["probe"]))
    tiny.write(tmp_path / "plain.gguf", Tiny())
    cases = [
        ("all", "gate.margin", "-1", "gate.margin = '-1' must be a number of at least 0"),
        ("all", "gate.margin", "inf", "a number of at least 0"),
        ("all", "gate.margin", "", "gate.margin = '' must be"),
        ("all", "gate.margin", " 1", "must be a number"),
        ("all", "gate.margin", "1x", "must be a number"),
        ("all", "gate.margin", "0x10", "must be a number"),
        ("all", "gate.margin", "nan", "must be a number"),
        ("all", "gate.margin", "1e99", "must be a number"),
        ("plain", "gate.threshold", "1", "gate.threshold = '1' must be in [0, 1)"),
        ("all", "gate.threshold", "0.2", "a learnt threshold for each head"),
        ("all", "regime.low", "0.43", "in [0, 0.43)"),
        ("all", "regime.high", "0.2", "in (0.385, 1]"),
        ("all", "regime.smoothing", "0", "in (0, 1]"),
        ("all", "regime.hysteresis", "0.5", "in [0, 0.0225)"),
        ("all", "regime.curvature", "4", "in [0, 3.1416]"),
        ("all", "exit.threshold", "1.01", "in [0, 1]"),
        ("all", "decoherence.threshold", "0", "a number above 0"),
        ("all", "recursion.min_phi", "2", "in [0, 1]"),
        ("plain", "regime.low", "0.2", "the model has no regime detector"),
        ("plain", "exit.threshold", "0.2", "the model has no exits"),
        ("plain", "decoherence.threshold", "2", "the model has no decoherence"),
        ("plain", "recursion.min_phi", "0.2", "the model has no integrator"),
        ("plain", "gate.margins", "0.2", "unknown setting 'gate.margins' (known: gate.margin, gate.threshold, regime.low"),
        ("plain", "", "0.2", "unknown setting ''"),
    ]
    for name, key, value, words in cases:
        with pytest.raises(ConfigError) as e:
            NativeModel(tmp_path / f"{name}.gguf", settings={key: value})
        assert words in str(e.value) and str(e.value).isprintable(), (key, value, str(e.value))


def test_settings_end_with_the_first_session(tmp_path: Path) -> None:
    from qig_edge.runtime.prototypes import library

    tiny.write(tmp_path / "m.gguf", Tiny())
    with NativeModel(tmp_path / "m.gguf", settings={"gate.margin": "2", "gate.threshold": "0.1"}) as model:
        assert library().qig_model_set(model.handle, b"gate.margin", b"3", None, 0) == 0
        model.session().close()
        assert library().qig_model_set(model.handle, b"gate.margin", b"3", None, 0) == -1
