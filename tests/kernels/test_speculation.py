"""Exact speculation: the text, the state and every record are those of tokens drawn and evaluated one by one, whatever the length of drafts."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qig_edge.errors import ConfigError
from qig_edge.runtime.backend import ContextFull, Sampling
from qig_edge.runtime.native import DRAFT_AUTO, NativeModel, NativeSession, isa_list

_spec = importlib.util.spec_from_file_location("qig_tiny", Path(__file__).with_name("tiny.py"))
assert _spec and _spec.loader
tiny = sys.modules.get("qig_tiny") or importlib.util.module_from_spec(_spec)
if "qig_tiny" not in sys.modules:
    sys.modules["qig_tiny"] = tiny
    _spec.loader.exec_module(tiny)
Tiny = tiny.Tiny

PLAIN = {"layers": 4, "context": 160, "margin": 4.0, "draft": (4, 96, 293)}
DEEP = {
    "layers": 6, "mandatory": 2, "context": 160, "margin": 4.0, "regime": (0.385, 0.43, 0.3, 0.01, 0.6), "factors": (0.7, 1.1, 1.4),
    "loops": (1, 4), "min_phi": 0.4, "shallow": 32, "route": (0.2, 0.72), "symmetry": 3, "code_rate": True, "gate_learnt": True,
    "confidence": (0.7, 0.1), "draft": (4, 64, 250),
}  # fmt: skip
PROBE = {"exits": (2, 3, 5), "thresholds": (0.35, 0.35, 0.35), "rule": "probe", "collapse": 90.0}
BURES = {"exits": (3, 4, 5), "thresholds": (0.0, 0.3, 0.25), "collapse": 45.0}
MODELS: dict[str, dict[str, Any]] = {
    "plain": PLAIN,
    "plain, one ahead": {**PLAIN, "draft": (1, 32, 100)},
    "plain, eight ahead": {**PLAIN, "draft": (8, 64, 293)},
    "plain, Q4_0": {**PLAIN, "type": "Q4_0", "transposed": ("blk.0", "blk.3")},
    "no factors, Q8_0": {**PLAIN, "type": "Q8_0", "basin": 0, "rank": 0},
    "diagonal, Q8_0": {**PLAIN, "type": "Q8_0", "state": "diagonal"},
    "regime, probe": {**DEEP, **PROBE},
    "regime, bures, Q4_0": {**DEEP, **BURES, "type": "Q4_0"},
}
GREEDY = Sampling.greedy()
SAMPLINGS = {
    "greedy": GREEDY,
    "greedy, penalty": Sampling(temperature=0, repeat_penalty=1.3),
    "as chat": Sampling(temperature=0.9, seed=3),
    "everything": Sampling(temperature=1.2, top_k=0, top_p=1, min_p=0, repeat_penalty=1, seed=4),
}
PROMPT = [10, 20, 30, 40, 50]


def speak(session: NativeSession, n: int, one_by_one: bool = False) -> list[int]:
    """n tokens drawn and evaluated, ends included; one_by_one: by sample() and eval()."""
    out: list[int] = []
    while len(out) < n:
        before = session.pos
        drawn = [session.sample()] if one_by_one else session.next_tokens(n - len(out))
        assert 1 <= len(drawn) <= n - len(out)
        if session.pos == before:
            session.eval(drawn)
        assert session.pos == before + len(drawn) and list(session.tokens[before:]) == drawn
        out += drawn
    return out


@dataclasses.dataclass
class Said:
    tokens: list[int]
    logits: bytes
    records: list[str]
    after: bytes  # logits after more tokens, which stand on the whole cache
    drawn: list[int]


def record(session: NativeSession, pos: int) -> str:
    """Every field but bytes_read; as text, so that NaN equals NaN."""
    return str(dataclasses.replace(session.telemetry(pos), bytes_read=0))


def say(model: NativeModel, sampling: Sampling, length: int | None, n: int = 60, **session_options: Any) -> Said:
    """A text of n tokens with that draft length; None: one by one, in the same way."""
    with model.session(**{"n_threads": 1, **session_options}) as session:
        session.set_sampler(sampling)
        session.eval(PROMPT)
        session.set_speculation(1 if length is None else length)
        tokens = speak(session, n, length is None)
        logits, records = session.logits().tobytes(), [record(session, i) for i in range(session.pos)]
        drawn = [session.sample()]
        session.eval([7, 8, 9])
        return Said(tokens, logits, records, session.logits().tobytes(), [*drawn, session.sample(), session.sample()])


@pytest.mark.parametrize("how", SAMPLINGS)
@pytest.mark.parametrize("name", MODELS)
def test_no_length_changes_a_bit(tmp_path: Path, name: str, how: str) -> None:
    t, sampling = Tiny(**MODELS[name]), SAMPLINGS[how]
    tiny.write(tmp_path / "m.gguf", t)
    with NativeModel(tmp_path / "m.gguf") as model:
        expected = say(model, sampling, None)
        if "greedy" in how:
            assert say(model, sampling, 0) == expected
            assert say(model, sampling, DRAFT_AUTO) == expected
        lag = t.draft[0]
        for length in sorted({1, (lag + 1) // 2, lag}):
            assert say(model, sampling, length) == expected, length
        assert say(model, sampling, lag, n_threads=2) == expected
        for rows in (1, 2, 3):
            assert say(model, sampling, lag, n_batch=rows) == expected, rows
    if t.exits or t.regime:
        assert len({r.split("blocks_run=")[1] for r in expected.records}) > 1, "no token stopped early"


@pytest.mark.parametrize("name", ["plain", "regime, probe"])
def test_automatic_rounds_leave_what_they_say(tmp_path: Path, name: str) -> None:
    """What is drawn depends on time; records, logits and a rollback are those of the text that came."""
    tiny.write(tmp_path / "m.gguf", Tiny(**MODELS[name]))
    with (
        NativeModel(tmp_path / "m.gguf") as model,
        model.session(n_threads=1) as session,
        model.session(n_threads=1) as plain,
    ):
        session.set_sampler(SAMPLINGS["everything"])
        session.eval(PROMPT)
        session.set_speculation(DRAFT_AUTO)
        tokens = speak(session, 100)
        assert session.speculation().tested > 0  # it has tried
        plain.eval(PROMPT)
        for token in tokens:
            plain.eval([token])
        assert session.logits().tobytes() == plain.logits().tobytes()
        assert [record(session, i) for i in range(session.pos)] == [record(plain, i) for i in range(plain.pos)]
        for pos in reversed(range(len(PROMPT), session.pos)):
            session.rollback(pos)
            assert session.sample() == tokens[pos - len(PROMPT)]


@pytest.mark.parametrize("isa", isa_list())
def test_every_kernel_set(tmp_path: Path, isa: str) -> None:
    tiny.write(tmp_path / "m.gguf", Tiny(**MODELS["regime, bures, Q4_0"]))
    with NativeModel(tmp_path / "m.gguf", isa) as model:
        for sampling in (GREEDY, SAMPLINGS["as chat"]):
            assert say(model, sampling, 4, 30) == say(model, sampling, None, 30)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLINGS["everything"]], ids=["greedy", "sampled"])
def test_a_draft_that_is_the_model_is_always_right(tmp_path: Path, sampling: Sampling) -> None:
    t = Tiny(**{**PLAIN, "draft": (3, 96, 293), "draft_strength": 0, "strength": 0})
    weights = tiny.write(tmp_path / "m.gguf", t)
    blocks = sum(size for name, size in weights.bytes.items() if name.startswith("blk."))
    look = sum(size for name, size in weights.bytes.items() if name.startswith("draft_"))
    head = weights.bytes["output_down"] + weights.bytes["output"]
    with NativeModel(tmp_path / "m.gguf") as model, model.session(n_threads=1) as session, model.session() as plain:
        for s in (session, plain):
            s.set_sampler(sampling)
            s.eval(PROMPT)
        session.set_speculation(3)
        assert [len(session.next_tokens()) for _ in range(5)] == [4] * 5
        counts = session.speculation()
        assert (counts.rounds, counts.tokens, counts.drafted) == (5, 20, 15)
        assert counts.acceptance == 1 and counts.tested == (15 if sampling is GREEDY else 20) and counts.draft_len == 3
        assert counts.draft_seconds > 0 and counts.verify_seconds > 0
        # four tokens read the model once; a draw also looks with the draft at the last of them, in the same product with the head
        for token in session.tokens[len(PROMPT) :]:
            plain.eval([int(token)])
        read = [sum(s.telemetry(len(PROMPT) + i).bytes_read for i in range(20)) for s in (session, plain)]
        saved = 15 * (blocks + weights.bytes["basin_proj"] + weights.bytes["output_norm"] + head)
        embedded = weights.bytes["basin_proj"] + weights.bytes["token_embd"] // t.vocab
        spent = 15 * (look + embedded + head) + (0 if sampling is GREEDY else 5 * look)
        assert abs(read[1] - read[0] - saved + spent) <= 20, (read, saved, spent)


def test_bytes_of_drafts_in_vain_are_told(tmp_path: Path) -> None:
    tiny.write(tmp_path / "m.gguf", Tiny(**PLAIN))
    with NativeModel(tmp_path / "m.gguf") as model, model.session() as session, model.session() as plain:
        session.eval(PROMPT)
        plain.eval(PROMPT)
        session.set_speculation(4)
        tokens = speak(session, 20)
        for token in tokens:
            plain.eval([token])
        counts = session.speculation()
        assert counts.acceptance < 0.5 and counts.drafted > counts.accepted
        read = [sum(s.telemetry(len(PROMPT) + i).bytes_read for i in range(20)) for s in (session, plain)]
        assert read[0] > 1.5 * read[1]


# --- the distribution ------------------------------------------------------------------------------------------------------------------------


def distribution(logits: np.ndarray, p: Sampling, history: list[int]) -> dict[int, float]:
    """docs/formats.md's steps in float64: the probability of every token that is left."""
    x = logits.astype(np.float64)
    for token in set(history[-p.repeat_last_n :] if p.repeat_last_n else []):
        x[token] = x[token] / p.repeat_penalty if x[token] > 0 else x[token] * p.repeat_penalty
    order = np.argsort(-x, kind="stable")[: p.top_k or len(x)]
    w = np.exp((x[order] - x[order[0]]) / p.temperature)
    w /= w.sum()
    n = len(w) if p.top_p >= 1 else int((np.cumsum(w) < p.top_p).sum()) + 1
    kept = {int(i): v for i, v in zip(order[:n], w[:n], strict=True) if v >= p.min_p * w[0]}
    return {i: v / sum(kept.values()) for i, v in kept.items()}


