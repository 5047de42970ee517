"""libqig cuts texts as the files of other models say (tokenizer.ggml.pre): as `tokenizers` does with those models' regular expressions."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, trainers

from qig_edge.devices.host import library_path
from qig_edge.errors import ModelFileError
from qig_edge.runtime.native import NativeModel

_spec = importlib.util.spec_from_file_location("qig_vocabulary", Path(__file__).with_name("vocabulary.py"))
assert _spec and _spec.loader
vocabulary = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(vocabulary)

CONTROLS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TYPED = ["<file>", "<file> <end>"]  # user-defined: found in any text
UNMERGED = [" grandmother", "zorro", " 狐", "987"]
LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
NAMES = ("smollm", "llama-bpe", "qwen2")
CORPUS = """
Once upon a time there was a fox who didn't like the rain. "I'LL wait," he said, "We'Ve got 1024 days; they're long." It's what foxes do.
The fox's den had 3 doors, 27 stones and 1000000 leaves... She'd counted them all!  Twice.   And    again.\r\n\r\n

\tdef count(leaves):  # tabs, and code
\t    return sum(1 for leaf in leaves if leaf != None)\n\n\n
Füchse fressen süße Äpfel; l'été, la forêt était déjà jaune. Лиса спит под старым дубом. 狐は森の中で眠っています。 लोमड़ी १२३ 🦊
"""


def pieces_of(name: str) -> pre_tokenizers.PreTokenizer:
    """The model's own cutting, before bytes are written as characters."""
    if name == "smollm":
        return pre_tokenizers.Digits(individual_digits=True)
    numbers = r"\p{N}{1,3}" if name == "llama-bpe" else r"\p{N}"
    return pre_tokenizers.Split(Regex(rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|{LETTERS}|{numbers}|{REST}"), "isolated")


@dataclass
class Pair:
    """The same vocabulary in libqig and in `tokenizers`, for typed texts (plain) and for those with control tokens (special)."""

    name: str
    model: NativeModel
    plain: Tokenizer
    special: Tokenizer

    def check(self, text: str) -> None:
        for reference, parse in ((self.plain, False), (self.special, True)):
            want = reference.encode(text, add_special_tokens=False).ids
            got = self.model.tokenize(text, parse_special=parse)
            assert got == want, (self.name, text, parse, got, want)
            assert self.model.detokenize(got, special=True) == text.encode()


def pre_tokenizer(name: str) -> pre_tokenizers.PreTokenizer:
    return pre_tokenizers.Sequence(
        [pieces_of(name), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=name == "smollm")]
    )


def byte_level(text: str) -> str:
    """The characters that stand for a text's bytes."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)[0][0]


def trained(name: str) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Vocabulary and merges, with words in the vocabulary that no merge makes: only a rule that looks for whole pieces finds those."""
    out = Tokenizer(models.BPE())
    out.pre_tokenizer = pre_tokenizer(name)
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(c, special=True, normalized=False) for c in CONTROLS],
    )
    out.train_from_iterator([CORPUS] * 2, trainer)
    bpe = json.loads(out.to_str())["model"]
    vocab: dict[str, int] = bpe["vocab"]
    for word in UNMERGED:
        assert byte_level(word) not in vocab
        vocab[byte_level(word)] = len(vocab)
    return vocab, [tuple(m) for m in bpe["merges"]]


def reference(name: str, vocab: dict[str, int], merges: list[tuple[str, str]], typed: bool) -> Tokenizer:
    out = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=name == "llama-bpe"))
    out.pre_tokenizer = pre_tokenizer(name)
    out.add_special_tokens([AddedToken(c, special=True, normalized=False) for c in CONTROLS])
    out.add_tokens([AddedToken(t, special=False, normalized=False) for t in TYPED])
    out.encode_special_tokens = typed
    return out


