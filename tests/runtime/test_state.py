"""What a user sees of a model's state: words, lines, the mark of an uncertain answer, the pause."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import re
from pathlib import Path

import pytest

from qig_edge.runtime.backend import Sampling, Telemetry
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.state import (
    FIELDS,
    LEVELS,
    REGIMES,
    SHOWN_WIDTH,
    AnswerState,
    TokenState,
    notice,
    state_part,
    summary,
    token_line,
    token_table,
    word,
)
from qig_edge.runtime.stream import Stats, generate

_spec = importlib.util.spec_from_file_location("fake_for_state", Path(__file__).with_name("fake.py"))
assert _spec and _spec.loader
fake = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake)

RECORD = Telemetry(0.5, 0.25, 0.125, 0.2, 0.1, 64.0, 0.3, 1, 4, 1000)
DOCS = Path(__file__).resolve().parents[2] / "docs" / "formats.md"


def test_words_are_those_of_the_page() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w+), ([\w ]+) from ([\d.]+)[^|]*?, (\w+) from ([\d.]+)", DOCS.read_text("utf-8"), re.M
    )
    found = {r[0]: (float(r[3]), float(r[5]), (r[1], r[2], r[4])) for r in rows}
    assert found == LEVELS


def test_a_cut_point_belongs_to_the_higher_word() -> None:
    for field, (low, high, words) in LEVELS.items():
        below = [math.nextafter(low, 0), math.nextafter(high, 0)]
        assert [word(field, v) for v in (0.0, below[0], low, below[1], high, 1.0)] == [
            words[i] for i in (0, 0, 1, 1, 2, 2)
        ]
        assert word(field, math.nan) == "-"


def test_a_line_holds_every_field() -> None:
    assert set(FIELDS) | {"regime"} == {f.name for f in dataclasses.fields(Telemetry)}
    hidden = dataclasses.replace(RECORD, surprise=math.nan, regime=2)
    line = json.loads(token_line(TokenState(3, 7, 'é"\n', hidden)))
    assert line == {"pos": 3, "token": 7, "text": 'é"\n', "regime": "breakdown"} | {
        name: None if name == "surprise" else getattr(hidden, name) for name in FIELDS
    }


def test_the_table_is_aligned() -> None:
    hidden = dataclasses.replace(RECORD, surprise=math.nan, confidence=math.nan, phi=math.nan)
    trace = [
        TokenState(n, 1, t, r) for n, (t, r) in enumerate([("a", RECORD), ("\n" * 20, hidden), ("é" * 30, RECORD)])
    ]
    head, *rows = token_table(trace)
    assert len(rows) == 3 and len({len(line) for line in (head, *rows)}) == 1
    assert rows[2].startswith('"' + "é" * (SHOWN_WIDTH - 2) + "…  geometric")
    assert rows[1].count("   -") == 3 and "0.50 moderate" in rows[0] and rows[0].endswith("20%")
    at = head.index("regime")
    assert all(row[at : at + 9] == "geometric" for row in rows)


def test_means_leave_out_what_was_not_observed() -> None:
    state = AnswerState()
    assert state.facts() == {"uncertain": False, "regimes": dict.fromkeys(REGIMES)} | dict.fromkeys(FIELDS)
    assert state_part(state, 4) == "" and "no token" in summary(state)
    state.add(RECORD)
    state.add(dataclasses.replace(RECORD, surprise=math.nan, phi=0.7, blocks_run=1, regime=0))
    assert state.mean("surprise") == 0.25 and state.mean("phi") == 0.6 and not state.uncertain
    assert state.facts()["regimes"] == {"linear": 0.5, "geometric": 0.5, "breakdown": 0.0}
    assert state_part(state, 4) == "; blocks 2.50 of 4, pairs active 20%, linear 50%, geometric 50%"
    assert summary(state).startswith("[mean of 2 tokens: phi 0.60 moderate, ") and notice(state, "end", True) is None


@pytest.mark.parametrize("on_breakdown", ["mark", "pause", None])
def test_breakdown_marks_or_pauses_an_answer(on_breakdown: str | None) -> None:
    backend = fake.FakeBackend([b"abcdef", b"gh"])
    if on_breakdown:
        backend.described["qig.regime.on_breakdown"] = on_breakdown
    session = backend.session()
    chat = Chat(backend, session, max_tokens=20)
    begin = len(backend.chat_turn("user", "q") + backend.chat_turn("assistant", None))
    session.regimes = {0: 2, begin + 2: 2, begin + 3: 2}
    text = "".join(chat.answer("q"))
    stats = chat.stats
    assert stats.state.uncertain and json.dumps(stats.state.facts())
    if on_breakdown == "pause":
        assert text == "abc" and stats.end == "breakdown" and stats.state.regimes == [0, 2, 1]
        assert notice(stats.state, stats.end, True) == "(the model lost the thread: it waits for you)"
        assert notice(stats.state, stats.end, False) == "(the model lost the thread: it stopped)"
        del backend.script[: len(b"def") + 1]
    else:
        assert text == "abcdef" and stats.end == "end" and stats.state.regimes == [0, 4, 2]
        assert notice(stats.state, stats.end, True) == "(uncertain: 2 of 6 tokens in breakdown)"
    session.regimes = {}
    # the conversation goes on as after any answer
    assert "".join(chat.answer("go on")) == "gh" and not chat.stats.state.uncertain and chat.stats.end == "end"


def test_texts_of_tokens_join_to_the_answer() -> None:
    data = "a“é”日".encode() + b"\xe2\x28\xff" + b"z\xe2\x82"
    backend, stats, tokens = fake.FakeBackend([data], eot=None), Stats(), list[TokenState]()
    session = backend.session(n_ctx=64)
    pieces = generate(
        backend, session, "q", sampling=Sampling.greedy(), max_tokens=len(data), stats=stats, on_token=tokens.append
    )
    text = "".join(pieces)
    assert text == data.decode("utf-8", "replace") and "".join(t.text for t in tokens) + "\ufffd" == text
    assert [t.token for t in tokens] == list(data) and [t.pos for t in tokens] == list(range(1, len(data) + 1))
    assert stats.state.tokens == len(data) == stats.tokens