def paths(model: NativeModel, p: Sampling, depth: int) -> dict[tuple[int, ...], float]:
    """The exact probability of every continuation of PROMPT of that many tokens."""
    out: dict[tuple[int, ...], float] = {(): 1.0}
    with model.session(n_threads=1) as session:
        for _ in range(depth):
            longer = {}
            for path, probability in out.items():
                session.rollback(0)
                rows = session.eval_all([*PROMPT, *path])
                for token, q in distribution(rows[-1], p, [*PROMPT, *path]).items():
                    longer[(*path, token)] = probability * q
            out = longer
    return out


def deviation(counts: Counter[tuple[int, ...]], expected: dict[tuple[int, ...], float]) -> float:
    """Chi-square of counts against probabilities as a standard normal (Wilson and Hilferty); cells below 5 expected are joined."""
    n = counts.total()
    cells = [(n * q, counts[path]) for path, q in expected.items()]
    rare = [c for c in cells if c[0] < 5]
    cells = [c for c in cells if c[0] >= 5] + ([(sum(e for e, _ in rare), sum(o for _, o in rare))] if rare else [])
    assert len(cells) > 5 and sum(o for _, o in cells) == n, "a continuation came that has no probability"
    x, freedom = sum((o - e) ** 2 / e for e, o in cells), len(cells) - 1
    return ((x / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))


