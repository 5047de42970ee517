"""The model that ships inside the package: what every command runs when it is given none."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from qig_edge.errors import ModelFileError
from qig_edge.runtime.store import found

SHIPPED = "qig-nano-q4_0.gguf"


def shipped_model() -> Path:
    """Path of the shipped model. Raises ModelFileError where this installation has none."""
    path = resources.files("qig_edge") / "assets" / SHIPPED
    if not (isinstance(path, Path) and path.is_file()):
        raise ModelFileError(
            f"the shipped model ({SHIPPED}) is not in this installation: give the path of a GGUF file as MODEL"
        )
    return path


def model_path(given: Path | None) -> Path:
    """The model a command was given, by path or by the name of one that was pulled, or the shipped one."""
    return found(given) if given is not None else shipped_model()
