"""Drawing tokens one by one: text in whole UTF-8 characters, statistics, a stop that another thread or a signal handler may ask for."""

from __future__ import annotations

import codecs
import contextlib
import dataclasses
import time
from collections.abc import Callable, Collection, Iterator, Sequence

from qig_edge.errors import RuntimeFault
from qig_edge.runtime.backend import (
    Backend,
    Sampling,
    Session,
    Speculation,
    SpeculativeSession,
    Telemetry,
    text_start,
)
from qig_edge.runtime.state import BREAKDOWN, AnswerState, TokenState

# Tokens of a prompt evaluated between two looks at the stop flag. Floats do not depend on the split.
PROMPT_STEP = 256


@dataclasses.dataclass
class Stats:
    """What one answer took. Times in seconds.

    end: "end" (the model ended it), "length", "context" (no room left), "breakdown" (the model lost the thread and pauses) or "stopped".
    """

    prompt_tokens: int = 0
    tokens: int = 0
    prefill_s: float = 0.0
    first_token_s: float = 0.0
    decode_s: float = 0.0
    end: str = "length"
    records: list[Telemetry] = dataclasses.field(default_factory=list)
    state: AnswerState = dataclasses.field(default_factory=AnswerState)
    speculation: Speculation = Speculation()

    @property
    def prefill_rate(self) -> float | None:
        """Prompt tokens a second, None where no time was measured."""
        return self.prompt_tokens / self.prefill_s if self.prefill_s > 0 else None

    @property
    def decode_rate(self) -> float | None:
        """Tokens a second after the first (whose logits are the prompt's), None for fewer than two tokens."""
        return (self.tokens - 1) / self.decode_s if self.tokens > 1 and self.decode_s > 0 else None


class Stop:
    """A flag that ends an answer after the token at hand; safe to set from a signal handler or another thread."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        self.asked = True

    def clear(self) -> None:
        self.asked = False


def feed(session: Session, ids: Sequence[int], stop: Stop) -> bool:
    """Evaluates a prompt in steps. False where it was stopped on the way: the session is then back where it was."""
    start = session.pos
    for i in range(0, len(ids), PROMPT_STEP):
        if stop.asked:
            session.rollback(start)
            return False
        session.eval(ids[i : i + PROMPT_STEP])
    return True


def draw(
    backend: Backend,
    session: Session,
    *,
    max_tokens: int,
    ends: Collection[int],
    stats: Stats,
    stop: Stop,
    make_room: Callable[[], bool],
    telemetry: bool = False,
    on_token: Callable[[TokenState], None] | None = None,
) -> Iterator[str]:
    """Draws and evaluates at most max_tokens tokens after what the session holds, yielding text in whole UTF-8 characters.

    An end token (`ends`) closes the answer and is not evaluated. make_room is called when the context is full and says whether it found any.
    stats is filled while it runs; telemetry collects one record a token. on_token is called with each token once it is evaluated, after its text
    was yielded. Where the model's qig.regime.on_breakdown is "pause", the answer ends with the first token in breakdown.
    A session that speculates gives several tokens at once; what of them was not yielded when the answer ends is taken back.
    """
    pauses = backend.metadata("qig.regime.on_breakdown") == "pause"
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    ahead = session if isinstance(session, SpeculativeSession) and session.speculates else None
    before = ahead.speculation() if ahead else Speculation()
    first = time.perf_counter()
    drawn: list[int] = []  # tokens that are still to be told
    end, told = "", session.pos  # why the answer ended; position up to which tokens are told
    try:
        while stats.tokens < max_tokens and not end:
            if stop.asked:
                end = "stopped"
                break
            if not drawn:
                room = ahead is not None and session.pos < session.n_ctx
                drawn = ahead.next_tokens(max_tokens - stats.tokens) if ahead and room else [session.sample()]
            token = drawn.pop(0)
            if token in ends:
                end = "end"
                break
            stats.tokens += 1
            stats.decode_s = time.perf_counter() - first
            text = decoder.decode(backend.detokenize([token]))
            if text:
                yield text
            if session.pos == told:
                if told >= session.n_ctx and not make_room():
                    end = "context"
                    break
                session.eval([token])
                told = session.pos - 1
            record = session.telemetry(told)
            told += 1
            stats.state.add(record)
            if telemetry:
                stats.records.append(record)
            if on_token:
                on_token(TokenState(told - 1, token, text, record))
            if pauses and record.regime == BREAKDOWN:
                end = "breakdown"
    finally:
        rest = decoder.decode(b"", final=True)
        stats.end = end or stats.end
        if ahead:
            with contextlib.suppress(RuntimeFault):  # a reader who left may have closed the session before
                stats.speculation = ahead.speculation().since(before)
                if session.pos > told:
                    session.rollback(told)
    if rest:
        yield rest


def generate(
    backend: Backend,
    session: Session,
    text: str,
    *,
    sampling: Sampling,
    max_tokens: int,
    stats: Stats,
    stop: Stop | None = None,
    telemetry: bool = False,
    on_token: Callable[[TokenState], None] | None = None,
) -> Iterator[str]:
    """Continues a plain text (not repeated in what is yielded) on a fresh or running session.

    When the context fills up, its newer half is kept. Raises RuntimeFault for an empty text or one that the context does not hold.
    """
    stop = stop or Stop()
    ids = backend.tokenize(text)
    if not ids:
        raise RuntimeFault("the prompt is empty: give a text to continue")
    start_ids = text_start(backend) if session.pos == 0 else []
    ids = start_ids + ids
    room = session.n_ctx - session.pos
    if len(ids) > room:
        raise RuntimeFault(f"the prompt has {len(ids)} tokens, the context has room for {room}")
    start = time.perf_counter()
    session.set_sampler(sampling)
    stats.prompt_tokens = len(ids)
    if not feed(session, ids, stop):
        stats.end = "stopped"
        return
    stats.prefill_s = stats.first_token_s = time.perf_counter() - start

    def keep_newer_half() -> bool:
        session.slide(len(start_ids), session.n_ctx // 2)
        return session.pos < session.n_ctx

    ends = {backend.eos} if backend.eot is None else {backend.eos, backend.eot}
    yield from draw(
        backend,
        session,
        max_tokens=max_tokens,
        ends=ends,
        stats=stats,
        stop=stop,
        make_room=keep_newer_half,
        telemetry=telemetry,
        on_token=on_token,
    )