CHI = {  # what is drawn, and what it must not be taken for
    "top-k": (
        Sampling(temperature=1.5, top_k=5, top_p=1, min_p=0, repeat_penalty=1),
        Sampling(temperature=3.0, top_k=5, top_p=1, min_p=0, repeat_penalty=1),
    ),
    "all steps": (
        Sampling(temperature=1.6, top_k=8, top_p=0.9, min_p=0.1, repeat_penalty=1.5, repeat_last_n=6),
        Sampling(temperature=2.4, top_k=8, top_p=0.9, min_p=0.1, repeat_penalty=1.5, repeat_last_n=6),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "length"), [("plain, eight ahead", 3), ("regime, probe", 3), ("regime, probe", DRAFT_AUTO)]
)
@pytest.mark.parametrize("how", CHI)
def test_sampled_tokens_have_the_full_model_s_distribution(tmp_path: Path, how: str, name: str, length: int) -> None:
    """3 tokens drawn 4000 times, seeds 0 to 3999, against the exact probabilities of all continuations. 4 standard deviations: p = 3e-5."""
    sampling, other = CHI[how]
    small = {
        "vocab": 264,
        "d": 32,
        "hidden": 64,
        "seed": 5,
        "draft": (3, 64, 250),
        "strength": 0.15,
        "draft_strength": 0.1,
    }
    tiny.write(tmp_path / "m.gguf", Tiny(**{**MODELS[name], **small}))
    with NativeModel(tmp_path / "m.gguf") as model, model.session(n_threads=1) as session:
        expected, wrong = paths(model, sampling, 3), paths(model, other, 3)
        wrong = {path: wrong.get(path, 1e-9) for path in expected}
        session.set_speculation(length)
        session.eval(PROMPT)
        counts: Counter[tuple[int, ...]] = Counter()
        for seed in range(4000):
            session.rollback(len(PROMPT))
            session.set_sampler(dataclasses.replace(sampling, seed=seed))
            counts[tuple(speak(session, 3))] += 1
        stats = session.speculation()
        assert 0.1 < stats.acceptance < 0.95, stats  # both ways to a token are taken
        assert length < 0 or stats.tokens > 1.05 * stats.rounds, stats
        assert deviation(counts, expected) < 4
        assert deviation(counts, wrong) > 8  # and the test sees a distribution that is not far


