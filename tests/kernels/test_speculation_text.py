"""Texts that a speculating session gives: the streams, the chat, both programs and the bench see what they see without it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qig_edge.bench.speculation import Costs, acceptance_lines, measure_acceptance, measure_costs, prompts, report
from qig_edge.devices.host import program_path
from qig_edge.errors import ConfigError
from qig_edge.runtime.backend import Sampling, Speculation
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.native import DRAFT_AUTO, NativeModel
from qig_edge.runtime.state import TokenState
from qig_edge.runtime.stream import Stats, Stop, generate

_spec = importlib.util.spec_from_file_location("qig_tiny", Path(__file__).with_name("tiny.py"))
assert _spec and _spec.loader
tiny = sys.modules.get("qig_tiny") or importlib.util.module_from_spec(_spec)
if "qig_tiny" not in sys.modules:
    sys.modules["qig_tiny"] = tiny
    _spec.loader.exec_module(tiny)
Tiny = tiny.Tiny

GREEDY = Sampling.greedy()
SAMPLED = Sampling(temperature=1.0, seed=5)
TEXT = "ab c"


# always right: rounds of many tokens; sometimes: rounds that end anywhere
@pytest.fixture(params=[0, 0.3], ids=["always right", "sometimes right"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    strength = request.param
    tiny.write(
        tmp_path / "m.gguf",
        Tiny(layers=3, draft=(8, 64, 293), draft_strength=strength, strength=strength, context=64, margin=4.0),
    )
    return tmp_path / "m.gguf"


@pytest.fixture()
def model(path: Path) -> Iterator[NativeModel]:
    with NativeModel(path) as opened:
        yield opened


def told(model: NativeModel, sampling: Sampling, length: int, tokens: int = 150) -> tuple[list[str], list[str], Stats]:
    """Pieces of text, every token's state but for bytes_read, and the statistics."""
    states: list[TokenState] = []
    stats = Stats()
    with model.session(n_threads=1) as session:
        session.set_speculation(length)
        pieces = list(
            generate(
                model,
                session,
                TEXT,
                sampling=sampling,
                max_tokens=tokens,
                stats=stats,
                telemetry=True,
                on_token=states.append,
            )
        )
        plain = [dataclasses.replace(s, telemetry=dataclasses.replace(s.telemetry, bytes_read=0)) for s in states]
        return pieces, [str(s) for s in plain], stats


def test_streams_say_the_same(model: NativeModel) -> None:
    """The context slides twice on the way."""
    expected = told(model, GREEDY, 0)
    assert expected[2].tokens == 150 and expected[2].speculation == Speculation()
    drawn = told(model, SAMPLED, 1)
    for length in (2, 8, DRAFT_AUTO):
        pieces, states, stats = told(model, GREEDY, length)
        assert (pieces, states) == expected[:2] and stats.tokens == 150 and stats.end == "length"
        assert len(stats.records) == stats.state.tokens == 150
        assert 0 < stats.speculation.rounds <= 150
        pieces, states, stats = told(model, SAMPLED, length)
        assert length < 0 or ((pieces, states) == drawn[:2] and stats.end == drawn[2].end)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_an_answer_cut_short_leaves_what_was_told(model: NativeModel, sampling: Sampling) -> None:
    """Closed by its reader or stopped in the middle of a round, the session stands where one stands that draws one by one."""
    cuts = 0
    for how in ("close", "stop"):
        for after in (1, 2, 3, 6, 11):
            left = []
            for length in (1, 8):
                stop = Stop()
                seen = 0

                def take(token: TokenState, stop: Stop = stop, how: str = how, after: int = after) -> None:
                    nonlocal seen
                    seen += 1
                    if how == "stop" and seen == after:
                        stop.ask()

                stats = Stats()
                with model.session(n_threads=1) as session:
                    session.set_speculation(length)
                    pieces = generate(
                        model, session, TEXT, sampling=sampling, max_tokens=40, stats=stats, stop=stop, on_token=take
                    )
                    text = ""
                    for piece in pieces:
                        text += piece
                        if how == "close" and seen >= after:
                            pieces.close()
                    assert stats.end == ("stopped" if how == "stop" else "length")
                    cuts += stats.speculation.tokens > seen
                    at = session.pos
                    session.eval([7])
                    left.append((text, seen, at, session.logits().tobytes(), str(session.telemetry(at - 1).surprise)))
            assert left[0] == left[1]
    assert cuts > 0


def test_chats_say_the_same(model: NativeModel) -> None:
    said = []
    for length in (0, 4, DRAFT_AUTO):
        with model.session(n_ctx=64, n_threads=1) as session:
            session.set_speculation(length)
            chat = Chat(model, session, sampling=GREEDY, max_tokens=12)
            answers = ["".join(chat.answer(text)) for text in ("a", "bb", "ab", "c")]
            chat.forget_last()
            said.append((answers, chat.exchanges, "".join(chat.answer("d")), list(session.tokens)))
    assert said[0] == said[1] == said[2]


