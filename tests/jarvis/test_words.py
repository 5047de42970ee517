"""The vocabulary of words: its ids, that every text comes back, and that what a user types makes no special token."""

from __future__ import annotations

import pytest

pytest.importorskip("tokenizers")
from qig_edge.errors import CheckpointError, ConfigError
from qig_edge.train.sources import Document
from qig_edge.train.tokenizer import encode_documents, load_tokenizer, save_tokenizer, train_tokenizer
from qig_edge.train.words import EOS_ID, PAD_ID, byte_letters, is_words, train_words

TEXT = "The cat sat on the mat, and the dog sat on the cat. In 1984 the dog didn't sit; it ran 12 miles.\n" * 3
TEXTS = [
    "the cat",
    "The dog ran.",
    "nothing known: zyzzyva",
    "  two  spaces ",
    "tabs\tand\n\nlines\r\n",
    "1234567",
    "naïve Ärger 漢字 \U0001f600",
    "<pad><eos> <eos>",
    "don't DON'T",
    "",
]


def test_ids_and_words() -> None:
    tokenizer = train_words([TEXT], 258 + 12)
    assert tokenizer.get_vocab_size() == 270 and is_words(tokenizer)
    assert tokenizer.token_to_id("<pad>") == PAD_ID == 0 and tokenizer.token_to_id("<eos>") == EOS_ID == 1
    assert [tokenizer.id_to_token(i) for i in range(2, 258)] == byte_letters()
    assert tokenizer.id_to_token(258) == "Ġthe"  # the most frequent word
    assert [tokenizer.id_to_token(i) for i in tokenizer.encode("The cat sat").ids][-2:] == ["Ġcat", "Ġsat"]
    with pytest.raises(ConfigError, match="the text is too small for vocab_size = 5000: it supports "):
        train_words([TEXT], 5000)
    with pytest.raises(ConfigError, match="vocab_size = 258 must be more than 258"):
        train_words([TEXT], 258)


def test_every_text_comes_back_and_makes_no_special_token() -> None:
    tokenizer = train_words([TEXT], 270)
    tokenizer.encode_special_tokens = True
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text
        assert not {PAD_ID, EOS_ID} & set(ids)
        unknown = [i for i in ids if i >= 270]
        assert not unknown


def test_documents_end_and_turns_end() -> None:
    tokenizer = train_words([TEXT], 270)
    plain, talk = encode_documents(
        tokenizer, [Document(((None, "the cat"),)), Document((("user", "the dog"), ("assistant", "ran")))]
    )
    assert plain == [*tokenizer.encode("the cat").ids, EOS_ID]
    assert talk == [*tokenizer.encode("the dog").ids, EOS_ID, *tokenizer.encode("ran").ids, EOS_ID]


def test_saved_and_opened_again(tmp_path) -> None:
    tokenizer = train_words([TEXT], 270)
    save_tokenizer(tokenizer, tmp_path, 64)
    again = load_tokenizer(tmp_path)
    assert again.to_str() == tokenizer.to_str() and is_words(again)
    transformers = pytest.importorskip("transformers")
    opened = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert opened.eos_token_id == 1 and opened.pad_token_id == 0 and opened.chat_template is None
    for text in TEXTS[:7]:
        assert opened(text)["input_ids"] == tokenizer.encode(text).ids
    assert not is_words(train_tokenizer([TEXT], 262))
    (tmp_path / "tokenizer.json").write_text('{"word_to_id": {"<pad>": 0}}')
    with pytest.raises(CheckpointError, match="is not a tokenizer"):
        load_tokenizer(tmp_path)
