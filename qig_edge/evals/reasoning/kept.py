"""Answers of a model that was interrupted: one file a run in the user's cache, so that the next start goes on where the last one stopped.

Its name is the hash of all that an answer depends on (the model's bytes, engine, settings, versions) and of what was asked for; a line is the hash of
one request and its answer. A torn last line is left out. The file goes when the run has ended well.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from qig_edge.errors import DataError


def cache_folder() -> Path:
    """Where the files lie: XDG_CACHE_HOME, ~/Library/Caches or LOCALAPPDATA, as the platform has it."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "qig-edge" / "eval"


def digest(*parts: Any) -> str:
    """Hexadecimal SHA-256 of anything that JSON holds."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class Kept:
    """The answers kept of one run. key: all that they depend on. Raises DataError where the file cannot be read or written."""

    def __init__(self, key: Mapping[str, Any]) -> None:
        self.path = cache_folder() / f"{digest(dict(key))[:32]}.jsonl"
        self._answers: dict[str, Any] = {}
        self._file: TextIO | None = None
        try:
            if self.path.exists():
                self._read()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
        except OSError as e:
            raise DataError(f"answers cannot be kept in '{self.path}': {e.strerror}") from None
        self.found = len(self._answers)

    def _read(self) -> None:
        whole = 0
        data = self.path.read_bytes()
        for line in data.splitlines(keepends=True):
            try:
                if not line.endswith(b"\n"):
                    raise ValueError("torn")
                request, answer = json.loads(line)
            except (ValueError, TypeError):
                break
            self._answers[request] = answer
            whole += len(line)
        if whole < len(data):  # what a power cut left: the next line must not be appended to it
            with self.path.open("r+b") as file:
                file.truncate(whole)

    def get(self, *request: Any) -> Any:
        """The answer to a request, None where there is none yet."""
        return self._answers.get(digest(*request))

    def put(self, answer: Any, *request: Any) -> None:
        """Keeps an answer. Raises DataError on a full disk."""
        if self._file is None:
            raise DataError(f"'{self.path}' is closed")
        name = digest(*request)
        self._answers[name] = answer
        try:
            self._file.write(json.dumps([name, answer]) + "\n")
            self._file.flush()
        except OSError as e:
            raise DataError(f"answers cannot be kept in '{self.path}': {e.strerror}") from None

    def close(self, done: bool) -> None:
        """Closes the file; done: the run has ended and it is not needed any more. One without answers goes as well."""
        if self._file is not None:
            self._file.close()
            self._file = None
            if done or not self._answers:
                self.path.unlink(missing_ok=True)
