"""The comparison of a reply with its role-swapped twin, and the conversation that waits for it."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qig_edge.cli import main
from qig_edge.cli.chat import Gate, _answer
from qig_edge.errors import RuntimeFault
from qig_edge.runtime.assets import model_path
from qig_edge.runtime.backend import Sampling
from qig_edge.runtime.chat import Chat
from qig_edge.runtime.native import NativeModel
from qig_edge.runtime.roles import swap_roles, token_swap
from qig_edge.runtime.stream import Stop
from qig_edge.runtime.symmetry import ROWS, Scorer, Symmetry

_spec = importlib.util.spec_from_file_location("fake_for_symmetry", Path(__file__).with_name("fake.py"))
assert _spec and _spec.loader
fake = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake)


@pytest.fixture(scope="module")
def model() -> Iterator[NativeModel]:
    with NativeModel(model_path(None)) as opened:
        yield opened


def by_hand(
    model: NativeModel, messages: Sequence[tuple[str, str]], reply: str, ended: bool = True
) -> tuple[np.ndarray, list[int]]:
    """Log-probabilities [n, V] at each token of the reply, everything in one call, and the reply's ids."""
    prompt = [t for role, content in messages for t in model.chat_turn(role, content)] + model.chat_turn(
        "assistant", None
    )
    answer = model.tokenize(reply) + [model.eot] * ended
    with model.session(n_threads=1) as session:
        logits = session.eval_all([*prompt, *answer])[len(prompt) - 1 : -1].astype(np.float64)
    return logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True)) - logits.max(
        -1, keepdims=True
    ), answer


ASKED = "Will you help me? I am sure that you can."
LONG = "Yes, I will help you because you are my friend. " * 4


@pytest.mark.parametrize("reply", ["Yes, I will help you.", LONG, "No."], ids=["short", "long", "plain"])
@pytest.mark.parametrize("ended", [True, False])
def test_score_is_what_the_formula_says(model: NativeModel, reply: str, ended: bool) -> None:
    system = ("system", "You are kind to me.")
    with Scorer(model, n_threads=1) as scorer:
        found = scorer.score([system, ("user", ASKED)], reply, ended=ended)
        again = scorer.score([system, ("user", ASKED)], reply, ended=ended)
    means = []
    for one in (lambda text: text, swap_roles):
        log_p, answer = by_hand(model, [("system", one(system[1])), ("user", one(ASKED))], one(reply), ended)
        means.append(float(log_p[np.arange(len(answer)), answer].mean()))
    assert abs(found.log_likelihood - means[0]) <= 1e-5 and abs(found.twin_log_likelihood - means[1]) <= 1e-5
    assert abs(found.score - math.exp(-abs(means[0] - means[1]))) <= 1e-5 and 0 < found.score < 1
    assert again == found
    if reply == LONG:
        assert found.tokens > ROWS + 2  # more than one step of rows


def test_a_twin_of_itself_scores_one_and_a_pair_scores_alike_from_either_side(model: NativeModel) -> None:
    with Scorer(model, n_threads=1) as scorer:
        assert scorer.score([("user", "What is a cat?")], "A cat is an animal.").score == 1.0
        one = scorer.score([("user", "Can you see me?")], "I see you.")
        other = scorer.score([("user", "Can I see you?")], "You see me.")
    assert one.score == other.score < 1 and one.log_likelihood == other.twin_log_likelihood


def test_divergence_is_what_the_formula_says(model: NativeModel) -> None:
    messages, reply = [("user", ASKED)], "I will help you."
    twins = token_swap(model)
    p, answer = by_hand(model, messages, reply)
    q, other = by_hand(model, [("user", swap_roles(ASKED))], swap_roles(reply))
    assert len(answer) == len(other)
    p, q = np.exp(p), np.exp(q)[:, twins]
    m = (p + q) / 2
    expected = ((p * np.log2(p / m)).sum(-1) + (q * np.log2(q / m)).sum(-1)) / 2
    with Scorer(model, n_threads=1) as scorer:
        total, places = scorer.divergence(messages, reply)
        assert places == len(answer) and abs(total - expected.sum()) <= 1e-4
        assert 0 < total < places
        uneven = "It is mine, not yours, and this is yours."
        first, compared = scorer.divergence(messages, uneven)
    lengths = [len(model.tokenize(text)) for text in (uneven, swap_roles(uneven))]
    assert compared == (lengths[0] + 1 if lengths[0] == lengths[1] else 1) and 0 <= first <= compared


