"""What exactly was measured: the commit of the code, and the model by its hash."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

from qig_edge.devices.host import PACKAGE

PIECE = 1 << 22


def commit() -> str | None:
    """The commit of the source checkout this runs from, marked where files differ from it; None for an installed package."""
    if not (PACKAGE.parent / ".git").exists():
        return None
    command = ["git", "-C", str(PACKAGE.parent), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


def model_hash(path: Path, progress: Callable[[int, int, str], None] | None = None) -> str:
    """SHA-256 of a model in hexadecimal, read in full each time: a stored hash could be that of an older file.

    A folder has the hash of its list, one line "hash  name\\n" for each file in it, sorted by name: `sha256sum * | sha256sum`.
    progress(done, total, what) counts MiB.
    """
    files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    total, done = sum(p.stat().st_size for p in files), 0
    listed = hashlib.sha256()
    for file in files:
        one = hashlib.sha256()
        with file.open("rb") as stream:
            while piece := stream.read(PIECE):
                one.update(piece)
                done += len(piece)
                if progress:
                    progress(done >> 20, total >> 20, "hashing the model")
        if file == path:
            return one.hexdigest()
        listed.update(f"{one.hexdigest()}  {file.name}\n".encode())
    return listed.hexdigest()
