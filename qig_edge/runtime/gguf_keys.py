"""What kind of model a GGUF file holds, read from its keys alone: the choice of a back end. Nothing of the file is trusted."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path


def architecture(path: Path) -> str | None:
    """general.architecture of a GGUF file, whatever else it holds; None where that cannot be read."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Keys(data).text("general.architecture")
    except (OSError, ValueError, struct.error, UnicodeDecodeError):
        return None


class _Keys:
    """The keys of a GGUF file one after another; a read beyond the file's end raises struct.error."""

    WIDTHS = (1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8)  # of a value by its type; 8: string, 9: array
    STRING, ARRAY = 8, 9

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, 0

    def text(self, wanted: str) -> str | None:
        """The string under a key, None where the file has none."""
        if self.data[:4] != b"GGUF":
            return None
        self.at = 8  # behind magic and version
        self.number("<Q")
        for _ in range(self.number("<Q")):
            key, kind = self.string(), self.number("<I")
            if key == wanted.encode() and kind == self.STRING:
                return self.string().decode()
            self.skip(kind)
        return None

    def number(self, layout: str) -> int:
        (value,) = struct.unpack_from(layout, self.data, self.at)
        self.at += struct.calcsize(layout)
        return int(value)

    def string(self) -> bytes:
        n = self.number("<Q")
        if n > len(self.data) - self.at:
            raise ValueError("a string is longer than the file")
        self.at += n
        return self.data[self.at - n : self.at]

    def skip(self, kind: int) -> None:
        if kind == self.STRING:
            self.string()
        elif kind == self.ARRAY:
            item, count = self.number("<I"), self.number("<Q")
            if item == self.STRING:
                for _ in range(count):
                    self.string()
            else:
                self.at += self.width(item) * count
        else:
            self.at += self.width(kind)

    def width(self, kind: int) -> int:
        if not (kind < len(self.WIDTHS) and self.WIDTHS[kind]):
            raise ValueError(f"a value of type {kind}")
        return self.WIDTHS[kind]
