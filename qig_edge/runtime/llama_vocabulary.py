"""The vocabulary of a model that llama.cpp opened: texts to tokens and back, and turns of a conversation.

Turns are those of `qig.chat.*` where the file has them, else of the file's template as llama.cpp recognises it (llama_chat_apply_template, which
runs no Jinja). What stands around a message is found by rendering a conversation of marks; a template that writes a message otherwise than as
a text before it, itself and a text after it has no turns here.
"""

from __future__ import annotations

import ctypes as ct
import dataclasses
from collections.abc import Callable
from typing import Any

from qig_edge.errors import RuntimeFault

MARKS = {"system": "qSYSTEMq", "user": "qUSERq", "assistant": "qANSWERq"}


@dataclasses.dataclass(frozen=True)
class Frame:
    """What stands before a message of one role and after it."""

    before: str
    after: str


@dataclasses.dataclass(frozen=True)
class ChatFormat:
    """Frames by role, `first` those of a message that nothing precedes; answer: the cue for an answer; a role may be missing."""

    frames: dict[str, Frame]
    first: dict[str, Frame]
    answer: str

    def frame(self, role: str, first: bool) -> Frame:
        """Raises RuntimeFault for a role that the format does not have."""
        found = (self.first if first else self.frames).get(role)
        if found is None:
            raise RuntimeFault(f"this model's chat format has no turn of role '{role}'{' at the beginning' if first else ''}")
        return found


class Vocabulary:
    """Texts and tokens of one opened model; valid as long as the model is."""

    def __init__(self, lib: Any, model: Any) -> None:
        self._lib, self._model = lib, model
        self._vocab = lib.llama_model_get_vocab(model)
        self.size: int = lib.llama_vocab_n_tokens(self._vocab)
        bos = lib.llama_vocab_bos(self._vocab)
        self.bos: int | None = bos if bos >= 0 and lib.llama_vocab_get_add_bos(self._vocab) else None
        ends = lib.llama_vocab_eos(self._vocab), lib.llama_vocab_eot(self._vocab)
        self.eos: int = ends[0] if ends[0] >= 0 else ends[1]
        self.format = self._own_format() or self._template_format()
        self.turn_end = self._turn_end()
        self.eot = next((t for t in self.turn_end if lib.llama_vocab_is_eog(self._vocab, t)), None)
        if self.eot is None and self.format is not None:  # the format ends a turn with words: the model may still end its text
            self.eot = ends[1] if ends[1] >= 0 else self.eos

    def tokenize(self, text: str | bytes, special: bool) -> list[int]:
        """Ids of a text, without what the file puts before or after one. special: control tokens in the text are recognised."""
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        cap = len(data) + 8
        while True:
            out = (ct.c_int32 * cap)()
            n = self._lib.llama_tokenize(self._vocab, data, len(data), out, cap, False, special)
            if n >= 0:
                return out[:n]
            if -n <= cap:
                raise RuntimeFault(f"llama.cpp does not tokenize a text of {len(data)} bytes (status {n})")
            cap = -n

    def piece(self, token: int, special: bool) -> bytes:
        """The bytes of one token; a control token is empty unless special. Raises RuntimeFault for a token that there is not."""
        if not 0 <= token < self.size:
            raise RuntimeFault(f"token = {token} must be in [0, {self.size})")
        cap = 64
        while True:
            out = ct.create_string_buffer(cap)
            n = self._lib.llama_token_to_piece(self._vocab, token, out, cap, 0, special)
            if n >= 0:
                return out.raw[:n]
            cap = -n

    def turn(self, role: str, content: str | None, first: bool) -> list[int]:
        """A turn, or without content the cue for an answer, as the tokens that it has in the middle of a conversation.

        A content that spells control tokens is tokenized apart, so that it makes none. Raises RuntimeFault for a role without turns.
        """
        assert self.format is not None
        frame = self.format.frame(role, first)
        before = None if first else self.format.frames.get("user" if role == "assistant" else "assistant")
        # what stands before decides about SentencePiece's space, so it is tokenized too and taken off again
        lead = before.after if before else ""
        if content is None:
            return self._after(lead, self.format.answer)
        if self.tokenize(content, True) == self.tokenize(content, False):
            return self._after(lead, frame.before + content + frame.after)
        return [*self._after(lead, frame.before), *self.tokenize(content, False), *self.tokenize(frame.after, True)]

    def _after(self, lead: str, text: str) -> list[int]:
        """Tokens of a text that stands behind another one."""
        ids, gone = self.tokenize(lead + text, True), self.tokenize(lead, True)
        return ids[len(gone) :] if ids[: len(gone)] == gone else self.tokenize(text, True)

    def _turn_end(self) -> list[int]:
        if self.format is None or "assistant" not in self.format.frames:
            return []
        return self.tokenize(self.format.frames["assistant"].after, True)

    def _own_format(self) -> ChatFormat | None:
        texts = [self.metadata(f"qig.chat.{part}") for part in ("system", "user", "assistant", "end")]
        if None in texts:
            return None
        system, user, assistant, end = (str(t) for t in texts)
        frames = {r: Frame(h, end) for r, h in (("system", system), ("user", user), ("assistant", assistant))}
        return ChatFormat(frames, frames, assistant)

    def _template_format(self) -> ChatFormat | None:
        template = self._lib.llama_model_chat_template(self._model, None)
        return read_format(lambda roles, cue: self._render(template, roles, cue)) if template else None

    def _render(self, template: bytes, roles: list[str], cue: bool) -> str | None:
        """A conversation of marks as llama.cpp writes it; None where it does not know the template."""
        chat = (self._lib.llama_chat_message * len(roles))(*((r.encode(), MARKS[r].encode()) for r in roles))
        cap = 4096
        out = ct.create_string_buffer(cap)
        n = self._lib.llama_chat_apply_template(template, chat, len(roles), cue, out, cap)
        return out.raw[:n].decode("utf-8", "replace") if 0 <= n <= cap else None

    def metadata(self, key: str) -> str | None:
        """A value of the file as text, None where there is none."""
        cap = 256
        while True:
            out = ct.create_string_buffer(cap)
            n = self._lib.llama_model_meta_val_str(self._model, key.encode(), out, cap)
            if n < 0:
                return None
            if n < cap:
                return out.raw[:n].decode("utf-8", "replace")
            cap = n + 1