# --- the timeline ----------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["plain, Q4_0", "regime, probe"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    tiny.write(tmp_path / "m.gguf", Tiny(**{**MODELS[request.param], "context": 40}))
    with NativeModel(tmp_path / "m.gguf") as opened:
        yield opened


@pytest.mark.parametrize("how", ["greedy", "as chat"])
def test_rollback_draws_again_what_was_drawn(model: NativeModel, how: str) -> None:
    checked = 0
    with model.session(n_threads=1) as session:
        session.set_sampler(SAMPLINGS[how])
        session.eval(PROMPT)
        session.set_speculation(3)
        tokens = [*PROMPT, *speak(session, 30)]
        records = [record(session, i) for i in range(session.pos)]
        for pos in range(len(PROMPT), session.pos, 4):
            session.rollback(pos)
            assert [*tokens[:pos], *speak(session, 12 if pos < 24 else 35 - pos)] == tokens[: session.pos]
            assert [record(session, i) for i in range(session.pos)] == records[: session.pos]
            session.rollback(session.pos)  # to where it stands: only the generator is set
            checked += session.pos < 35 and session.next_tokens(1) == [tokens[session.pos - 1]]
            speak(session, 35 - session.pos)
            assert list(session.tokens) == tokens
    assert checked > 2


@pytest.mark.parametrize("how", ["greedy", "as chat"])
def test_sliding_and_the_end_of_the_context(model: NativeModel, how: str) -> None:
    said = []
    for one_by_one in (False, True):
        with model.session(n_threads=1) as session:
            session.set_sampler(SAMPLINGS[how])
            session.eval(PROMPT)
            session.set_speculation(4)
            tokens = []
            for _ in range(3):
                tokens += speak(session, session.n_ctx - session.pos, one_by_one)
                with pytest.raises(ContextFull, match="full"):
                    session.next_tokens()
                session.slide(3, 20)
            tokens += speak(session, 10, one_by_one)
            said.append((tokens, session.logits().tobytes(), [record(session, i) for i in range(session.pos)]))
    assert said[0] == said[1]


def test_an_end_comes_alone_and_is_not_evaluated(model: NativeModel) -> None:
    ends, found = {model.eos, model.eot}, 0
    for seed in range(40):
        with model.session(n_threads=1) as session, model.session(n_threads=1) as twin:
            for s in (session, twin):
                s.set_sampler(Sampling(temperature=8, top_k=0, top_p=1, min_p=0, repeat_penalty=1, seed=seed))
                s.eval(PROMPT)
                s.set_speculation(3)
            while session.pos < session.n_ctx:
                before = session.pos
                drawn = session.next_tokens()
                if session.pos == before:
                    assert len(drawn) == 1 and drawn[0] in ends
                    found += 1
                    for token in session.tokens[len(PROMPT) :]:
                        assert twin.sample() == token
                        twin.eval([token])
                    assert twin.sample() == drawn[0]
                    break
                assert not ends & set(drawn)
    assert found > 3