def test_old_exchanges_go_on_both_sides_when_the_context_is_full(model: NativeModel) -> None:
    old = [("user", "Tell me more about you."), ("assistant", "I am small. " * 30)]
    last = [("user", ASKED)]
    with Scorer(model, n_ctx=64, n_threads=1) as scorer:
        short = scorer.score(last, "I can.")
        assert scorer.score([*old, *last], "I can.") == short
        system = [("system", "Be kind.")]
        assert scorer.score([*system, *old, *last], "I can.") == scorer.score([*system, *last], "I can.") != short
        cut = scorer.score(last, "I can help you. " * 40)
        assert cut.tokens + len(model.chat_turn("user", ASKED)) == 64 and cut.score > 0
        with pytest.raises(RuntimeFault, match="the context has room for 64"):
            scorer.score([("user", ASKED * 9)], "I can.")
    with Scorer(model, n_threads=1) as scorer:
        assert scorer.score([*old, *last], "I can.") != short


def test_nothing_to_compare_is_an_error() -> None:
    backend = fake.FakeBackend(n_ctx=200)
    with Scorer(backend) as scorer:
        assert scorer.score([("user", "hi")], "", ended=True).tokens == 1
        with pytest.raises(RuntimeFault, match="empty reply"):
            scorer.score([("user", "hi")], "", ended=False)
    with pytest.raises(RuntimeFault, match="no chat format"):
        Scorer(fake.FakeBackend(eot=None))


def test_the_line_says_which_side_is_likelier() -> None:
    line = Symmetry(-1.0, -3.0, 4, 5).line(0.25)
    assert (
        line.startswith("symmetry 0.14 is under the limit of 0.25: the reply is likelier than")
        and "-1.00 against -3.00" in line
    )
    assert "less likely" in Symmetry(-3.0, -1.0, 4, 5).line(0.25)


# ---- the conversation


def test_the_last_exchange_can_be_taken_back() -> None:
    backend = fake.FakeBackend([b"one", b"two", b"three"], n_ctx=200)
    session = backend.session()
    chat = Chat(backend, session, system="be")
    "".join(chat.answer("a"))
    before = list(session.history)
    "".join(chat.answer("b"))
    assert chat.messages == [("system", "be"), ("user", "a"), ("assistant", "one"), ("user", "b"), ("assistant", "two")]
    chat.forget_last()
    assert chat.messages == [("system", "be"), ("user", "a"), ("assistant", "one")] and chat.exchanges == 1
    assert session.history == [*before, fake.EOT]
    "".join(chat.answer("c"))
    assert session.history == [*before, fake.EOT, *backend.chat_turn("user", "c"), fake.HEADERS["assistant"], *b"three"]
    chat.forget_last()
    chat.forget_last()
    chat.forget_last()
    assert session.history == backend.chat_turn("system", "be") and chat.exchanges == 0


def test_an_exchange_taken_back_leaves_no_trace(model: NativeModel) -> None:
    """The next answer is the one that a conversation without it gives, and the scores too: the context is the same."""
    told = []
    for held in (False, True):
        with model.session(n_threads=1) as session:
            chat = Chat(model, session, sampling=Sampling.greedy(), max_tokens=24)
            "".join(chat.answer("Hello, who are you?"))
            if held:
                "".join(chat.answer("Can I trust you?"))
                chat.forget_last()
            told.append(("".join(chat.answer("What do you like?")), chat.messages, session.tokens.tolist()))
    assert told[0] == told[1] and told[0][0]


def test_messages_slide_with_the_context() -> None:
    backend = fake.FakeBackend([bytes([97 + i]) * 6 for i in range(9)], n_ctx=64)
    chat = Chat(backend, backend.session(), max_tokens=8)
    for i in range(9):
        "".join(chat.answer(f"q{i}"))
        assert len(chat.messages) == 2 * chat.exchanges and chat.messages[-1] == ("assistant", chr(97 + i) * 6)
    assert chat.exchanges < 9 and chat.session.slides


class FixedScorer:
    """Says what it is told to."""

    def __init__(self, *differences: float) -> None:
        self.differences, self.seen = list(differences), list[Any]()

    def score(self, messages: Any, reply: str, *, ended: bool) -> Symmetry:
        self.seen.append((messages, reply, ended))
        difference = self.differences.pop(0)
        if math.isnan(difference):
            raise RuntimeFault("it does not fit")
        return Symmetry(-1.0, -1.0 - difference, 3, 3)


