"""A conversation with a model: turns in the file's own format, kept as tokens, sliding when the context is full.

    with NativeModel(path) as model, model.session() as session:
        chat = Chat(model, session, system="You tell stories.")
        for piece in chat.answer("Tell me about a fox."):
            print(piece, end="", flush=True)

When the context is full the system prompt stays and the oldest whole exchanges (question and answer) are dropped; what is left is evaluated
anew, so that the session equals a fresh one fed the same turns.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

from qig_edge.errors import ConfigError, RuntimeFault
from qig_edge.runtime.backend import Backend, KeepingSession, Sampling, Session, text_start
from qig_edge.runtime.kept import Kept, unpack
from qig_edge.runtime.stream import Stats, Stop, draw, feed


class Chat:
    """One conversation on a session that nobody else uses. Raises RuntimeFault where the model has no chat format or the system prompt does not fit.

    max_tokens bounds each answer; telemetry keeps one record a token of each answer in stats.records.
    kept: a file of save(), which the conversation goes on from, with its system prompt and its random numbers in place of `system` and the seed.
    Raises SessionFileError where it does not fit, ConfigError where the session is not libqig's.
    """

    def __init__(
        self,
        backend: Backend,
        session: Session,
        *,
        system: str | None = None,
        sampling: Sampling | None = None,
        max_tokens: int = 512,
        telemetry: bool = False,
        kept: Path | None = None,
    ) -> None:
        if backend.eot is None:
            raise RuntimeFault("this model has no chat format: use 'qig-edge generate'")
        self.backend, self.session, self.max_tokens, self.telemetry = backend, session, max_tokens, telemetry
        self.stop = Stop()
        self.stats = Stats()
        self._starts: list[
            int
        ] = []  # position at which each exchange begins; the last one ends at the session's position
        self._unevaluated: list[int] = []  # end of the last turn: goes in with the next question
        self._texts: list[list[str]] = []  # question and answer of each exchange, as far as it was evaluated
        self._system_text = system
        session.set_sampler(sampling or Sampling())
        if kept is not None:
            self._restore(kept)
            return
        system_ids = text_start(backend) + (backend.chat_turn("system", system, first=True) if system else [])
        if len(system_ids) > session.n_ctx // 2:
            raise RuntimeFault(
                f"the system prompt has {len(system_ids)} tokens, more than half of the context of {session.n_ctx}"
            )
        self._system = len(system_ids)
        if system_ids:
            session.eval(system_ids)

    def _restore(self, path: Path) -> None:
        session = _keeping(self.session)
        found = unpack(session.load(path), session.pos, path)
        if found.system_tokens > session.n_ctx // 2:
            raise RuntimeFault(
                f"the system prompt in '{path}' has {found.system_tokens} tokens, more than half of the context of {session.n_ctx}"
            )
        self._system, self._system_text = found.system_tokens, found.system or None
        self._unevaluated = list(self.backend.turn_end) if found.turn_open else []
        self._starts = [start for start, _, _ in found.exchanges]
        self._texts = [[question, answer] for _, question, answer in found.exchanges]

    def save(self, path: Path) -> None:
        """Writes the conversation with its cache to a file: whole, or the file is as it was. Not while an answer is being drawn.

        Raises SessionFileError where it cannot be written, ConfigError where the session is not libqig's.
        """
        said = [(start, question, answer) for start, (question, answer) in zip(self._starts, self._texts, strict=True)]
        note = Kept(self._system_text or "", self._system, bool(self._unevaluated), said)
        _keeping(self.session).save(path, note.pack())

    @property
    def exchanges(self) -> int:
        """Exchanges that the context still holds."""
        return len(self._starts)

    @property
    def messages(self) -> list[tuple[str, str]]:
        """(role, content) of every turn that the context still holds, the system prompt first."""
        turns = [turn for pair in self._texts for turn in zip(("user", "assistant"), pair, strict=True)]
        return [("system", self._system_text), *turns] if self._system_text else turns

    def forget_last(self) -> None:
        """Takes the last exchange back, question and answer; without one, does nothing."""
        if self._starts:
            self.session.rollback(self._starts.pop())
            self._texts.pop()
            # the end of the turn before was evaluated with the question taken back
            self._unevaluated = []

    def answer(self, text: str) -> Generator[str, None, None]:
        """Asks `text` and yields the answer in whole UTF-8 characters; self.stats is that answer's.

        Stopped by self.stop.ask(), by closing the iterator, or by the model. Raises RuntimeFault for a question that the context does not hold;
        the conversation is then as it was.
        """
        self.stop.clear()
        self.stats = stats = Stats()
        start = time.perf_counter()
        backend, session = self.backend, self.session
        assert backend.eot is not None
        question = self._question(text)
        room = session.n_ctx - self._system
        if len(question) >= room:
            raise RuntimeFault(f"the message has {len(question)} tokens, the context has room for {room - 1}")
        ids = self._unevaluated + question
        # An answer that begins with a quarter of the context free seldom has to slide in its middle.
        reserve = min(self.max_tokens, session.n_ctx // 4)
        if session.pos + len(ids) + reserve > session.n_ctx:
            self._drop(len(ids) + reserve)
            ids = self._unevaluated + self._question(text)
        stats.prompt_tokens = len(ids)
        before = session.pos
        begin = before + len(self._unevaluated)
        try:
            fed = feed(session, ids, self.stop)
        except KeyboardInterrupt:
            session.rollback(before)
            raise
        if not fed:
            stats.end = "stopped"
            return
        self._starts.append(begin)
        self._unevaluated = list(backend.turn_end)
        exchange = [text, ""]
        self._texts.append(exchange)
        stats.prefill_s = stats.first_token_s = time.perf_counter() - start
        for piece in draw(
            backend,
            session,
            max_tokens=self.max_tokens,
            ends={backend.eos, backend.eot},
            stats=stats,
            stop=self.stop,
            make_room=lambda: self._drop(1 + session.n_ctx // 8, keep_last=True),
            telemetry=self.telemetry,
        ):
            yield piece
            exchange[1] += piece

    def _question(self, text: str) -> list[int]:
        """A user's turn and the cue for the answer."""
        first = self.session.pos == len(text_start(self.backend))
        return self.backend.chat_turn("user", text, first=first) + self.backend.chat_turn("assistant", None)

    def _drop(self, wanted: int, keep_last: bool = False) -> bool:
        """Drops oldest whole exchanges until `wanted` positions are free, or none (keep_last: one) is left; says whether anything went."""
        session = self.session
        ends = [*self._starts[1:], session.pos + len(self._unevaluated)]
        droppable = len(self._starts) - (1 if keep_last else 0)
        if droppable < 1:
            return False
        free, n = session.n_ctx - session.pos, 1
        while n < droppable and free + ends[n - 1] - self._starts[0] < wanted:
            n += 1
        gone = min(ends[n - 1], session.pos) - self._starts[0]
        if n == len(self._starts):
            self._unevaluated = []
        session.slide(self._system, session.pos - self._system - gone)
        self._starts = [start - gone for start in self._starts[n:]]
        self._texts = self._texts[n:]
        return True


def _keeping(session: Session) -> KeepingSession:
    if not isinstance(session, KeepingSession):
        raise ConfigError("a conversation is saved and loaded with its cache in libqig alone: this model runs in another engine")
    return session
