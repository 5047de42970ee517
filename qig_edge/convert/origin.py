"""What a file says of where it comes from: the checkpoint's hash, and a licence where somebody gave one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from qig_edge.convert.keys import Origin
from qig_edge.errors import CheckpointError, ConfigError

MOST = 256  # characters of a licence's name


def origin(folder: Path, recipe: str, licence: str | None, weights: str = "model.safetensors") -> Origin:
    """Of a checkpoint folder and its file of weights. licence: the user's word; without it, that of the card (README.md) in the folder.

    Raises CheckpointError for weights that cannot be read, ConfigError for a licence that is no line of text.
    """
    if licence is not None:
        licence = licence.strip()
        if not licence or len(licence) > MOST or len(licence.splitlines()) != 1:
            raise ConfigError(f"--license must be one line of 1 to {MOST} characters, as in Apache-2.0, not {licence!r}")
    return Origin(licence or card_licence(folder), folder.resolve().name, sha256(folder / weights), recipe)


def sha256(file: Path) -> str:
    """Hexadecimal digest of a file's bytes."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while part := stream.read(1 << 20):
                digest.update(part)
    except OSError as e:
        raise CheckpointError(f"cannot read '{file}': {e.strerror}") from None
    return digest.hexdigest()


def card_licence(folder: Path) -> str | None:
    """`license` of the header of a checkpoint's model card, as Hugging Face has it; None where there is no card, header or licence."""
    try:
        text = (folder / "README.md").read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    header = re.match(r"---[ \t]*\n(.*?)^---[ \t]*$", text, re.S | re.M)
    found = re.search(r"^license:[ \t]*['\"]?([^'\"\n#]+)", header.group(1), re.M) if header else None
    return found.group(1).strip()[:MOST] or None if found else None
