"""The conversation and the stream of text, on a scripted back end."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from qig_edge.errors import RuntimeFault
from qig_edge.runtime.backend import Backend, Sampling, Session
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.stream import PROMPT_STEP, Stats, Stop, generate

_spec = importlib.util.spec_from_file_location("fake", Path(__file__).with_name("fake.py"))
assert _spec and _spec.loader
fake = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake)


def turns(backend: object, *contents: tuple[str, str | None]) -> list[int]:
    return [t for role, content in contents for t in backend.chat_turn(role, content)]


def test_fake_is_a_backend() -> None:
    backend = fake.FakeBackend()
    assert isinstance(backend, Backend) and isinstance(backend.session(), Session)


def test_conversation_is_kept_in_the_files_format() -> None:
    backend = fake.FakeBackend([b"one", b"two"], n_ctx=200)
    session = backend.session()
    chat = Chat(backend, session, system="be")
    assert "".join(chat.answer("a")) == "one"
    assert chat.stats.end == "end" and chat.stats.tokens == 3
    assert "".join(chat.answer("b")) == "two"
    expected = turns(
        backend, ("system", "be"), ("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two")
    )
    assert session.history == expected[:-1]  # the last end of turn goes in with the next question


def test_text_comes_in_whole_characters() -> None:
    text = "né 漢字 🦊!"
    backend = fake.FakeBackend([text.encode()], n_ctx=200)
    pieces = list(Chat(backend, backend.session()).answer("x"))
    assert "".join(pieces) == text and len(pieces) == len(text)


def test_a_broken_character_at_the_end_is_replaced() -> None:
    backend = fake.FakeBackend([b"a" + "🦊".encode()[:2]], n_ctx=200)
    assert "".join(Chat(backend, backend.session()).answer("x")) == "a\ufffd"


def test_max_tokens_and_next_turn() -> None:
    backend = fake.FakeBackend([b"abcdefgh", b"z"], n_ctx=200)
    session = backend.session()
    chat = Chat(backend, session, max_tokens=3)
    assert "".join(chat.answer("q")) == "abc" and chat.stats.end == "length"
    backend.script = [*b"z", fake.EOT]
    assert "".join(chat.answer("r")) == "z"
    assert (
        session.history == turns(backend, ("user", "q"), ("assistant", "abc"), ("user", "r"), ("assistant", "z"))[:-1]
    )


def test_slides_by_whole_exchanges_and_keeps_the_system_prompt() -> None:
    answers = [bytes([97 + i]) * 6 for i in range(12)]
    backend = fake.FakeBackend(answers, n_ctx=64)
    session = backend.session()
    chat = Chat(backend, session, system="sys", max_tokens=8)
    for i, answer in enumerate(answers):
        assert "".join(chat.answer(f"q{i}")) == answer.decode()
        assert session.pos <= session.n_ctx
        kept = range(i + 1 - chat.exchanges, i + 1)
        expected = turns(backend, ("system", "sys"))
        for j in kept:
            expected += turns(backend, ("user", f"q{j}"), ("assistant", answers[j].decode()))
        assert session.history == expected[:-1]
    assert session.slides and all(keep == len(turns(backend, ("system", "sys"))) for keep, _ in session.slides)
    assert chat.exchanges >= 2


def test_slides_in_the_middle_of_a_long_answer_then_stops_when_nothing_is_left_to_drop() -> None:
    backend = fake.FakeBackend([b"s" * 4, b"l" * 100], n_ctx=48)
    session = backend.session()
    chat = Chat(backend, session, system="S", max_tokens=90)
    list(chat.answer("one"))
    text = "".join(chat.answer("two"))
    assert chat.stats.end == "context" and set(text) == {"l"} and chat.exchanges == 1
    assert session.history[:3] == turns(backend, ("system", "S")) and session.pos == session.n_ctx


def test_without_a_system_prompt_everything_may_go() -> None:
    backend = fake.FakeBackend([b"x" * 20, b"y"], n_ctx=40)
    session = backend.session()
    chat = Chat(backend, session, max_tokens=21)
    list(chat.answer("first"))
    list(chat.answer("second one, rather long"))
    assert session.history == turns(backend, ("user", "second one, rather long"), ("assistant", "y"))[:-1]


def test_a_question_too_long_leaves_the_conversation_alone() -> None:
    backend = fake.FakeBackend([b"fine", b"still fine"], n_ctx=40)
    session = backend.session()
    chat = Chat(backend, session)
    list(chat.answer("a"))
    before = list(session.history)
    with pytest.raises(RuntimeFault, match="has 53 tokens, the context has room for 39"):
        list(chat.answer("b" * 50))
    assert session.history == before
    assert "".join(chat.answer("c")) == "still fine"


def test_stop_ends_the_answer_and_the_conversation_goes_on() -> None:
    backend = fake.FakeBackend([b"abcdef", b"next"], n_ctx=200)
    session = backend.session()
    chat = Chat(backend, session)
    got = []
    for piece in chat.answer("q"):
        got.append(piece)
        if len(got) == 2:
            chat.stop.ask()
    assert got == ["a", "b"] and chat.stats.end == "stopped"
    backend.script = [*b"next", fake.EOT]
    assert "".join(chat.answer("r")) == "next"
    assert (
        session.history == turns(backend, ("user", "q"), ("assistant", "ab"), ("user", "r"), ("assistant", "next"))[:-1]
    )


def test_a_closed_answer_is_a_whole_turn() -> None:
    backend = fake.FakeBackend([b"abcdef"], n_ctx=200)
    session = backend.session()
    chat = Chat(backend, session)
    answer = chat.answer("q")
    next(answer)
    answer.close()
    backend.script = [*b"k", fake.EOT]
    list(chat.answer("r"))
    assert session.history == turns(backend, ("user", "q"), ("assistant", ""), ("user", "r"), ("assistant", "k"))[:-1]


def test_stop_during_a_long_prompt_takes_it_back() -> None:
    backend = fake.FakeBackend([b"abc"], n_ctx=5000)
    session = backend.session()
    chat = Chat(backend, session)
    evaluate = session.eval

    def eval_then_stop(tokens: list[int]) -> None:
        evaluate(tokens)
        chat.stop.ask()

    session.eval = eval_then_stop
    assert list(chat.answer("q" * 3 * PROMPT_STEP)) == [] and chat.stats.end == "stopped"
    assert session.history == [] and chat.exchanges == 0


def test_no_chat_format_and_long_system_prompt_are_refused() -> None:
    plain = fake.FakeBackend(eot=None)
    with pytest.raises(RuntimeFault, match="no chat format"):
        Chat(plain, plain.session())
    backend = fake.FakeBackend(n_ctx=20)
    with pytest.raises(RuntimeFault, match="more than half"):
        Chat(backend, backend.session(), system="s" * 30)


def test_generate_continues_and_slides() -> None:
    backend = fake.FakeBackend([b"w" * 100], n_ctx=32)
    session, stats = backend.session(), Stats()
    text = "".join(
        generate(backend, session, "abc", sampling=Sampling.greedy(), max_tokens=80, stats=stats, telemetry=True)
    )
    assert text == "w" * 80 and stats.end == "length" and session.slides and len(stats.records) == 80
    assert stats.prompt_tokens == 3 and stats.decode_rate is not None and stats.decode_rate > 0


BOS = 300


def llama_backend(answers: list[bytes], n_ctx: int) -> fake.FakeBackend:
    """A text begins with a token of its own, and a newline follows the end of a turn."""
    backend = fake.FakeBackend(answers, n_ctx=n_ctx)
    backend.bos, backend.turn_end = BOS, [fake.EOT, 10]
    return backend


def test_a_text_begins_with_the_files_token() -> None:
    backend = llama_backend([b"w" * 100], 32)
    session, stats = backend.session(), Stats()
    list(generate(backend, session, "abc", sampling=Sampling.greedy(), max_tokens=80, stats=stats))
    assert stats.prompt_tokens == 4 and session.history[0] == BOS and session.history.count(BOS) == 1
    assert session.slides and all(keep == 1 for keep, _ in session.slides)


@pytest.mark.parametrize("system", [None, "be"])
def test_a_conversation_begins_with_the_files_token(system: str | None) -> None:
    backend = llama_backend([b"one", b"two"], 200)
    session = backend.session()
    chat = Chat(backend, session, system=system)
    first = [BOS, *(turns(backend, ("system", system)) if system else [])]
    assert "".join(chat.answer("a")) == "one" and "".join(chat.answer("b")) == "two"
    expected = [*first, *turns(backend, ("user", "a"), ("assistant", "one")), 10, *turns(backend, ("user", "b"), ("assistant", "two"))]
    assert session.history == expected[:-1]
    chat.forget_last()
    chat.forget_last()
    assert session.history == [*first, *turns(backend)] and chat.exchanges == 0
    small = llama_backend([b"x" * 8] * 30, 64)
    session = small.session()
    chat = Chat(small, session, system=system)
    for _ in range(20):
        "".join(chat.answer("q"))
    assert session.slides and all(keep == len(first) for keep, _ in session.slides) and session.history[0] == BOS


def test_generate_refuses_empty_and_long_prompts() -> None:
    backend = fake.FakeBackend([b"x"], n_ctx=8)
    for text, match in (("", "empty"), ("123456789", "9 tokens, the context has room for 8")):
        with pytest.raises(RuntimeFault, match=match):
            list(generate(backend, backend.session(), text, sampling=Sampling(), max_tokens=1, stats=Stats()))


def test_generate_stopped_before_it_began() -> None:
    backend, stats, stop = fake.FakeBackend([b"x"]), Stats(), Stop()
    stop.ask()
    session = backend.session()
    assert list(generate(backend, session, "abc", sampling=Sampling(), max_tokens=9, stats=stats, stop=stop)) == []
    assert stats.end == "stopped" and session.pos == 0
