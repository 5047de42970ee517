"""Kept sessions go on to the last bit: every kind of model that a file can hold, float and int8 caches, other threads and contexts."""

from __future__ import annotations

from pathlib import Path

import pytest

from qig_edge.runtime.backend import Sampling
from qig_edge.runtime.native import NativeModel, NativeSession
from tests.convert.tiny import DEPTHS, DRAFT, KINDS, TWINS, random_kernel, tiny_config, tiny_tokenizer, write
from tests.jarvis import test_gguf as jarvis

EVERY = KINDS | TWINS | DEPTHS | {"draft": DRAFT}
DRAWING = Sampling(temperature=1.1, top_k=0, top_p=0.98, min_p=0.0, repeat_penalty=1.1, repeat_last_n=20, seed=4)
TEXT = [5 + 7 * i % 250 for i in range(30)]
TOKENIZER = tiny_tokenizer()


def state(session: NativeSession) -> list[object]:
    """All that can be seen of a session, bit for bit (as text: NaN is what was not observed)."""
    logits = session.logits().tobytes() if session.pos else b""
    return [session.tokens.tolist(), logits, *((repr(session.telemetry(i)), session.cache_reads(i)) for i in range(session.pos))]


def follow(session: NativeSession, rounds: bool) -> list[object]:
    """What comes of a session: tokens drawn in rounds or one by one, after a rollback, after a slide."""
    seen: list[object] = [state(session)]

    def draw(n: int) -> None:
        for _ in range(n):
            if rounds:
                seen.append(session.next_tokens())
            else:
                token = session.sample()
                session.eval([token])
                seen.append(token)
        seen.append(state(session))

    draw(3)
    session.rollback(20)
    draw(2)
    session.slide(3, 12)
    draw(2)
    return seen


def goes_on(path: Path, cache: str) -> int:
    """Saves one session and goes on in others, of other threads and contexts; how many. (The shares of bytes_read hang on n_batch.)"""
    ran, kept = 0, path.with_suffix(".qig")
    with NativeModel(path) as model:
        length = model.info.draft_lag

        def open_session(n_threads: int, n_ctx: int) -> NativeSession:
            session = model.session(n_threads=n_threads, n_ctx=n_ctx, n_batch=16, cache_type=cache)
            session.set_sampler(DRAWING)
            session.set_speculation(length)
            return session

        with open_session(1, 48) as session:
            session.eval(TEXT[:25])
            for _ in range(3):
                session.next_tokens()
            before = state(session)
            session.save(kept, b"a note")
            assert state(session) == before
            expected = follow(session, bool(length))
        for n_threads, n_ctx in ((1, 48), (2, 60), (3, 40), (0, 48)):
            with open_session(n_threads, n_ctx) as session:
                if n_threads != 1:
                    session.eval(TEXT[3:11])  # gone when the file comes
                assert session.load(kept) == b"a note"
                assert follow(session, bool(length)) == expected, (n_threads, n_ctx)
                ran += 1
    return ran


@pytest.mark.parametrize("cache", ["f32", "i8"])
@pytest.mark.parametrize("kind", EVERY)
def test_goes_on_as_if_nothing_had_been(tmp_path: Path, kind: str, cache: str) -> None:
    write(tmp_path / "m.gguf", random_kernel(tiny_config(**EVERY[kind]), 0), "f32" if cache == "f32" else "q4", TOKENIZER)
    assert goes_on(tmp_path / "m.gguf", cache) == 4


@pytest.mark.parametrize("cache", ["f32", "i8"])
def test_jarvis_goes_on(tmp_path: Path, cache: str) -> None:
    assert goes_on(jarvis.write(tmp_path / "m.gguf", jarvis.network(jarvis.BASE)), cache) == 4
