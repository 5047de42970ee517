"""Texts to tokens and back by a folder's tokenizer.json, byte for byte as libqig does it: what back ends that run from a folder share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qig_edge.errors import ConfigError, ModelFileError, QigError, RuntimeFault
from qig_edge.runtime.backend import ROLES

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class FolderTokens:
    """The tokenizer of a QIG checkpoint or ONNX folder. Raises ModelFileError where it does not fit the vocabulary's size."""

    def __init__(self, tokenizer: Tokenizer, vocab_size: int) -> None:
        self._texts, self._control = _bytes_of(tokenizer, vocab_size)
        self._single = {text: i for i, text in enumerate(self._texts) if len(text) == 1 and i not in self._control}
        self._tokenizers = {}
        for special in (False, True):
            copy = type(tokenizer).from_str(tokenizer.to_str())
            copy.encode_special_tokens = not special
            self._tokenizers[special] = copy
        self.bos: int | None = None
        self.eos = 0
        self.eot: int | None = 4
        self.turn_end = [4]

    def tokenize(self, text: str | bytes, *, parse_special: bool = False) -> list[int]:
        """Token ids of a text (any bytes; those that are no UTF-8 one by one). parse_special: control tokens in the text are recognised."""
        data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)
        tokenizer, out = self._tokenizers[parse_special], list[int]()
        while data:
            try:
                whole, bad, data = data.decode("utf-8"), b"", b""
            except UnicodeDecodeError as e:
                whole, bad, data = data[: e.start].decode("utf-8"), data[e.start : e.end], data[e.end :]
            out += tokenizer.encode(whole, add_special_tokens=False).ids if whole else []
            out += [self._single[bytes([byte])] for byte in bad]
        return out

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> bytes:
        """The bytes of tokens, joined; control tokens are empty unless special. Raises RuntimeFault for one that there is not."""
        ids = [int(t) for t in tokens]
        for t in ids:
            if not 0 <= t < len(self._texts):
                raise RuntimeFault(f"token = {t} must be in [0, {len(self._texts)})")
        return b"".join(self._texts[t] for t in ids if special or t not in self._control)

    def chat_turn(self, role: str, content: str | None, *, first: bool = False) -> list[int]:
        """One chat turn as tokens; content None: the header alone. Raises ConfigError for an unknown role."""
        from qig_edge.train.tokenizer import HEADERS

        if role not in ROLES:
            raise ConfigError(f"role = '{role}' must be one of {', '.join(ROLES)}")
        return [HEADERS[role]] + ([] if content is None else [*self.tokenize(content), *self.turn_end])


def _bytes_of(tokenizer: Tokenizer, vocab_size: int) -> tuple[list[bytes], set[int]]:
    """The bytes of every token, and which are control tokens."""
    from qig_edge.convert.gguf_writer import CONTROL, vocabulary

    try:
        texts, kinds, _ = vocabulary(tokenizer, vocab_size)
    except QigError as e:
        raise ModelFileError(str(e)) from None
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]  # bytes that GPT-2's alphabet writes as themselves
    others = [byte for byte in range(256) if byte not in plain]
    letters = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(others)}
    control = {i for i, kind in enumerate(kinds) if kind == CONTROL}
    return [t.encode() if i in control else bytes(letters[c] for c in t) for i, t in enumerate(texts)], control
