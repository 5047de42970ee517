"""Speculation on every kind of model that torch makes and the converter writes: the greedy text is that without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from qig_edge.runtime.backend import Sampling
from qig_edge.runtime.native import NativeModel
from tests.convert.tiny import KINDS, random_kernel, tiny_config, tiny_tokenizer, write

TOKENIZER = tiny_tokenizer()


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_text_is_the_same(tmp_path: Path, kind: str) -> None:
    for recipe in ("f32", "q4"):
        model = random_kernel(tiny_config(**KINDS[kind], draft_blocks=1), seed=3)
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
