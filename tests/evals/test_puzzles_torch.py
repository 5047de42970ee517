"""Puzzle accuracy of a torch model: batches do not change answers, and torch and libqig are asked the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
tokenizers = pytest.importorskip("tokenizers")

from qig_edge.evals.answers import ask  # noqa: E402
from qig_edge.evals.puzzles.generate import problems, records  # noqa: E402
from qig_edge.evals.puzzles.problem import NOUNS  # noqa: E402
from qig_edge.evals.puzzles_torch import answers, puzzle_scores  # noqa: E402
from qig_edge.runtime.backend import Sampling  # noqa: E402
from qig_edge.runtime.native import NativeModel  # noqa: E402
from qig_edge.train.checkpoint import load_model  # noqa: E402
from qig_edge.train.tokenizer import load_tokenizer, train_tokenizer  # noqa: E402
from tests.conftest import SEED  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


@pytest.fixture(scope="module")
def tokenizer() -> tokenizers.Tokenizer:
    return train_tokenizer((r["text"] for r in records(3000, SEED)), 400)


class Oracle(torch.nn.Module):
    """Knows the answers up to a level and says "zz" beyond: its logits point at the next token. Every second text ends with the end token."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, count: int, knows: int) -> None:
        super().__init__()
        self.tokenizer, self.calls, self.widest = tokenizer, 0, 0
        self.texts = []
        for i, p in enumerate(problems(count, SEED, "test")):
            said = f" {p.answer}" if p.level <= knows else " zz"
            end = [0] if i % 2 else tokenizer.encode("\n").ids
            self.texts.append([0, *tokenizer.encode(p.prompt).ids, *tokenizer.encode(said).ids, *end])

    def forward(self, ids: torch.Tensor) -> SimpleNamespace:
        assert not torch.is_grad_enabled() and not self.training
        self.calls, self.widest = self.calls + 1, max(self.widest, len(ids))
        logits = torch.zeros(*ids.shape, self.tokenizer.get_vocab_size())
        for row, given in enumerate(ids.tolist()):
            known = next(t for t in self.texts if t[: len(given)] == given)
            logits[row, -1, known[len(given)]] = 1
        return SimpleNamespace(logits=logits)


def test_what_is_known_counts_as_right(tokenizer: tokenizers.Tokenizer) -> None:
    oracle = Oracle(tokenizer, 140, knows=3)
    oracle.train()
    scores = puzzle_scores(oracle, tokenizer, 140, SEED, batch=8)  # type: ignore[arg-type]
    assert {n: p.share for n, p in scores.by_level.items()} == {1: 1, 2: 1, 3: 1, 4: 0, 5: 0}
    assert (scores.overall.right, scores.overall.total) == (84, 140) and len(scores.cells) == 35
    assert oracle.training and oracle.widest == 8


def test_an_oracle_of_everything_is_never_wrong(tokenizer: tokenizers.Tokenizer) -> None:
    assert puzzle_scores(Oracle(tokenizer, 210, 5), tokenizer, 210, SEED).overall.share == 1  # type: ignore[arg-type]


def test_a_prompts_tokens_begin_its_texts_tokens(tokenizer: tokenizers.Tokenizer) -> None:
    """Asked is what was trained on: the answer's first byte never merges into the prompt."""
    checked = 0
    for p in problems(1000, SEED, "test"):
        whole, prompt = tokenizer.encode(p.text).ids, tokenizer.encode(p.prompt).ids
        assert whole[: len(prompt)] == prompt and len(whole) > len(prompt) + 1, p
        checked += len(whole) - len(prompt) <= 8
    assert checked > 900


def told() -> list[str]:
    """Beginnings of sentences, of several lengths, that the golden model goes on with; and problems."""
    stories = [f"{start} {noun}" for start in ("Once upon a time the", "The", "One day a") for noun in NOUNS[::8]]
    return stories + [p.prompt for p in problems(7, 0, "test", (1,))]


def test_batches_and_order_change_nothing() -> None:
    """The golden model knows no puzzles, but its answers are its own whoever stands beside them."""
    model, tokenizer = load_model(GOLDEN / "checkpoint"), load_tokenizer(GOLDEN / "checkpoint")
    prompts = told()
    together = answers(model, tokenizer, prompts)
    assert together == answers(model, tokenizer, prompts, batch=1)
    assert together[::-1] == answers(model, tokenizer, prompts[::-1])
    assert len(set(together)) > 5


def test_torch_and_libqig_are_asked_the_same() -> None:
    model, tokenizer = load_model(GOLDEN / "checkpoint"), load_tokenizer(GOLDEN / "checkpoint")
    prompts = told()
    ours = answers(model, tokenizer, prompts)
    with NativeModel(GOLDEN / "golden-f32.gguf") as native, native.session(n_threads=1) as session:
        session.set_sampler(Sampling.greedy())
        theirs = [ask(native, session, prompt).text for prompt in prompts]
    # one near-tie of two logits may fall either way on another machine
    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) <= 1, list(zip(ours, theirs, strict=True))
    assert len(set(theirs)) > 5
