"""Just enough of ELF64, little endian, to say what a file needs from the system that loads it."""

from __future__ import annotations

import dataclasses
import struct

X86_64, AARCH64 = 62, 183
PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
DT_NEEDED, DT_STRTAB, DT_VERNEED, DT_VERNEEDNUM = 1, 5, 0x6FFFFFFE, 0x6FFFFFFF


@dataclasses.dataclass(frozen=True)
class Elf:
    """machine: e_machine. interpreter: whether a dynamic loader is asked for. libraries: DT_NEEDED. versions: of symbols, "GLIBC_2.17"."""

    machine: int
    interpreter: bool
    libraries: frozenset[str]
    versions: frozenset[str]

    def newest(self, prefix: str) -> tuple[int, ...]:
        """The highest version needed with that prefix ("GLIBC_"); () when there is none."""
        numbers = [v.removeprefix(prefix) for v in self.versions if v.startswith(prefix)]
        # GLIBC_PRIVATE ties a file to one exact build of the C library: worse than any number
        return max((tuple(map(int, n.split("."))) if n[0].isdigit() else (10**6,) for n in numbers), default=())


def read(data: bytes) -> Elf:
    """Raises ValueError for a file that is no 64-bit little-endian ELF."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no 64-bit little-endian ELF file")
    machine = struct.unpack_from("<H", data, 18)[0]
    offset, size, count = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
    segments = [struct.unpack_from("<IIQQQQQQ", data, offset + i * size) for i in range(count)]
    loads = [(address, start, length) for kind, _, start, address, _, length, _, _ in segments if kind == PT_LOAD]

    def place(address: int) -> int:
        for first, start, length in loads:
            if first <= address < first + length:
                return address - first + start
        raise ValueError(f"address {address:#x} is in no segment")

    dynamic: list[tuple[int, int]] = []
    for kind, _, start, _, _, length, _, _ in segments:
        if kind == PT_DYNAMIC:
            dynamic = list(struct.iter_unpack("<qQ", data[start : start + length]))
    tags = dict(dynamic)

    def string(index: int) -> str:
        start = place(tags[DT_STRTAB]) + index
        return data[start : data.index(b"\0", start)].decode()

    versions = set()
    at = place(tags[DT_VERNEED]) if DT_VERNEED in tags else 0
    for _ in range(tags.get(DT_VERNEEDNUM, 0)):
        entries, _, first, following = struct.unpack_from("<HIII", data, at + 2)
        entry = at + first
        for _ in range(entries):
            name, step = struct.unpack_from("<II", data, entry + 8)
            versions.add(string(name))
            entry += step
        at += following
    libraries = frozenset(string(value) for tag, value in dynamic if tag == DT_NEEDED)
    return Elf(machine, any(s[0] == PT_INTERP for s in segments), libraries, frozenset(versions))
