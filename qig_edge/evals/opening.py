"""Opens what can be evaluated: a model file or ONNX folder, as every command does, and a checkpoint folder, which torch runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.errors import ConfigError
from qig_edge.runtime.onnx_model import is_onnx
from qig_edge.runtime.opening import OpenedModel, open_model

if TYPE_CHECKING:
    from qig_edge.runtime.torch_model import TorchModel


def open_evaluated(
    path: Path, isa: str = "auto", settings: Mapping[str, str] | None = None, backend: str = "auto"
) -> OpenedModel | TorchModel:
    """The model at `path`, as open_model; a folder that is no ONNX model is a checkpoint, or a run whose newest one is taken.

    Raises ConfigError where a checkpoint is given a backend, an isa or a setting, which are files', and what the back ends raise.
    """
    if not path.is_dir() or is_onnx(path):
        return open_model(path, isa, settings, backend)
    for name, given in (("--backend", backend != "auto"), ("--isa", isa != "auto"), ("--set", bool(settings))):
        if given:
            raise ConfigError(f"{name} is for GGUF files: torch runs the checkpoint '{path}' as it is")
    from qig_edge.runtime.torch_model import TorchModel

    return TorchModel(path)


def identity(opened: OpenedModel | TorchModel, settings: Mapping[str, str]) -> dict[str, Any]:
    """What the answers of an opened model depend on: its bytes, what runs them, and settings of the user's."""
    from qig_edge import __version__
    from qig_edge.bench.identity import model_hash

    return {
        "sha256": model_hash(opened.path),
        "engine": f"{type(opened).__name__} {opened.info.isa}",
        "settings": dict(settings),
        "qig_edge": __version__,
    }
