"""The user's own models: what `qig-edge pull` fetched, in one folder of the platform's data directory, and the names that commands take for them.

    FOLDER/OWNER/REPO/model-q4_0.gguf          "OWNER/REPO/model-q4_0.gguf"; also "OWNER/REPO" and "model-q4_0" where nothing else is called so
    FOLDER/OWNER/REPO/model.safetensors ...    a checkpoint: "OWNER/REPO", "REPO"
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from qig_edge.errors import ConfigError

WEIGHTS = "model.safetensors"


def folder() -> Path:
    """Where pulled models lie; it need not exist. XDG_DATA_HOME, ~/Library/Application Support or LOCALAPPDATA, as the platform has it."""
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "qig-edge" / "models"


def pulled() -> dict[str, Path]:
    """Full name -> GGUF file or checkpoint folder, sorted by name."""
    top = folder()
    found = [*top.glob("*/*/**/*.gguf"), *(p.parent for p in top.glob("*/*/" + WEIGHTS))]
    return {str(p.relative_to(top).as_posix()): p for p in sorted(found) if not p.relative_to(top).parts[0].startswith(".")}


def names(full: str) -> set[str]:
    """What a pulled model may be called: its full name, its repository, its file without the ending; with or without "hf:" before it."""
    parts = full.split("/")
    short = {full, "/".join(parts[:2]), parts[-1], parts[-1].removesuffix(".gguf")}
    return short | {f"hf:{name}" for name in short}


def found(given: Path) -> Path:
    """`given` where it exists or is no name of a pulled model, else that model. Raises ConfigError where several are called so."""
    if given.exists():
        return given
    asked = given.as_posix()
    models = pulled()
    if asked in models:
        return models[asked]
    matches = [full for full in models if asked in names(full)]
    if len(matches) > 1:
        raise ConfigError(f"model '{asked}' is the name of several that were pulled: give one of {', '.join(matches)}")
    return models[matches[0]] if matches else given