@pytest.fixture(scope="module", params=NAMES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    name = request.param
    vocab, merges = trained(name)
    tokens = sorted(vocab, key=vocab.__getitem__)
    kinds = [vocabulary.CONTROL if t in CONTROLS else vocabulary.NORMAL for t in tokens]
    assert len(merges) > 250 and len(tokens) > 500
    v = vocabulary.Vocabulary(
        [*tokens, *TYPED, "[PAD1]"],
        [*kinds, *[vocabulary.USER_DEFINED] * len(TYPED), vocabulary.UNUSED],
        pre=name,
        merges=[" ".join(m) for m in merges],
        bos=vocab["<|endoftext|>"],
        eos=vocab["<|endoftext|>"],
    )
    with NativeModel(vocabulary.write(tmp_path_factory.mktemp("pre") / "model.gguf", v)) as model:
        yield Pair(name, model, reference(name, vocab, merges, True), reference(name, vocab, merges, False))


def test_corpus(pair: Pair) -> None:
    pair.check(CORPUS)
    for line in CORPUS.splitlines(keepends=True):
        pair.check(line)


@settings(max_examples=150)
@given(text=st.text())
def test_any_text(pair: Pair, text: str) -> None:
    pair.check(text)


PIECES = [*CONTROLS, *TYPED, *UNMERGED, "<|", "|>", "<|im", "<file", "<end>", "[PAD1]"]
PIECES += ["'s", "'S", "'ll", "'lL", "'RE", "'vE", "'", "'\u017f", "\u017f", "'\u212a", "'\ufb06", "!", "...", "_", "/"]
PIECES += ["987", "ª", "²", "½", "Ⅷ", "٣", "7", "12", "123", "1024", "12345"]
PIECES += [" ", "  ", "\n", "\n\n", "\r\n", "\r", "\t", "\u00a0", "\u2003", "\u0085", "\u2028", "\x0b", "\x1c", "\u200b", "\x00"]
PIECES += ["the", "fox", "a", "é", "e\u0301", "\u0301", "Лиса", "狐", "क्ष", "🦊", "\U0001f469\u200d\U0001f680"]


@settings(max_examples=150)
@given(parts=st.lists(st.sampled_from(PIECES), max_size=30))
def test_text_of_hard_pieces(pair: Pair, parts: list[str]) -> None:
    """What the rules turn on: white space and line ends before every class, cases, runs of numbers, special tokens whole and broken."""
    pair.check("".join(parts))


@settings(max_examples=150)
@given(parts=st.lists(st.sampled_from([*" \n\r\ta1!'s", "\u00a0"]), max_size=12))
def test_short_texts_of_few_characters(pair: Pair, parts: list[str]) -> None:
    pair.check("".join(parts))


def code_points(repository: Path) -> list[int]:
    """Both ends of every run of one class in libqig's table, so that every class change is met."""
    text = (repository / "kernels" / "src" / "unicode_tables.h").read_text("utf-8")
    starts = [int(e, 16) & 0xFFFFFF for e in re.findall(r"0x[0-9a-f]{8}", text)]
    ends = sorted({c for start in starts for c in (start, max(start - 1, 0)) if not 0xD800 <= c <= 0xDFFF})
    assert len(ends) > 2000
    return ends


def test_where_classes_change(pair: Pair, repository: Path) -> None:
    """Every class before and after every other. `tokenizers` cuts smollm's numbers out by a table of its own: what is newer there is left out."""
    digits = pieces_of("smollm")
    ends = code_points(repository)
    if pair.name == "smollm":
        plain = pre_tokenizers.ByteLevel(add_prefix_space=False)
        number = {c: len(plain.pre_tokenize_str(f"1{chr(c)}")) == 1 for c in ends}
        same = [c for c in ends if (len(digits.pre_tokenize_str(f"a{chr(c)}")) == 2) == number[c]]
        assert len(ends) - len(same) < 16
        ends = same
    for i in range(0, len(ends), 256):
        pair.check("".join(f"a{chr(c)}1{chr(c)}\n{chr(c)}! {chr(c)}'{chr(c)}  {chr(c)}b" for c in ends[i : i + 256]))


INVALID = [b"\xff", b"\xe2\x82", b"the", b" ", b"\n", b"1", b"<file>", "é".encode()]


@settings(max_examples=200)
@given(data=st.binary(max_size=60) | st.lists(st.sampled_from(INVALID)).map(b"".join))
def test_any_bytes(pair: Pair, data: bytes) -> None:
    """The tokens of any bytes join to these bytes; whole characters around a byte that is no UTF-8 are cut as if the text ended there."""
    for parse in (False, True):
        ids = pair.model.tokenize(data, parse_special=parse)
        assert pair.model.detokenize(ids, special=True) == data
    text, at = data.decode("utf-8", "surrogateescape"), 0
    want: list[int] = []
    for found in re.finditer("[\udc80-\udcff]", text):
        want += pair.plain.encode(text[at : found.start()], add_special_tokens=False).ids
        want += pair.model.tokenize(found.group().encode("utf-8", "surrogateescape"))
        at = found.end()
    want += pair.plain.encode(text[at:], add_special_tokens=False).ids
    if not re.search("\\s[\udc80-\udcff]", text):  # white space before such a byte has something after it
        assert pair.model.tokenize(data) == want, data


def test_long_pieces(pair: Pair) -> None:
    rng = random.Random(7)
    for alphabet in ("theforwiandlog狐é", "1234567890", " \t", "\n ", "!?.", "'s"):
        pair.check("".join(rng.choice(alphabet) for _ in range(4_000)))


@pytest.mark.parametrize("kind", ["gpt-2", *NAMES, "llama"])
def test_work_grows_with_the_text(kind: str) -> None:
    """Instructions for twice the letters without a space: twice as many, where a quadratic method takes four times."""
    program, valgrind = library_path().parent / "test_vocabularies", shutil.which("valgrind")
    if valgrind is None or not program.is_file():
        pytest.skip("needs valgrind and the C tests beside the library")
    if "LD_PRELOAD" in os.environ:
        pytest.skip("valgrind does not run a build with sanitizers")

    def instructions(n: int) -> int:
        command = [valgrind, "--tool=callgrind", "--callgrind-out-file=/dev/null", str(program), "--encode", kind, str(n)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = re.search(r"Collected : (\d+)", done.stderr)
        assert found, done.stderr
        return int(found.group(1))

    start = instructions(1)
    half, whole = instructions(8192) - start, instructions(16384) - start
    assert half > 8192 * 20 and whole < 2.3 * half, (half, whole)


def test_what_a_text_begins_with(pair: Pair, tmp_path: Path) -> None:
    """llama-bpe files begin a text with bos unless they say otherwise, the others where they say so."""
    tokens = sorted(pre_tokenizers.ByteLevel.alphabet())
    kinds = [vocabulary.NORMAL] * 256

    def bos(name: str, **more: bool) -> int | None:
        extra = {f"tokenizer.ggml.{k}": v for k, v in more.items()}
        v = vocabulary.Vocabulary([*tokens, "<b>"], [*kinds, vocabulary.CONTROL], pre=name, bos=256, eos=3, more=extra)
        with NativeModel(vocabulary.write(tmp_path / "model.gguf", v)) as model:
            return model.bos

    assert bos(pair.name) == (256 if pair.name == "llama-bpe" else None)
    assert bos(pair.name, add_bos_token=True) == 256
    assert bos(pair.name, add_bos_token=False) is None
    v = vocabulary.Vocabulary(tokens, kinds, pre=pair.name, more={"tokenizer.ggml.add_bos_token": True})
    with pytest.raises(ModelFileError, match="bos_token_id' is missing"):
        NativeModel(vocabulary.write(tmp_path / "none.gguf", v))
