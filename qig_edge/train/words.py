"""The vocabulary of a Jarvis model: whole words, and the 256 bytes for words that it lacks, so that every text has tokens and comes back from them.

A text is cut as Llama 3's regular expression cuts it: a word with the space before it, numbers by threes, punctuation. A piece that is in the
vocabulary is one token, any other the tokens of its bytes; there are no merges. So stock programs read it as a byte-level BPE that ignores
merges. Ids: 0 <pad>, 1 <eos>, 2 to 257 the bytes, then words by frequency.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    from tokenizers import Tokenizer, pre_tokenizers

PAD, EOS = SPECIAL = ("<pad>", "<eos>")
PAD_ID, EOS_ID = 0, 1
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def train_words(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A vocabulary of exactly vocab_size entries: the most frequent words of the texts. Raises ConfigError where they have too few."""
    from tokenizers import Tokenizer, models, trainers

    letters = byte_letters()
    fixed = [*SPECIAL, *letters]
    if vocab_size <= len(fixed):
        raise ConfigError(f"vocab_size = {vocab_size} must be more than {len(fixed)}: 256 bytes, {PAD} and {EOS}")
    counter = Tokenizer(models.WordLevel(unk_token=PAD))
    counter.pre_tokenizer = _pieces()
    # words of one byte are among the letters: ask for that many more
    trainer = trainers.WordLevelTrainer(vocab_size=vocab_size, special_tokens=[PAD], show_progress=False)
    counter.train_from_iterator(texts, trainer)
    known = set(fixed)
    words = [w for w, _ in sorted(counter.get_vocab().items(), key=lambda item: item[1]) if w not in known]
    vocabulary = (fixed + words)[:vocab_size]
    if len(vocabulary) != vocab_size:
        raise ConfigError(f"the text is too small for vocab_size = {vocab_size}: it supports {len(vocabulary)}")
    return from_vocabulary(vocabulary)


def from_vocabulary(vocabulary: list[str]) -> Tokenizer:
    """The tokenizer of these entries, in the letters of byte-level BPE, by id."""
    from tokenizers import AddedToken, Tokenizer, decoders, models

    model = models.BPE(vocab={word: i for i, word in enumerate(vocabulary)}, merges=[], ignore_merges=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = _pieces()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in SPECIAL])
    return tokenizer


def is_words(tokenizer: Tokenizer) -> bool:
    """Whether a tokenizer is of this kind, by its first ids."""
    return [tokenizer.id_to_token(i) for i in range(2 + 256)] == [*SPECIAL, *byte_letters()]


def byte_letters() -> list[str]:
    """The printable character that byte-level BPE writes each byte as: Latin-1's own where it is printable, U+0100 and on for the other 68."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return [chr(b) if b in printable else chr(256 + others.index(b)) for b in range(256)]


def _pieces() -> pre_tokenizers.PreTokenizer:
    from tokenizers import Regex, pre_tokenizers

    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