def read_format(render: Callable[[list[str], bool], str | None]) -> ChatFormat | None:
    """The frames behind a renderer of marked conversations (roles, whether the cue for an answer follows); None where it renders nothing.

    A role whose turns depend on what stands before them, but for the very first, is left out.
    """
    talk = ["user", "assistant", "user", "assistant"]
    told = [render(talk[:n], False) if n else "" for n in range(5)]
    cue = render(["user"], True)
    if cue is None or any(t is None for t in told):
        return None
    texts = [str(t) for t in told]
    frames, first = {}, {}
    for role, at in (("user", 2), ("assistant", 3)):
        frame = _between(texts[at], texts[at + 1], role)
        if frame is not None:
            frames[role] = frame
    start, early = _between("", texts[1], "user"), _between(texts[1], texts[2], "assistant")
    if start is None or "user" not in frames or early is None or early != frames.get("assistant") or not cue.startswith(texts[1]):
        return None
    answer = cue[len(texts[1]) :]
    if not early.before.startswith(answer.rstrip()):
        return None
    first["user"] = start
    _add_system(render, frames, first)
    return ChatFormat(frames, first, answer)


def _add_system(
    render: Callable[[list[str], bool], str | None], frames: dict[str, Frame], first: dict[str, Frame]
) -> None:
    """The system turn, where what follows it is a turn like any other."""
    alone, asked = render(["system"], False), render(["system", "user"], False)
    if alone is None or asked is None:
        return
    system, user = _between("", alone, "system"), _between(alone, asked, "user")
    if system is not None and user == frames["user"]:
        first["system"] = system


def _between(shorter: str, longer: str, role: str) -> Frame | None:
    """What a conversation of one more turn of that role has more, cut at the turn's mark; None where it is not the other one continued."""
    rest = longer[len(shorter) :]
    if not longer.startswith(shorter) or rest.count(MARKS[role]) != 1:
        return None
    before, _, after = rest.partition(MARKS[role])
    return Frame(before, after)
