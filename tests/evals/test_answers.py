"""One answer of a back end: its text, its tokens, and whose state belongs to it."""

from __future__ import annotations

import math

import pytest

from qig_edge.evals.answers import ANSWER_TOKENS, Answer, ask, first_line, fits
from qig_edge.runtime.backend import Backend, Sampling, Session
from tests.evals.fake import Said, TalkingBackend


def answer_of(said: Said, prompt: str = "2 + 2 =", n_ctx: int = 256) -> Answer:
    backend = TalkingBackend(lambda _: said, n_ctx)
    session = backend.session()
    session.set_sampler(Sampling.greedy())
    return ask(backend, session, prompt)


def test_fake_is_a_backend() -> None:
    backend = TalkingBackend(lambda _: Said("4"))
    assert isinstance(backend, Backend) and isinstance(backend.session(), Session)


def test_state_belongs_to_what_wrote_the_answer() -> None:
    """ " 4", newline: three tokens, written by the prompt's last position and the two after it, at 0, 1, 2 thousandths above the fake's numbers."""
    a = answer_of(Said("4", phi=0.5, confidence=0.4, surprise=0.2))
    assert a.text == "4" and a.written == (b" ", b"4", b"\n") and a.prompt_tokens == 8
    assert abs(a.phi - 0.501) < 1e-12
    assert a.confidences == pytest.approx((0.4, 0.401, 0.402), abs=1e-12)
    # surprise is told by the token that came: one position later each
    assert abs(a.surprise - 0.202) < 1e-12
    assert a.probabilities == pytest.approx((0.8,) * 3, abs=1e-6)
    assert len(a.records) == 11


def test_an_end_token_ends_an_answer_too() -> None:
    a = answer_of(Said("4", newline=False))
    assert a.text == "4" and a.written == (b" ", b"4", b"") and a.tokens_right("4") == [True] * 3
    assert a.tokens_right("4 2") == [True, True, False]


def test_an_answer_without_end_is_cut() -> None:
    a = answer_of(Said("4" * 100))
    assert len(a.written) == ANSWER_TOKENS and a.text == "4" * (ANSWER_TOKENS - 1)


@pytest.mark.parametrize(
    ("said", "expected", "right"),
    [
        ("1 2", "1 2", [True] * 5),
        ("1 3", "1 2", [True, True, True, False]),
        ("1", "1 2", [True, True, False]),
        ("1 2", "1", [True, True, False]),
        ("", "1", [True, False]),
        ("yes", "no", [True, False]),
    ],
)
def test_tokens_are_right_up_to_the_first_that_is_not(said: str, expected: str, right: list[bool]) -> None:
    a = answer_of(Said(said))
    assert a.tokens_right(expected) == right
    assert (a.text == expected) == all(right)


def test_a_missing_blank_and_whole_words_are_right() -> None:
    a = answer_of(Said("x"))
    whole = Answer("Ann", (b"Ann", b"\n"), *([0] * 3), (), (), ())  # type: ignore[arg-type]
    assert whole.tokens_right("Ann") == [True, True] and whole.tokens_right("Anna") == [True, False]
    assert a.tokens_right("x") == [True] * 3


def test_first_line() -> None:
    assert first_line(" 4 2 \nmore\n") == "4 2" and first_line("\n4") == "" and first_line("") == ""


def test_what_fits() -> None:
    for n_ctx, expected in ((8 + ANSWER_TOKENS, True), (7 + ANSWER_TOKENS, False)):
        backend = TalkingBackend(lambda _: Said("4"), n_ctx)
        assert fits(backend, backend.session(), "2 + 2 =") is expected


def test_sessions_are_used_again() -> None:
    backend = TalkingBackend(lambda prompt: Said(prompt[-1]))
    session = backend.session()
    session.set_sampler(Sampling.greedy())
    assert [ask(backend, session, p).text for p in ("ab", "cd", "e")] == ["b", "d", "e"]
    assert math.isfinite(ask(backend, session, "x").phi)
