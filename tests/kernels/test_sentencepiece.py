"""SentencePiece vocabularies in libqig equal `sentencepiece` itself and, with special tokens in a text, `tokenizers` as model files set it up."""

from __future__ import annotations

import importlib.util
import io
import random
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, normalizers

from qig_edge.errors import ModelFileError
from qig_edge.runtime.native import NativeModel

sentencepiece = pytest.importorskip("sentencepiece")

_spec = importlib.util.spec_from_file_location("qig_vocabulary", Path(__file__).with_name("vocabulary.py"))
assert _spec and _spec.loader
vocabulary = sys.modules[_spec.name] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(vocabulary)

MARK = "\u2581"
BASE = ["<unk>", "<s>", "</s>", *vocabulary.BYTES]
BASE_KINDS = [vocabulary.UNKNOWN, vocabulary.CONTROL, vocabulary.CONTROL, *[vocabulary.BYTE] * 256]
TYPED = ["<file>", "<file> <end>", "\n\n\n"]
CORPUS = """
Once upon a time there was a fox who didn't like the rain. "I'll wait," he said, "we've got 1024 days; they're long." It's what foxes do.
The fox's den had 3 doors, 27 stones and 1000000 leaves... She'd counted them all!  Twice.   And    again.
Füchse fressen süße Äpfel; l'été, la forêt était déjà jaune. ¿Dónde está el zorro? Лиса спит под старым дубом. Η αλεπού κοιμάται.
狐は森の中で眠っています。여우가 숲에서 자고 있다. लोमड़ी जंगल में सो रही है। 🦊🦊 ½ Ⅷ x²
def count(leaves):        return sum(1 for leaf in leaves if leaf != None)
"""


@dataclass
class Trained:
    """One vocabulary in libqig and in `sentencepiece`; pieces and scores of its normal tokens, which follow BASE."""

    model: NativeModel
    peer: sentencepiece.SentencePieceProcessor
    pieces: list[str]
    scores: list[float]

    def check(self, text: str) -> None:
        want = self.peer.encode(text)
        got = self.model.tokenize(text)
        assert got == want, (text, got, want)
        # the mark is a space to these vocabularies, wherever it comes from
        assert self.model.detokenize(got, whole=True) == text.replace(MARK, " ").encode()


def field(number: int, value: bytes | int | float) -> bytes:
    """One field of a protocol buffer."""

    def varint(n: int) -> bytes:
        return bytes([n]) if n < 128 else bytes([n & 127 | 128]) + varint(n >> 7)

    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3) + varint(value)


def peer_of(tokens: Sequence[str], scores: Sequence[float], kinds: Sequence[int], prefix: bool) -> sentencepiece.SentencePieceProcessor:
    """`sentencepiece` with this vocabulary: byte fallback, no normalization, all white space kept."""
    rows = zip(tokens, scores, kinds, strict=True)
    proto = b"".join(field(1, field(1, t.encode()) + field(2, float(s)) + field(3, k)) for t, s, k in rows)
    proto += field(2, field(3, 2) + field(35, 1)) + field(3, field(1, b"identity") + field(3, int(prefix)) + field(4, 0) + field(5, 1))
    return sentencepiece.SentencePieceProcessor(model_proto=proto)


def opened(path: Path, tokens: Sequence[str], scores: Sequence[float], kinds: Sequence[int], **more: object) -> NativeModel:
    extra = {f"tokenizer.ggml.{k}" if "." not in k else k: v for k, v in more.items()}
    v = vocabulary.Vocabulary(tokens, kinds, model="llama", pre="default", scores=scores, bos=1, eos=2, more=extra)
    return NativeModel(vocabulary.write(path, v))


