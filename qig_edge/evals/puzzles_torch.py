"""Puzzle accuracy of a torch model, in batches: what ablations and training runs look at.

    scores = puzzle_scores(model, tokenizer, count=300);  scores.by_level[1].share

Prompts and rules are those of the suite "puzzles"; there is no telemetry here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from qig_edge.evals.answers import ANSWER_TOKENS, first_line
from qig_edge.evals.puzzles.generate import LEVELS, problems
from qig_edge.evals.puzzles.problem import Problem
from qig_edge.evals.puzzles.score import Scores, score
from qig_edge.train.tokenizer import CONTROL, END_OF_TEXT, END_OF_TURN

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from qig_edge.model.kernel import Kernel

EOS, EOT = CONTROL.index(END_OF_TEXT), CONTROL.index(END_OF_TURN)


def puzzle_scores(
    model: Kernel,
    tokenizer: Tokenizer,
    count: int = 300,
    seed: int = 0,
    levels: Sequence[int] = LEVELS,
    device: str = "cpu",
    batch: int = 64,
) -> Scores:
    """Scores of `count` test problems, the same ones and the same rules as the suite "puzzles". The model is left in the mode it came in."""
    chosen = list(problems(count, seed, "test", levels))
    said = answers(model, tokenizer, [p.prompt for p in chosen], device, batch)
    return score(chosen, [_right(p, text) for p, text in zip(chosen, said, strict=True)])


@torch.no_grad()
def answers(
    model: Kernel, tokenizer: Tokenizer, prompts: Sequence[str], device: str = "cpu", batch: int = 64
) -> list[str]:
    """The greedy first line after each prompt; prompts of equal length are evaluated together, anew for each token (answers are short)."""
    encoded = [[EOS, *e.ids] for e in tokenizer.encode_batch(list(prompts), add_special_tokens=False)]
    closing = _closing_tokens(tokenizer)
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, ids in enumerate(encoded):
        by_length[len(ids)].append(i)
    out = [""] * len(encoded)
    training = model.training
    model.eval()
    try:
        for same in by_length.values():
            for first in range(0, len(same), batch):
                part = same[first : first + batch]
                written = _greedy(model, torch.tensor([encoded[i] for i in part], device=device), closing)
                for i, ids in zip(part, written, strict=True):
                    out[i] = first_line(tokenizer.decode(ids, skip_special_tokens=True))
    finally:
        model.train(training)
    return out


def _greedy(model: Kernel, ids: torch.Tensor, closing: torch.Tensor) -> list[list[int]]:
    """ids [B, T] -> the tokens written after each row, the closing one included where there is one."""
    written: list[list[int]] = [[] for _ in range(len(ids))]
    rows = list(range(len(ids)))
    closing = closing.to(ids.device)
    for _ in range(ANSWER_TOKENS):
        token = model(ids).logits[:, -1].argmax(-1)
        for row, t in zip(rows, token.tolist(), strict=True):
            written[row].append(t)
        going = ~closing[token]
        if not bool(going.any()):
            break
        rows = [row for row, goes in zip(rows, going.tolist(), strict=True) if goes]
        ids = torch.cat((ids, token[:, None]), 1)[going]
    return written


def _closing_tokens(tokenizer: Tokenizer) -> torch.Tensor:
    """bool[V]: tokens that end an answer: end of text, end of turn, and whatever holds a newline."""
    size = tokenizer.get_vocab_size()
    closing = torch.tensor(["\n" in tokenizer.decode([i]) for i in range(size)])
    closing[[EOS, EOT]] = True
    return closing


def _right(problem: Problem, text: str) -> bool:
    return text == problem.answer
