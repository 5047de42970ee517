"""libqig's byte-level BPE equals that of `tokenizers`, on arbitrary Unicode, arbitrary merges, and with control tokens."""

from __future__ import annotations

import importlib.util
import json
import random
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from qig_edge.runtime.native import NativeModel, utf8_whole

_spec = importlib.util.spec_from_file_location("qig_vocabulary", Path(__file__).with_name("vocabulary.py"))
assert _spec and _spec.loader
vocabulary = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(vocabulary)

CONTROLS = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|end|>!"]

CORPUS = """
Once upon a time there was a fox who didn't like the rain. "I'll wait," he said, "we've got 1024 days; they're long." It's what foxes do.
The fox's den had 3 doors, 27 stones and 1000000 leaves... She'd counted them all!  Twice.   And    again.

\tdef count(leaves):  # tabs, and code
\t    return sum(1 for leaf in leaves if leaf != None)

Füchse fressen süße Äpfel; l'été, la forêt était déjà jaune. ¿Dónde está el zorro? Лиса спит под старым дубом. Η αλεπού κοιμάται.
狐は森の中で眠っています。여우가 숲에서 자고 있다. الثعلب نائم في الغابة ١٢٣. लोमड़ी जंगल में सो रही है।
🦊🦊 👩‍🚀 naïve café ½ Ⅷ x² \u00a0 \u2003 \u3000 end.
"""


@dataclass
class Pair:
    """The same vocabulary twice: in libqig, and in `tokenizers` with control tokens (special) and without (plain)."""

    model: NativeModel
    plain: Tokenizer
    special: Tokenizer

    def check(self, text: str) -> None:
        want = self.plain.encode(text, add_special_tokens=False).ids
        got = self.model.tokenize(text)
        assert got == want, (text, got, want)
        assert self.model.detokenize(got) == text.encode()
        want = self.special.encode(text, add_special_tokens=False).ids
        got = self.model.tokenize(text, parse_special=True)
        assert got == want, (text, got, want)
        assert self.model.detokenize(got, special=True) == text.encode()


def byte_level(vocab: dict[str, int], merges: list[tuple[str, str]]) -> Tokenizer:
    out = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    out.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    out.decoder = decoders.ByteLevel()
    return out


