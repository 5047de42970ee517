"""Documents from files, folders and the hub.

.txt, .jsonl (field `text`, or `messages` for conversations), either compressed as .xz or .zst, folders of them, and
hf:NAME (streamed).

A document is a list of turns; plain text is one turn of role None.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qig_edge.errors import DataError, MissingExtra

SUFFIXES = (".txt", ".jsonl", ".txt.xz", ".jsonl.xz", ".txt.zst", ".jsonl.zst")
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Document:
    """turns: (role or None, text)."""

    turns: tuple[tuple[str | None, str], ...]

    @property
    def text(self) -> str:
        return "\n".join(text for _, text in self.turns)

    def bucket(self, of: int) -> int:
        """A number in [0, of) that depends on the text alone: validation documents are chosen by it, the same for every model."""
        return int.from_bytes(hashlib.blake2b(self.text.encode(), digest_size=8).digest(), "little") % of


@dataclass(frozen=True)
class Source:
    """One --data argument: NAME or NAME=WEIGHT; weight multiplies how often its tokens are seen relative to their number."""

    name: str
    weight: float = 1.0

    @classmethod
    def parse(cls, argument: str) -> Source:
        """Raises DataError for a weight that is not a positive number."""
        name, equals, weight = argument.rpartition("=")
        if not equals or Path(argument).exists():
            return cls(argument)
        try:
            value = float(weight)
        except ValueError:
            return cls(argument)
        if not 0 < value < 1e6:
            raise DataError(f"weight {weight} of data '{name}' must be a positive number")
        return cls(name, value)

    def files(self) -> list[Path]:
        """The files behind the name, sorted. Raises DataError where there is none or a kind is not read."""
        path = Path(self.name)
        if not path.exists():
            raise DataError(f"data '{self.name}' does not exist")
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and p.name.endswith(SUFFIXES))
            if not found:
                raise DataError(f"data folder '{self.name}' has no file of the kinds {', '.join(SUFFIXES)}")
            return found
        if not path.name.endswith(SUFFIXES):
            raise DataError(f"data file '{self.name}' is of no kind that is read ({', '.join(SUFFIXES)})")
        return [path]

    def documents(self) -> Iterator[Document]:
        """Every document in order. Raises DataError, naming file and line, for what cannot be read, and when nothing is there."""
        count = 0
        for document in self._stream():
            count += 1
            yield document
        if not count:
            raise DataError(f"data '{self.name}' is empty: it holds no document")

    def _stream(self) -> Iterator[Document]:
        if self.name.startswith("hf:"):
            yield from _from_hub(self.name[3:])
            return
        for path in self.files():
            yield from _from_file(path)

    @property
    def absent(self) -> bool:
        """Whether nothing of that name is at hand. A dataset of the hub never is: its tokens are told by its name alone."""
        return not self.name.startswith("hf:") and not Path(self.name).exists()

    def fingerprint(self) -> list[list[Any]]:
        """What tells two versions of the data apart: name, size, time of change (ns) and SHA-256 of each file. See `matches`."""
        if self.name.startswith("hf:"):
            return [[self.name]]
        return [[p.name, p.stat().st_size, p.stat().st_mtime_ns, _sha256(p)] for p in self.files()]

    def matches(self, fingerprint: list[list[Any]]) -> bool:
        """Whether the files are those that a fingerprint was taken of: name, size and content. A file of the same size and time is not read again.

        Fingerprints of earlier versions have no hash; there the time must be the same.
        """
        if self.name.startswith("hf:"):
            return fingerprint == [[self.name]]
        files = self.files()
        return len(files) == len(fingerprint) and all(map(_is, files, fingerprint))


def _sha256(path: Path) -> str:
    total = hashlib.sha256()
    try:
        with open(path, "rb") as f:
            while part := f.read(1 << 20):
                total.update(part)
    except OSError as e:
        raise DataError(f"data file '{path}': {e.strerror}") from None
    return total.hexdigest()


def _is(path: Path, entry: list[Any]) -> bool:
    name, size, changed, *content = entry
    stat = path.stat()
    if (path.name, stat.st_size) != (name, size):
        return False
    return stat.st_mtime_ns == changed or [_sha256(path)] == content


def _open_text(path: Path) -> io.TextIOBase:
    if path.suffix == ".xz":
        return io.TextIOWrapper(lzma.open(path, "rb"), encoding="utf-8")
    if path.suffix == ".zst":
        try:
            import zstandard
        except ImportError:
            raise MissingExtra(f"reading '{path.name}'", "train") from None
        return io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(open(path, "rb")), encoding="utf-8")
    return open(path, encoding="utf-8")


def _from_file(path: Path) -> Iterator[Document]:
    number = 0
    try:
        with _open_text(path) as f:
            if ".jsonl" not in path.suffixes:
                text = f.read()
                if text.strip():
                    yield Document(((None, text),))
                return
            for line in f:
                number += 1
                if line.strip():
                    yield _from_record(json.loads(line))
    except (ValueError, KeyError, TypeError, EOFError, OSError, lzma.LZMAError) as e:
        raise DataError(f"data file '{path}'{f', line {number}' if number else ''}: {_reason(e)}") from None
    except Exception as e:
        if type(e).__name__ == "ZstdError":
            raise DataError(f"data file '{path}': damaged zstd stream ({e})") from None
        raise


def _reason(e: Exception) -> str:
    if isinstance(e, KeyError):
        return "a record needs 'text', or 'messages' with 'role' and 'content'"
    if isinstance(e, UnicodeDecodeError):
        return "not UTF-8 text"
    if isinstance(e, json.JSONDecodeError):
        return f"not a JSON object a line ({e.msg})"
    return str(e) or type(e).__name__


def _from_record(record: Any) -> Document:
    if not isinstance(record, dict):
        raise ValueError("a line must be a JSON object")
    if "messages" in record:
        turns = []
        for message in record["messages"]:
            if message["role"] not in ROLES:
                raise ValueError(f"role '{message['role']}' must be one of {', '.join(ROLES)}")
            turns.append((message["role"], str(message["content"])))
        return Document(tuple(turns))
    if not isinstance(record["text"], str):
        raise ValueError("field 'text' must be a string")
    return Document(((None, record["text"]),))


def _from_hub(name: str) -> Iterator[Document]:
    try:
        import datasets
    except ImportError:
        raise MissingExtra(f"data 'hf:{name}'", "train") from None
    repository, _, configuration = name.partition("@")
    try:
        stream = datasets.load_dataset(repository, configuration or None, split="train", streaming=True)
        for record in stream:
            yield _from_record(record)
    except (KeyError, ValueError, TypeError, OSError, RuntimeError) as e:
        raise DataError(f"data 'hf:{name}': {_reason(e)}") from None
