"""The conversation's own part of a kept session (docs/formats.md, "A kept session"): who said what, and where in the tokens each exchange begins.

The tokens are the truth, and stand in the session; the texts are for people and for what looks at messages.
"""

from __future__ import annotations

import dataclasses
import struct

from qig_edge.errors import SessionFileError

KIND, VERSION = b"QIGCHAT\n", 1
_HEAD = struct.Struct("<8sIIIII")  # kind, version, tokens before the first exchange, turn_open, exchanges, bytes of the system prompt
_EXCHANGE = struct.Struct("<III")  # position, bytes of the question, of the answer


@dataclasses.dataclass(frozen=True)
class Kept:
    """system_tokens: positions before the first exchange; turn_open: the end of the last answer's turn goes in with the next question;
    exchanges: (position where it begins, question, answer), oldest first."""

    system: str
    system_tokens: int
    turn_open: bool
    exchanges: list[tuple[int, str, str]]

    def pack(self) -> bytes:
        """The bytes of the note."""
        system = _encoded(self.system)
        out = [_HEAD.pack(KIND, VERSION, self.system_tokens, self.turn_open, len(self.exchanges), len(system)), system]
        for start, *texts in self.exchanges:
            question, answer = map(_encoded, texts)
            out += [_EXCHANGE.pack(start, len(question), len(answer)), question, answer]
        return b"".join(out)


def unpack(note: bytes, pos: int, path: object) -> Kept:
    """What pack() wrote, of a session that stands at pos. Raises SessionFileError naming `path` where the note is of another kind or does not fit."""
    if len(note) < _HEAD.size or not note.startswith(KIND):
        raise SessionFileError(f"'{path}' is a kept session without a conversation")
    _, version, system_tokens, turn_open, count, n_system = _HEAD.unpack_from(note)
    if version != VERSION:
        raise SessionFileError(f"the conversation in '{path}' is of version {version}: this program reads version {VERSION}")
    at, texts = _HEAD.size, [(_HEAD.size, n_system)]
    starts = []
    if n_system <= len(note) - at:
        at += n_system
        for _ in range(count):
            if len(note) - at < _EXCHANGE.size:
                break
            start, n_question, n_answer = _EXCHANGE.unpack_from(note, at)
            at += _EXCHANGE.size
            texts += [(at, n_question), (at + n_question, n_answer)]
            starts.append(start)
            at += n_question + n_answer
    edges = [*starts, pos]
    whole = len(starts) == count and at == len(note) and turn_open <= (count > 0)
    if not whole or edges[0] != system_tokens or any(b <= a for a, b in zip(edges, edges[1:], strict=False)):
        raise SessionFileError(f"'{path}' is damaged: its conversation does not fit its tokens")
    system, *said = (note[a : a + n].decode("utf-8", "replace") for a, n in texts)
    return Kept(system, system_tokens, bool(turn_open), list(zip(starts, said[::2], said[1::2], strict=True)))


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