def test_changes_between_rounds(model: NativeModel) -> None:
    """A new sampler, other tokens and another length count at once."""
    with model.session(n_threads=1) as session, model.session(n_threads=1) as twin:
        for s in (session, twin):
            s.set_sampler(SAMPLINGS["as chat"])
            s.eval(PROMPT)
            s.set_speculation(3)
        for step, sampling in enumerate([GREEDY, SAMPLINGS["everything"], SAMPLINGS["as chat"]]):
            spoken = speak(session, 5)
            assert speak(twin, 5, one_by_one=True) == spoken
            session.set_sampler(sampling)
            twin.set_sampler(sampling)
            if step == 1:
                session.eval([9, 8])
                twin.eval([9, 8])
            session.set_speculation(1 + step)
        assert session.sample() == twin.sample() and session.sample() == twin.sample()  # drawn twice at one place
        assert speak(session, 3) == speak(twin, 3, one_by_one=True)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLINGS["everything"]], ids=["greedy", "sampled"])
def test_a_pause_ends_the_round(tmp_path: Path, sampling: Sampling) -> None:
    shape = {
        **DEEP,
        "draft": (5, 64, 293),
        "draft_strength": 0,
        "strength": 0,
        "loops": (0, 0),
        "shallow": 0,
        "symmetry": 0,
    }  # drafts that are right, so that rounds would go on
    texts, cut = [], 0
    for answer in ("mark", "pause"):
        tiny.write(tmp_path / "m.gguf", Tiny(**shape, on_breakdown=answer))
        with NativeModel(tmp_path / "m.gguf") as model, model.session(n_threads=1) as session:
            session.set_sampler(sampling)
            session.eval(PROMPT)
            session.set_speculation(5)
            while session.pos < 60:
                before = session.pos
                drawn = session.next_tokens(60 - before)
                if session.pos == before:
                    session.eval(drawn)
                lost = [session.telemetry(i).regime == 2 for i in range(before, session.pos)]
                if answer == "pause":
                    assert not any(lost[:-1])
                else:
                    cut += any(lost[:-1])
            texts.append(list(session.tokens))
    assert cut > 0 and texts[0] == texts[1]


# --- asking for it ---------------------------------------------------------------------------------------------------------------------------


def test_lengths_are_checked(tmp_path: Path) -> None:
    tiny.write(tmp_path / "with.gguf", Tiny(**PLAIN))
    tiny.write(tmp_path / "without.gguf", Tiny())
    with NativeModel(tmp_path / "with.gguf") as model, model.session() as session:
        assert not session.speculates
        for length in (DRAFT_AUTO, 1, 4):
            session.set_speculation(length)
            assert session.speculates
        with pytest.raises(ConfigError, match="draft length = 5 must be at most 4: this model's draft guesses so many"):
            session.set_speculation(5)
        for length in (-2, 9, 100):
            with pytest.raises(ConfigError, match=rf"draft length = {length} must be 0 \(off\) to 8"):
                session.set_speculation(length)
        session.set_speculation(0)
        assert not session.speculates
        with pytest.raises(Exception, match="evaluate a token first"):
            session.next_tokens()
    with NativeModel(tmp_path / "without.gguf") as model, model.session() as session:
        with pytest.raises(ConfigError, match="this model has no draft"):
            session.set_speculation(3)
        session.set_speculation(DRAFT_AUTO)
        assert not session.speculates
        session.eval(PROMPT)
        assert len(speak(session, 5)) == 5 and session.speculation().rounds == 5


def test_automatic_length_follows_what_pays(tmp_path: Path) -> None:
    """Drafts that are never right are given up; the counts say so."""
    tiny.write(tmp_path / "m.gguf", Tiny(**{**PLAIN, "context": 1200}))
    with NativeModel(tmp_path / "m.gguf") as model, model.session(n_threads=1) as session:
        session.eval(PROMPT)
        session.set_speculation(DRAFT_AUTO)
        speak(session, 1000)
        counts = session.speculation()
        if counts.acceptance < 0.3:
            assert counts.drafted < 0.5 * counts.rounds, counts
        assert counts.tested > 0