def write_model(path: Path, tokens: list[str], kinds: list[int], merges: list[str]) -> None:
    controls = {t: i for i, t in enumerate(tokens) if kinds[i] == vocabulary.CONTROL}
    roles = ("system", "user", "assistant", "end") if controls else ()
    chat = {role: f"<|{role}|>" for role in roles}
    eos = controls.get("<|endoftext|>", 0)
    v = vocabulary.Vocabulary(tokens, kinds, merges=merges, eos=eos, eot=controls.get("<|end|>"), chat=chat)
    vocabulary.write(path, v)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    special = Tokenizer(models.BPE())
    special.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=900,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(c, special=True, normalized=False) for c in CONTROLS],
    )
    special.train_from_iterator([CORPUS] * 2, trainer)
    bpe = json.loads(special.to_str())["model"]
    merges = [tuple(m) for m in bpe["merges"]]
    vocab: dict[str, int] = bpe["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    assert len(merges) > 300 and len(tokens) > 500
    path = tmp_path_factory.mktemp("tokenizer") / "model.gguf"
    write_model(path, tokens, [3 if t in CONTROLS else 1 for t in tokens], [" ".join(m) for m in merges])
    with NativeModel(path) as model:
        yield Pair(model, byte_level(vocab, merges), special)


def test_corpus(pair: Pair) -> None:
    pair.check(CORPUS)
    for line in CORPUS.splitlines():
        pair.check(line)


@settings(max_examples=300)
@given(text=st.text())
def test_any_text(pair: Pair, text: str) -> None:
    pair.check(text)


PIECES = [*CONTROLS, "<|", "|>", "<|en", "'s", "'S", "'ll", "'re", "'ve", "'", "!", "...", "_", "ª", "²", "½", "Ⅷ", "٣", "7", "1024"]
PIECES += [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u2003", "\u0085", "\x1c", "\u200b", "\x00"]
PIECES += ["the", "fox", "a", "é", "e\u0301", "Лиса", "狐", "क्ष", "🦊", "\U0001f469\u200d\U0001f680"]


@settings(max_examples=300)
@given(parts=st.lists(st.sampled_from(PIECES) | st.characters(exclude_categories=["Cs"]), max_size=30))
def test_text_of_hard_pieces(pair: Pair, parts: list[str]) -> None:
    """What the split turns on: white space of every kind before every class, apostrophes, control tokens whole and broken."""
    pair.check("".join(parts))


def unicode_runs(repository: Path) -> list[tuple[int, int, int]]:
    """(first, last + 1, class) of the runs of code points in libqig's table."""
    text = (repository / "kernels" / "src" / "unicode_tables.h").read_text("utf-8")
    entries = [int(e, 16) for e in re.findall(r"0x[0-9a-f]{8}", text)]
    starts = [e & 0xFFFFFF for e in entries]
    return [(start, end, entry >> 24) for start, end, entry in zip(starts, [*starts[1:], 0x110000], entries, strict=True)]


def test_every_code_point(repository: Path) -> None:
    """Each run of the table is one piece to `tokenizers`, and of the class that the table says: so every code point is."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)

    def pieces(text: str) -> int:
        return len(split.pre_tokenize_str(text))

    runs = unicode_runs(repository)
    assert len(runs) > 1000 and runs[0][0] == 0
    n = 0
    for start, end, kind in runs:
        step = 1 if kind == 3 else 4096  # a run of one class is one piece, but white space is shown by joining nothing before it
        for first in range(start, end, step):
            text = "".join(chr(c) for c in range(first, min(first + step, end)) if not 0xD800 <= c <= 0xDFFF)
            if not text:
                continue
            n += len(text)
            joined = pieces("!a1"[kind] + text) == 1 if kind < 3 else min(pieces(before + text) for before in "!a1") == 2
            assert joined, f"the table is wrong between U+{ord(text[0]):04X} and U+{ord(text[-1]):04X}"
    assert n == 0x110000 - 0x800


def test_both_ends_of_every_run(pair: Pair, repository: Path) -> None:
    """Where classes change, libqig looks them up as the table has them: after a letter, a number, a symbol and a space."""
    ends = sorted({c for start, end, _ in unicode_runs(repository) for c in (start, end - 1) if not 0xD800 <= c <= 0xDFFF})
    assert len(ends) > 2000
    for i in range(0, len(ends), 256):
        pair.check("".join(f"a{chr(c)}1{chr(c)}!{chr(c)} {chr(c)}" for c in ends[i : i + 256]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), texts=st.lists(st.text(alphabet="abc \n'", max_size=60), min_size=1, max_size=20))
def test_any_merges(tmp_path_factory: pytest.TempPathFactory, seed: int, texts: list[str]) -> None:
    """Merges in an order that no training would give: ranks that cross, tokens that two pairs make, pairs that come twice."""
    rng = random.Random(seed)
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges: list[tuple[str, str]] = []
    pool = ["a", "b", "c", "Ġ"]
    for _ in range(rng.randrange(1, 60)):
        left, right = rng.choice(pool), rng.choice(pool)
        if len(left + right) > 12:
            continue
        merges.append((left, right))
        if left + right not in tokens:
            tokens.append(left + right)
            pool.append(left + right)
    rng.shuffle(merges)
    path = tmp_path_factory.mktemp("merges") / "model.gguf"
    write_model(path, tokens, [1] * len(tokens), [" ".join(m) for m in merges])
    plain = byte_level({t: i for i, t in enumerate(tokens)}, merges)
    with NativeModel(path) as model:
        assert model.eot is None
        for text in texts:
            assert model.tokenize(text) == plain.encode(text, add_special_tokens=False).ids, (merges, text)


@settings(max_examples=300)
@given(data=st.binary(max_size=60) | st.lists(st.sampled_from([b"\xff", b"\xe2\x82", b"the", b" ", b"\xed\xa0\x80", "é".encode()])).map(b"".join))
def test_any_bytes(pair: Pair, data: bytes) -> None:
    """The tokens of any bytes join to these bytes, and each byte that is no UTF-8 is a token of its own."""
    ids = pair.model.tokenize(data)
    assert pair.model.detokenize(ids) == data
    starts, at = {}, 0
    for token in ids:
        size = len(pair.model.token_bytes(token))
        starts[at] = size
        at += size
    at = 0
    for char in data.decode("utf-8", "surrogateescape"):
        if "\udc80" <= char <= "\udcff":
            assert starts.get(at) == 1, (data, at)
            at += 1
        else:
            at += len(char.encode())


def unfinished(tail: bytes) -> bool:
    """Whether bytes to come could make a tail one character; if any can, then the lowest or the highest ones do."""
    for more in range(1, 4):
        for byte in (b"\x80", b"\xbf"):
            try:
                if len((tail + byte * more).decode()) == 1:
                    return True
            except UnicodeDecodeError:
                pass
    return False


@settings(max_examples=200)
@given(data=st.binary(max_size=12) | st.text(max_size=4).map(str.encode))
def test_whole_characters(data: bytes) -> None:
    """What may be printed now ends where a character still to be finished begins."""
    for end in range(len(data) + 1):
        want = min((at for at in range(max(0, end - 3), end) if unfinished(data[at:end])), default=end)
        assert utf8_whole(data[:end]) == want, data[:end]


@settings(max_examples=100)
@given(content=st.text(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=6).map("".join))
def test_chat_turns(pair: Pair, content: str) -> None:
    """Header, content as plain text, end of turn."""
    header = {role: pair.special.token_to_id(f"<|{role}|>") for role in ("system", "user", "assistant", "end")}
    plain = pair.plain.encode(content, add_special_tokens=False).ids
    for role in ("system", "user", "assistant"):
        assert pair.model.chat_turn(role, content) == [header[role], *plain, header["end"]]
        assert pair.model.chat_turn(role, None) == [header[role]]
    assert pair.model.eot == header["end"]
    assert not set(plain) & {pair.special.token_to_id(c) for c in CONTROLS}


def test_long_piece(pair: Pair) -> None:
    """A hundred thousand letters without a space, where a quadratic method would take minutes."""
    rng = random.Random(7)
    text = "".join(rng.choice("theforwiandlog狐é") for _ in range(100_000))
    assert pair.model.tokenize(text) == pair.plain.encode(text, add_special_tokens=False).ids


def test_control_tokens_have_no_bytes(pair: Pair) -> None:
    for text in CONTROLS:
        token = pair.special.token_to_id(text)
        assert pair.model.token_bytes(token) == b""
        assert pair.model.token_bytes(token, special=True) == text.encode()