def talked(capfd: Any, differences: Sequence[float], abort: bool, as_json: bool = False) -> SimpleNamespace:
    backend = fake.FakeBackend([b"one", b"two"], n_ctx=200)
    chat, scorer = Chat(backend, backend.session()), FixedScorer(*differences)
    gate = Gate(scorer, 0.5, abort)  # type: ignore[arg-type]
    shown = [_answer(chat, text, gate, as_json) for text in ("a", "b")]
    out, err = capfd.readouterr()
    return SimpleNamespace(chat=chat, shown=shown, out=out, err=err, seen=scorer.seen)


def test_warn_shows_the_reply_and_one_line(capfd: Any) -> None:
    t = talked(capfd, [2.0, 0.1], abort=False)
    assert t.out == "one\ntwo\n" and t.shown == [True, True]
    assert t.err.count("\n") == 1 and t.err.startswith(
        "[symmetry 0.14 is under the limit of 0.5: the reply is likelier"
    )
    assert t.seen == [
        ([("user", "a")], "one", True),
        ([("user", "a"), ("assistant", "one"), ("user", "b")], "two", True),
    ]


def test_abort_holds_the_reply_back_and_forgets_it(capfd: Any) -> None:
    t = talked(capfd, [-2.0, 0.1], abort=True)
    assert t.out == "two\n" and t.shown == [False, True]
    assert t.err.count("\n") == 1 and "less likely" in t.err and t.err.endswith("it is not shown]\n")
    assert t.seen[1] == ([("user", "b")], "two", True) and t.chat.exchanges == 1


def test_what_cannot_be_compared_does_not_pass(capfd: Any) -> None:
    t = talked(capfd, [math.nan, 0.0], abort=True)
    assert t.out == "two\n" and t.err == "[symmetry is unknown: it does not fit; it is not shown]\n"


def test_json_has_the_score(capfd: Any) -> None:
    t = talked(capfd, [2.0, 0.1], abort=True, as_json=True)
    held, passed = map(json.loads, t.out.splitlines())
    assert held["answer"] is None and held["symmetry"]["passed"] is False and held["message"] == "a"
    assert passed["answer"] == "two" and passed["symmetry"] == {
        "score": math.exp(-0.1),
        "limit": 0.5,
        "passed": True,
        "log_likelihood": -1.0,
        "twin_log_likelihood": -1.1,
    }


class Watched:
    """A conversation that looks at what was printed before it goes on."""

    def __init__(self, capfd: Any) -> None:
        self.stop, self.capfd = Stop(), capfd

    def answer(self, text: str) -> Iterator[str]:
        yield "one "
        assert self.capfd.readouterr().out == "one "
        yield "two"


def test_without_the_option_text_streams_and_json_has_no_score(capfd: Any) -> None:
    assert _answer(Watched(capfd), "a") and capfd.readouterr().out == "two\n"  # type: ignore[arg-type]
    backend = fake.FakeBackend([b"two"], n_ctx=200)
    assert _answer(Chat(backend, backend.session()), "b", None, True)
    told = json.loads(capfd.readouterr().out)
    counts = {"message": "b", "answer": "two", "end": "end", "prompt_tokens": 4, "tokens": 3}
    assert {name: told[name] for name in counts} == counts and "symmetry" not in told


def run(capfd: Any, *args: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["chat", "-t", "1", "--seed", "1", "-n", "24", *args])
    return int(left.value.code or 0), *capfd.readouterr()


def test_the_command_warns_aborts_and_passes(capfd: Any) -> None:
    plain = run(capfd, "-p", "Can you help me?")
    assert plain[0] == 0 and plain[1].strip() and not plain[2]
    warned = run(capfd, "-p", "Can you help me?", "--check-symmetry", "warn", "--symmetry-limit", "1")
    assert warned[:2] == plain[:2] and warned[2].startswith("[symmetry 0.") and warned[2].count("\n") == 1
    code, out, err = run(capfd, "-p", "Can you help me?", "--check-symmetry", "abort", "--symmetry-limit", "1")
    assert code == 1 and not out and "is not shown" in err and err.count("\n") == 1
    assert run(capfd, "-p", "Can you help me?", "--check-symmetry", "abort", "--symmetry-limit", "0") == plain
    for bad in (["--check-symmetry", "maybe"], ["--symmetry-limit", "nan"], ["--symmetry-limit", "1.5"]):
        code, out, err = run(capfd, "-p", "x", *bad)
        assert code == 2 and not out and err.count("\n") == 1 and bad[0].strip("-").split("-")[0] in err