def qig(*args: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([program_path(), *map(str, args)], capture_output=True, timeout=120)


@pytest.mark.parametrize("how", [("--greedy",), ("--temp", "1", "--seed", "5")], ids=["greedy", "sampled"])
def test_the_program_says_the_same(path: Path, model: NativeModel, how: tuple[str, ...]) -> None:
    sampling = GREEDY if how == ("--greedy",) else SAMPLED
    expected = None
    for draft, length in (("1", 1), ("8", 8), ("auto", DRAFT_AUTO))[: 3 if sampling is GREEDY else 2]:
        done = qig(
            "generate", path, "-p", TEXT, "-n", 100, "-t", 1, "--draft", draft, "--stats", "--telemetry-json", *how
        )
        assert done.returncode == 0, done.stderr.decode()
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines and b"; drafts: " in done.stderr and b" a round" in done.stderr
        for line in lines:
            del line["bytes_read"]
        expected = expected or lines
        assert lines == expected
        assert "".join(told(model, sampling, length, 100)[0]).startswith("".join(line["text"] for line in lines))
    plain = qig("generate", path, "-p", TEXT, "-n", 100, "-t", 1, "--draft", "off", "--stats", *how)
    assert plain.returncode == 0 and b"drafts:" not in plain.stderr
    # nobody asked: a seed keeps its text, and a text that nobody can ask for again is as fast as may be
    unsaid = qig("generate", path, "-p", TEXT, "-n", 100, "-t", 1, "--stats", *how)
    assert unsaid.stdout == plain.stdout and (b"drafts:" in unsaid.stderr) == (sampling is GREEDY)
    assert b"drafts:" in qig("generate", path, "-p", TEXT, "-n", 20, "-t", 1, "--stats", "--temp", "0.5").stderr


def test_words_for_the_length(path: Path, tmp_path: Path) -> None:
    tiny.write(tmp_path / "none.gguf", Tiny())
    for word in ("0", "9", "-1", "abc", "autox", "1.5", ""):
        done = qig("generate", path, "-p", "x", "--draft", word)
        assert done.returncode == 2 and done.stderr.count(b"\n") == 1
        assert b"--draft" in done.stderr and b"auto, off, or a whole number from 1 to 8" in done.stderr
    done = qig("chat", tmp_path / "none.gguf", "-p", "x", "--draft", "3")
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and b"this model has no draft" in done.stderr
    assert qig("generate", tmp_path / "none.gguf", "-p", "x", "-n", "2", "--draft", "auto").returncode == 0


# --- the bench -------------------------------------------------------------------------------------------------------------------------------


def test_costs_and_acceptance_are_measured(model: NativeModel, tmp_path: Path) -> None:
    costs = measure_costs(model, threads=1, depth=20, longest=3, rounds=3)
    assert len(costs.draft) == len(costs.verify) == 4 and costs.threads == 1 and costs.depth == 20
    assert costs.plain > 0 and min(costs.draft) > 0 and min(costs.verify) > 0
    assert len(report(costs)) == 2 + 4 + 6
    text = tmp_path / "text.txt"
    text.write_text("\n  ab\n\nc ab c\n")
    found = measure_acceptance(model, prompts(text), tokens=20, length=3, threads=1, sampling=GREEDY)
    assert list(found) == ["plain", "draft 3", "auto"] and all(0 < run["tokens"] <= 40 for run in found.values())
    assert found["plain"]["acceptance"] is None and found["draft 3"]["tested"] > 0
    assert 0 <= found["draft 3"]["acceptance"] <= 1 <= found["draft 3"]["tokens_a_round"] <= 4
    assert len(acceptance_lines(found)) == 3 and "guesses right" in acceptance_lines(found)[1]
    for bad in (tmp_path / "none.txt", path_with(tmp_path, " \n\n")):
        with pytest.raises(ConfigError, match="--text"):
            prompts(bad)


def path_with(folder: Path, text: str) -> Path:
    out = folder / "blank.txt"
    out.write_text(text)
    return out


def test_speed_that_follows_from_an_acceptance() -> None:
    """Free drafts verified for nothing: 1 / (1 - a) in the limit; drafts as dear as tokens: never."""
    free = Costs(1.0, (0.0,) * 7, (1.0,) * 7, 1, 0)
    assert free.best(0.5) == (6, pytest.approx(2 - 0.5**6)) and free.speedup(0.5, 1) == 1.5
    dear = Costs(1.0, tuple(float(n) for n in range(7)), (1.0,) * 7, 1, 0)
    assert dear.best(0.9) == (0, 1.0) and dear.speedup(0.9, 1) == pytest.approx(0.95)
    some = Costs(1.0, tuple(0.2 * n for n in range(7)), tuple(1 + 0.1 * n for n in range(7)), 1, 0)
    assert some.best(0.8)[0] == 3 and some.best(0.8)[1] == pytest.approx((1 + 0.8 + 0.64 + 0.512) / 1.9)
