"""The byte-level BPE tokenizer: trained on the data, or taken from a folder. The chat format is five control tokens, ids 0 to 4.

Jarvis models have words instead (qig_edge.train.words): what loads, saves and encodes takes either kind.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import CheckpointError, ConfigError
from qig_edge.train.sources import Document
from qig_edge.train.words import EOS, EOS_ID, PAD, is_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END_OF_TEXT, SYSTEM, USER, ASSISTANT, END_OF_TURN = CONTROL = (
    "<|endoftext|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
)
HEADERS = {"system": 1, "user": 2, "assistant": 3}
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE of exactly vocab_size entries (GPT-2's split pattern, no prefix space).

    Raises ConfigError where the text is too small for it.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocab_size < 256 + len(CONTROL):
        raise ConfigError(
            f"vocab_size = {vocab_size} must be at least {256 + len(CONTROL)}: 256 bytes and {len(CONTROL)} control tokens"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocab_size:
        raise ConfigError(
            f"the text is too small for vocab_size = {vocab_size}: it supports {tokenizer.get_vocab_size()}"
        )
    return tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """From a tokenizer.json or a folder that has one. Raises CheckpointError for another kind of tokenizer."""
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"no tokenizer at '{path}': expected a tokenizer.json")
    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as e:
        raise CheckpointError(f"'{file}' is not a tokenizer: {e}") from None
    if is_words(tokenizer):
        return tokenizer
    if [tokenizer.id_to_token(i) for i in range(len(CONTROL))] != list(CONTROL):
        raise CheckpointError(f"'{file}' has not the control tokens {' '.join(CONTROL)} as ids 0 to {len(CONTROL) - 1}")
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context_length: int) -> None:
    """Writes what AutoTokenizer opens: tokenizer.json and tokenizer_config.json, with the chat template where there is one."""
    tokenizer.save(str(folder / "tokenizer.json"))
    words = is_words(tokenizer)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": EOS if words else END_OF_TEXT,
        "pad_token": PAD if words else END_OF_TEXT,
        "additional_special_tokens": [] if words else list(CONTROL[1:]),
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": context_length,
        **({} if words else {"chat_template": CHAT_TEMPLATE}),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def encode_documents(tokenizer: Tokenizer, documents: list[Document]) -> list[list[int]]:
    """Ids of each document: text plainly, turns as header, content, end; each closed by end-of-text. Control strings in a text stay text.

    Of words: each turn's content, closed by end-of-text; there are no headers.
    """
    tokenizer.encode_special_tokens = True
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    flat = tokenizer.encode_batch_fast([text for d in documents for _, text in d.turns], add_special_tokens=False)
    out, at, words = [], 0, is_words(tokenizer)
    for document in documents:
        ids: list[int] = []
        for role, _ in document.turns:
            piece = flat[at].ids
            at += 1
            ids += [*piece, EOS_ID] if words else [HEADERS[role], *piece, 4] if role else piece
        out.append(ids if words else [*ids, 0])
    return out
