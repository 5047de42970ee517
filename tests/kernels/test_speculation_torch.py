"""Speculation on every kind of model that torch makes and the converter writes: the greedy text is that without it, and the guesses are torch's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qig_edge.model.kernel import Kernel
from qig_edge.runtime.backend import Sampling
from qig_edge.runtime.native import NativeModel
from tests.convert.tiny import DEPTHS, DRAFT, KINDS, random_kernel, tiny_config, tiny_tokenizer, write

TOKENIZER = tiny_tokenizer()


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_text_is_the_same(tmp_path: Path, kind: str) -> None:
    for recipe in ("f32", "q4"):
        model = random_kernel(tiny_config(**KINDS[kind], **DRAFT), seed=3)
        write(tmp_path / f"{recipe}.gguf", model, recipe, TOKENIZER)
        said = []
        with NativeModel(tmp_path / f"{recipe}.gguf") as opened:
            for length in (0, 3):
                with opened.session(n_threads=1) as session:
                    session.set_sampler(Sampling.greedy())
                    session.set_speculation(length)
                    session.eval(opened.tokenize("The fox ran"))
                    while session.pos < 60:
                        before = session.pos
                        drawn = session.next_tokens(60 - before)
                        if session.pos == before:
                            session.eval(drawn)
                    assert session.speculates == (length > 0) and (length == 0 or session.speculation().tested > 0)
                    said.append((list(session.tokens), session.logits().tobytes()))
        assert said[0] == said[1]


def guesses(model: Kernel, ids: list[int]) -> tuple[list[int], torch.Tensor]:
    """Likeliest next token of the draft after each token, and by how much it is ahead of the second."""
    with torch.no_grad():
        journey = model(torch.tensor([ids])).journey
        logits = model.draft_logits(model.draft_states(journey))[0]
    assert logits.shape[1] == (model.config.draft_vocab or model.config.vocab_size)
    best = logits.topk(2, -1)
    return best.indices[:, 0].tolist(), best.values[:, 0] - best.values[:, 1]


@pytest.mark.parametrize("lag", [1, 2, 8])
@pytest.mark.parametrize("kind", ["plain", "everything", "everything, diagonal, probed"])
def test_guesses_are_those_of_torch(tmp_path: Path, kind: str, lag: int) -> None:
    """A round of every length says how many of its guesses were right: as many as torch guesses right in a row."""
    shape = {**DEPTHS, "plain": {}}[kind]
    model = random_kernel(tiny_config(**{**shape, **DRAFT, "draft_lag": lag, "n_layers": 3}), seed=5)
    with torch.no_grad():  # blocks that say little, so that guesses are right now and then
        for block in model.blocks:
            block.ffn.down.weight.mul_(0.3)
            block.attn.o.weight.mul_(0.3)
        model.draft.output_norm.weight.copy_(model.norm.weight)
    write(tmp_path / "m.gguf", model, "f32", TOKENIZER)
    right = wrong = 0
    with NativeModel(tmp_path / "m.gguf") as opened, opened.session(n_threads=1) as session:
        session.set_sampler(Sampling.greedy())
        generator = torch.Generator().manual_seed(lag)
        for length in range(1, lag + 1):
            for _ in range(16):
                prompt = torch.randint(5, 250, (12,), generator=generator).tolist()
                session.rollback(0)
                session.eval(prompt)
                session.set_speculation(length)
                kept = session.next_tokens()
                if session.pos == len(prompt):
                    continue  # an end, which is not evaluated
                text = [int(t) for t in session.tokens]
                told, ahead = guesses(model, text)
                said = session.speculation()
                found = [told[i] == text[i + 1] for i in range(len(prompt), len(text) - 1)]
                if ahead[len(prompt) :].min() < 1e-4:
                    continue  # rounding decides
                ended = session.sample() in (opened.eos, opened.eot)  # guessed right perhaps, but not evaluated
                assert all(found) and len(kept) - 1 == len(found) <= said.accepted <= len(found) + ended
                right += len(found)
                wrong += len(kept) <= length
    assert right > lag and wrong > lag, (right, wrong)