@pytest.fixture(scope="module")
def learnt() -> tuple[list[str], list[float]]:
    """Pieces and scores of a vocabulary that `sentencepiece` trained."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS.splitlines()),
        model_writer=out,
        model_type="bpe",
        vocab_size=700,
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        split_digits=True,
        num_threads=1,
        minloglevel=2,
    )
    peer = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    assert [peer.id_to_piece(i) for i in range(len(BASE))] == BASE
    ids = range(len(BASE), peer.get_piece_size())
    assert len(ids) > 400 and any(MARK * 2 in peer.id_to_piece(i) for i in ids)
    return [peer.id_to_piece(i) for i in ids], [peer.get_score(i) for i in ids]


@pytest.fixture(scope="module", params=[True, False], ids=["prefix", "plain"])
def trained(
    request: pytest.FixtureRequest, learnt: tuple[list[str], list[float]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Trained]:
    pieces, scores = learnt
    rows = ([*BASE, *pieces], [*[0.0] * len(BASE), *scores], [*BASE_KINDS, *[vocabulary.NORMAL] * len(pieces)])
    more = {} if request.param else {"add_space_prefix": False}  # true where the file says nothing
    with opened(tmp_path_factory.mktemp("spm") / "model.gguf", *rows, **more) as model:
        assert model.bos == 1 and model.eos == 2 and model.eot is None
        yield Trained(model, peer_of(*rows, request.param), pieces, scores)


def test_corpus(trained: Trained) -> None:
    trained.check(CORPUS)
    for line in CORPUS.splitlines():
        trained.check(line)


@settings(max_examples=200)
@given(text=st.text())
def test_any_text(trained: Trained, text: str) -> None:
    trained.check(text)


PIECES = ["<s>", "</s>", "<unk>", "<0x41>", "<0x0A>", "<", "s>", "</", "fox", "the", " the", "leaves", "1024", "é", "e\u0301", "\u0301", "狐"]
PIECES += ["Лиса", "ड़ी", "🦊", "\U0001f469\u200d\U0001f680"]
PIECES += [" ", "  ", "     ", "\n", "\n\n", "\r\n", "\t", "\x00", "\u00a0", "\u200b", MARK, MARK * 2]


@settings(max_examples=300)
@given(parts=st.lists(st.sampled_from(PIECES), max_size=30))
def test_text_of_hard_pieces(trained: Trained, parts: list[str]) -> None:
    """Spaces at the ends and in runs, the mark itself, and the texts of special and byte tokens, which are only text."""
    trained.check("".join(parts))


def test_long_texts(trained: Trained) -> None:
    rng = random.Random(7)
    for alphabet in ("theforwiandlogs", "the fox", " ", "  狐é"):
        trained.check("".join(rng.choice(alphabet) for _ in range(5000)))


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), texts=st.lists(st.text(alphabet="abcé \n", max_size=60), min_size=1, max_size=20))
def test_any_scores(tmp_path_factory: pytest.TempPathFactory, seed: int, texts: list[str]) -> None:
    """Scores that no training gives: many alike, larger for what comes later, zeros; tokens whose halves are none; tokens across words."""
    rng = random.Random(seed)
    alphabet = rng.choice(["abcé", "abc", "ab"])
    across = rng.random() < 0.5
    pieces = [MARK, *(alphabet if rng.random() < 0.8 else "a")]
    pool = [*alphabet, MARK]
    for _ in range(rng.randrange(1, 60)):
        piece = rng.choice(pool) + rng.choice(pool)
        if piece in pieces or len(piece) > 12 or (not across and MARK in piece.lstrip(MARK)):
            continue
        if rng.random() < 0.8:
            pieces.append(piece)
        pool.append(piece)
    grid = rng.choice([[-1.0, -2.0, 0.0, 1.5], [0.0], [-0.0, -1.0], [-float(i) for i in range(100)], [1e-30, -1e30, 3.0]])
    scores = [rng.choice(grid) for _ in pieces]
    rows = ([*BASE, *pieces], [*[0.0] * len(BASE), *scores], [*BASE_KINDS, *[vocabulary.NORMAL] * len(pieces)])
    peer = peer_of(*rows, True)
    with opened(tmp_path_factory.mktemp("scores") / "model.gguf", *rows) as model:
        for text in texts:
            assert model.tokenize(text) == peer.encode(text), (pieces, scores, text)


def test_zeros_of_both_signs_are_alike(tmp_path: Path) -> None:
    """As in llama.cpp: the leftmost pair goes first. Some versions of `sentencepiece` hold -0 to be the smaller score."""
    for i, scores in enumerate(([0.0, 0.0, 0.0], [0.0, -0.0, 0.0], [0.0, 0.0, -0.0])):
        rows = ([*BASE, MARK, f"{MARK}c", "cc"], [*[0.0] * len(BASE), *scores], [*BASE_KINDS, *[vocabulary.NORMAL] * 3])
        with opened(tmp_path / f"{i}.gguf", *rows) as model:
            assert model.tokenize("cc") == [len(BASE) + 1, BASE.index("<0x63>")], scores


INVALID = [b"\xff", b"\xe2\x96", b"\x81", b"the", b" ", b"\xed\xa0\x80", "é".encode()]


@settings(max_examples=200)
@given(data=st.binary(max_size=60) | st.lists(st.sampled_from(INVALID)).map(b"".join))
def test_any_bytes(trained: Trained, data: bytes) -> None:
    """The tokens of any bytes join to these bytes, and each byte that is no UTF-8 is its own byte token."""
    ids = trained.model.tokenize(data)
    assert trained.model.detokenize(ids, whole=True) == data.replace(MARK.encode(), b" ")
    invalid = [c for c in data.decode("utf-8", "surrogateescape") if "\udc80" <= c <= "\udcff"]
    assert sum(3 <= i < 259 for i in ids) >= len(invalid)


def setup_of_files(pieces: Sequence[str], scores: Sequence[float], prefix: bool) -> Tokenizer:
    """`tokenizers` as the tokenizer.json of such models has it: merges by score, special tokens cut out before the prefix is added."""
    vocab = {t: i for i, t in enumerate([*BASE, *pieces])}
    ranked = sorted(range(len(pieces)), key=lambda i: -scores[i])
    merges = [(p[:k], p[k:]) for p in (pieces[i] for i in ranked) for k in range(1, len(p)) if p[:k] in vocab and p[k:] in vocab]
    out = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    steps = [normalizers.Prepend(MARK)] * prefix + [normalizers.Replace(" ", MARK)]
    out.normalizer = normalizers.Sequence(steps)
    out.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in BASE[:3]])
    out.add_tokens([AddedToken(t, special=False, normalized=False) for t in TYPED])
    return out


@pytest.fixture(scope="module")
def filed(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NativeModel, Tokenizer]]:
    pieces, scores = trained.pieces, trained.scores
    kinds = [*BASE_KINDS, *[vocabulary.NORMAL] * len(pieces), *[vocabulary.USER_DEFINED] * len(TYPED), vocabulary.UNUSED]
    tokens, all_scores = [*BASE, *pieces, *TYPED, "[PAD1]"], [*[0.0] * len(BASE), *scores, *[0.0] * len(TYPED), -1000.0]
    prefix = trained.model.detokenize(trained.model.tokenize("a")) == b" a"
    with opened(tmp_path_factory.mktemp("file") / "model.gguf", tokens, all_scores, kinds, add_space_prefix=prefix) as model:
        yield model, setup_of_files(pieces, scores, prefix)


@settings(max_examples=300)
@given(parts=st.lists(st.sampled_from([*PIECES, *TYPED, *BASE[:3], "[PAD1]", "<file", "\n"]), max_size=20), parse=st.booleans())
def test_special_tokens_in_a_text(filed: tuple[NativeModel, Tokenizer], parts: list[str], parse: bool) -> None:
    """User-defined tokens are found in any text, control tokens where they are asked for, and the prefix is there anew after each."""
    model, peer = filed
    peer.encode_special_tokens = not parse
    text = "".join(parts)
    assert model.tokenize(text, parse_special=parse) == peer.encode(text, add_special_tokens=False).ids, text


def test_a_space_without_a_token(tmp_path: Path) -> None:
    """Its byte comes back as a space; `sentencepiece` would write the three bytes of the mark. No trained vocabulary is without the mark."""
    with opened(tmp_path / "model.gguf", [*BASE, "a"], [0.0] * 260, [*BASE_KINDS, vocabulary.NORMAL]) as model:
        assert model.tokenize("a a") == [3 + 0x20, 259, 3 + 0x20, 259]
        assert model.detokenize(model.tokenize("a a"), whole=True) == b"a a"


def refused(path: Path, tokens: Sequence[str], scores: Sequence[float], kinds: Sequence[int], **more: object) -> str:
    with pytest.raises(ModelFileError) as caught:
        opened(path, tokens, scores, kinds, **more).close()
    return str(caught.value)


def test_what_ends_a_text_is_not_typed(tmp_path: Path) -> None:
    """A file that calls its ends user-defined would let a user's words end a text."""
    kinds = [vocabulary.UNKNOWN, vocabulary.USER_DEFINED, vocabulary.USER_DEFINED, *[vocabulary.BYTE] * 256, vocabulary.NORMAL]
    with opened(tmp_path / "model.gguf", [*BASE, "</s"], [0.0] * 260, kinds) as model:
        assert not {1, 2} & set(model.tokenize("a</s>b<s>"))
        assert model.tokenize("</s>", parse_special=True) == [2]
        assert model.token_bytes(2) == b""


def test_white_space_that_a_file_drops_is_refused(tmp_path: Path) -> None:
    line = refused(tmp_path / "model.gguf", BASE, [0.0] * len(BASE), BASE_KINDS, remove_extra_whitespaces=True)
    assert "remove_extra_whitespaces is true" in line
