"""Loads with a cold page cache: asking the system to forget a file, and whether it did."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
from pathlib import Path


def drop_cache(path: Path) -> bool:
    """Asks the system to forget a file's pages and says whether it did (no file system in memory does, no system but Linux is asked)."""
    if not hasattr(os, "posix_fadvise") or sys.platform != "linux":
        return False
    with path.open("rb") as file:
        os.fsync(file.fileno())  # dirty pages of a file just written would stay
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return resident_share(path) < 0.05


def resident_share(path: Path) -> float:
    """Share of a file's pages that the page cache holds, in [0, 1]. Linux only."""
    size = path.stat().st_size
    if size == 0:
        return 0.0
    libc = ctypes.CDLL(None, use_errno=True)
    pages = -(-size // mmap.PAGESIZE)
    flags = (ctypes.c_ubyte * pages)()
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as mapped,
    ):
        # a private writable map, never written, gives ctypes the address without touching a page
        anchor = ctypes.c_char.from_buffer(mapped)
        failed = libc.mincore(ctypes.c_void_p(ctypes.addressof(anchor)), ctypes.c_size_t(size), flags)
        del anchor
    if failed:
        return 1.0
    return sum(flag & 1 for flag in flags) / pages
