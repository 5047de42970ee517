"""Tokenized data on disk and the order in which it is read.

A shard folder holds for each source a file of training tokens (uint16, or uint32 for a vocabulary above 65536) and
one of validation tokens, the tokenizer and a manifest.
Which windows a step reads is a pure function of (seed, step): resuming needs no state, and any number of processes share a batch alike.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qig_edge.errors import DataError
from qig_edge.train.sources import Document, Source
from qig_edge.train.tokenizer import encode_documents, load_tokenizer, train_tokenizer
from qig_edge.train.words import is_words, train_words

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MANIFEST = "manifest.json"
SLOTS = 1024  # a mixture is resolved to this many parts
TOKENIZER_SAMPLE = 24_000_000  # characters of each kind of data that the tokenizer learns from, in all


@dataclasses.dataclass(frozen=True)
class Shard:
    """Tokens of one source: train [N] and validation [M] (memory-mapped), and the bytes of text behind the validation tokens."""

    name: str
    train: np.ndarray
    validation: np.ndarray
    validation_bytes: int


def prepare(
    folder: Path,
    sources: list[Source],
    tokenizer_from: Path | None,
    vocab_size: int,
    permille: int,
    validation_bytes: int,
    progress: Callable[[str, float], None] = lambda text, share: None,
    words: bool = False,
) -> tuple[Tokenizer, dict[str, Shard]]:
    """Tokenizes the sources into `folder`, or reuses it where it was made from the same data. Returns the tokenizer and the shards by source name.

    A source whose text is not at hand (`Source.absent`) is taken as the folder holds it. words: by a vocabulary of words (a Jarvis model's), not by
    byte-level BPE. Raises DataError for data that cannot be read or is too small, and where the folder was made from other data.
    """
    only_tokenized(folder, sources)
    wanted: dict[str, Any] = {
        "vocab_size": vocab_size,
        "permille": permille,
        "validation_bytes": validation_bytes,
        "tokenizer_from": str(tokenizer_from) if tokenizer_from else None,
        **({"words": True} if words else {}),
    }
    manifest = _manifest(folder)
    if manifest is not None:
        if tokenizer_from and _same_tokenizer(folder, tokenizer_from):
            wanted["tokenizer_from"] = manifest["wanted"].get("tokenizer_from")
        changed = _changed(manifest["wanted"], wanted, sources)
        if changed:
            raise DataError(
                f"'{folder}' was tokenized from other data ({', '.join(changed)} differ): remove it, or give another --shards folder"
            )
        return load_tokenizer(folder), _open(folder, manifest)
    wanted["sources"] = {s.name: s.fingerprint() for s in sources}
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        if tokenizer_from:
            tokenizer = load_tokenizer(tokenizer_from)
            if is_words(tokenizer) != words:
                kinds = ("byte-level BPE", "words")
                raise DataError(f"the tokenizer at '{tokenizer_from}' is of {kinds[not words]}, the model takes {kinds[words]}")
            if tokenizer.get_vocab_size() > vocab_size:
                raise DataError(
                    f"the tokenizer at '{tokenizer_from}' has {tokenizer.get_vocab_size()} entries, the model's vocab_size is {vocab_size}"
                )
        else:
            progress("training the tokenizer", 0.0)
            tokenizer = (train_words if words else train_tokenizer)(_sample(sources), vocab_size)
        tokenizer.save(str(partial / "tokenizer.json"))
        counts = {}
        for i, source in enumerate(sources):
            progress(f"tokenizing {Path(source.name).name}", i / len(sources))
            counts[source.name] = {
                "stem": f"{i:03d}",
                **_write(partial / f"{i:03d}", source, tokenizer, permille, validation_bytes),
            }
        manifest = {"wanted": wanted, "dtype": _dtype(vocab_size).name, "sources": counts}
        (partial / MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return tokenizer, _open(folder, manifest)


def opened(folder: Path) -> dict[str, Shard]:
    """The shards of a folder that `prepare` made. Raises DataError where it is none, or damaged."""
    try:
        return _open(folder, json.loads((folder / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise DataError(f"'{folder}' holds no tokenized data: {e}") from None


def only_tokenized(folder: Path, sources: list[Source]) -> list[str]:
    """Names of the sources that are not at hand as text and whose tokens the folder holds.

    Raises DataError for one that is in neither, or that has no file that is read.
    """
    manifest = _manifest(folder)
    held = manifest["sources"] if manifest else {}
    absent = []
    for source in sources:
        if source.absent and source.name in held:
            absent.append(source.name)
        elif not source.name.startswith("hf:"):
            source.files()
    return absent


def _manifest(folder: Path) -> dict[str, Any] | None:
    """None where there is none."""
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text("utf-8"))
        if isinstance(manifest["wanted"]["sources"], dict) and isinstance(manifest["sources"], dict):
            return manifest
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise DataError(f"'{path}' is damaged: remove '{folder}' to tokenize anew")


def _changed(had: dict[str, Any], wanted: dict[str, Any], sources: list[Source]) -> list[str]:
    """Settings and sources that are not as they were when the folder was made."""
    before = dict(had["sources"])
    changed = [k for k in {**wanted, **had} if k != "sources" and had.get(k) != wanted.get(k)]
    for source in sources:
        was = before.pop(source.name, None)
        if was is None or not (source.absent or source.matches(was)):
            changed.append(source.name)
    return changed + list(before)


def _same_tokenizer(a: Path, b: Path) -> bool:
    """Wherever they were taken from: a run's checkpoint has the tokenizer of its data."""
    files = [p / "tokenizer.json" if p.is_dir() else p for p in (a, b)]
    try:
        first, second = (json.loads(f.read_text("utf-8")) for f in files)
    except (OSError, ValueError):
        return False
    return first == second


def _dtype(vocab_size: int) -> np.dtype:
    return np.dtype("uint16" if vocab_size <= 1 << 16 else "uint32")


def _sample(sources: list[Source]) -> Any:
    """Texts for the tokenizer: the same number of characters from each source at most, whole turns, long ones cut."""
    budget = TOKENIZER_SAMPLE // len(sources)
    for source in sources:
        left = budget
        for document in source.documents():
            for _, text in document.turns:
                piece = text[: min(left, 200_000)]
                left -= len(piece)
                yield piece
            if left <= 0:
                break


def _write(stem: Path, source: Source, tokenizer: Tokenizer, permille: int, validation_limit: int) -> dict[str, int]:
    dtype = _dtype(tokenizer.get_vocab_size())
    totals = {"train": 0, "validation": 0, "validation_bytes": 0}
    with open(f"{stem}.train.bin", "wb") as train, open(f"{stem}.validation.bin", "wb") as validation:

        def flush(batch: list[Document]) -> None:
            for document, ids in zip(batch, encode_documents(tokenizer, batch), strict=True):
                held_out = document.bucket(1000) < permille
                if held_out and totals["validation_bytes"] < validation_limit:
                    np.asarray(ids, dtype).tofile(validation)
                    totals["validation"] += len(ids)
                    totals["validation_bytes"] += sum(len(text.encode()) for _, text in document.turns)
                elif not held_out:
                    np.asarray(ids, dtype).tofile(train)
                    totals["train"] += len(ids)

        batch: list[Document] = []
        size = 0
        for document in source.documents():
            batch.append(document)
            size += len(document.text)
            if size > 2_000_000:
                flush(batch)
                batch, size = [], 0
        flush(batch)
    if totals["train"] < 2:
        raise DataError(f"data '{source.name}' is too small: {totals['train']} tokens to train on")
    return totals


def _open(folder: Path, manifest: dict[str, Any]) -> dict[str, Shard]:
    dtype = np.dtype(manifest["dtype"])

    def tokens(stem: str, split: str, count: int) -> np.ndarray:
        path = folder / f"{stem}.{split}.bin"
        if not path.is_file() or path.stat().st_size != count * dtype.itemsize:
            raise DataError(f"'{path}' is damaged: expected {count} tokens; remove '{folder}' to tokenize anew")
        return np.memmap(path, dtype, "r") if count else np.zeros(0, dtype)

    return {
        name: Shard(
            name,
            tokens(c["stem"], "train", c["train"]),
            tokens(c["stem"], "validation", c["validation"]),
            c["validation_bytes"],
        )
        for name, c in manifest["sources"].items()
    }


class Mixture:
    """Windows of `context` + 1 tokens from weighted sources, without replacement inside an epoch of each source, in an order fixed by the seed."""

    def __init__(self, shards: dict[str, Shard], weights: dict[str, float], context: int, seed: int) -> None:
        self.context = context
        self.tokens = [shards[name].train for name in weights]
        for name, tokens in zip(weights, self.tokens, strict=True):
            if len(tokens) < context + 2:
                raise DataError(
                    f"data '{name}' is too small: {len(tokens)} tokens to train on, a window takes {context + 1}"
                )
        share = np.array([w * len(t) for w, t in zip(weights.values(), self.tokens, strict=True)])
        edges = np.round(np.cumsum(share) / share.sum() * SLOTS).astype(int)
        slots = np.searchsorted(edges, np.arange(SLOTS), side="right")
        self.shares = {name: float(np.mean(slots == i)) for i, name in enumerate(weights)}
        rng = np.random.default_rng(seed)
        self.slots = rng.permutation(slots)
        self.rank = np.zeros(SLOTS, int)  # how many earlier slots of a round have the same source
        for i in range(len(self.tokens)):
            self.rank[self.slots == i] = np.arange((self.slots == i).sum())
        self.seed = seed

    def window(self, index: int) -> np.ndarray:
        """The index-th window of the run: int64 [context + 1]."""
        turn, slot = divmod(index, SLOTS)
        source = int(self.slots[slot])
        draw = turn * int((self.slots == source).sum()) + int(self.rank[slot])
        tokens = self.tokens[source]
        # windows start `context` apart, from an offset that each epoch draws anew
        count = (len(tokens) - 1 - self.context) // self.context or 1
        epoch, k = divmod(draw, count)
        rng = np.random.default_rng((self.seed, source, epoch))
        offset = int(rng.integers(0, max(1, min(self.context, len(tokens) - self.context * count))))
        step = _coprime(int(rng.integers(1, count + 1)), count)
        start = offset + ((k * step + int(rng.integers(0, count))) % count) * self.context
        start = min(start, len(tokens) - self.context - 1)
        return tokens[start : start + self.context + 1].astype(np.int64)

    def batch(self, first: int, count: int) -> np.ndarray:
        """Windows first .. first + count - 1: int64 [count, context + 1]."""
        return np.stack([self.window(i) for i in range(first, first + count)])


def _coprime(a: int, n: int) -> int:
    while np.gcd(a, n) != 1:
        a += 1
    return a
