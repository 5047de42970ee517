"""Checkpoints: Hugging Face folders, written under another name and renamed, so that a folder called step-N is always
whole.

DIR/step-00001220/  config.json  model.safetensors  tokenizer.json  tokenizer_config.json  generation_config.json
trainer.pt (what --resume needs)
A Jarvis model's folder has model.npz (qig_edge.jarvis.files) in place of model.safetensors.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.config import ModelConfig
from qig_edge.errors import CheckpointError, QigError
from qig_edge.jarvis import files as jarvis_files
from qig_edge.model.jarvis_config import JarvisConfig
from qig_edge.train.tokenizer import END_OF_TEXT, END_OF_TURN, save_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

    from qig_edge.model.build import AnyConfig, Model
    from qig_edge.model.kernel import Kernel

MODEL_TYPE = "qig"
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
NEEDED_JARVIS = (jarvis_files.CONFIG, jarvis_files.NPZ, jarvis_files.TOKENIZER)
# generation_config.json: how transformers draws unless it is told otherwise
GENERATION = {
    "eos_token_id": [0, 4],
    "pad_token_id": 0,
    "do_sample": True,
    "temperature": 0.7,
    "top_k": 40,
    "top_p": 0.95,
}


def config_json(config: ModelConfig) -> dict[str, Any]:
    """What config.json of a checkpoint holds."""
    return {
        "model_type": MODEL_TYPE,
        "architectures": ["QigForCausalLM"],
        "torch_dtype": "float32",
        "bos_token_id": None,
        "eos_token_id": [0, 4],
        "pad_token_id": 0,
        "tie_word_embeddings": False,
        "use_cache": True,
        **config.to_dict(),
    }


def read_config(folder: Path) -> ModelConfig:
    """The configuration of a QIG model's checkpoint folder. Raises CheckpointError where it is another one."""
    config = any_config(folder)
    if not isinstance(config, ModelConfig):
        raise CheckpointError(
            f"'{folder}' is a checkpoint of model_type '{jarvis_files.MODEL_TYPE}', expected '{MODEL_TYPE}'"
        )
    return config


def any_config(folder: Path) -> AnyConfig:
    """The model configuration of a checkpoint folder. Raises CheckpointError where it is no checkpoint of this project."""
    try:
        table = json.loads((folder / "config.json").read_text("utf-8"))
    except OSError:
        raise CheckpointError(f"'{folder}' is no checkpoint: it has no config.json") from None
    except ValueError as e:
        raise CheckpointError(f"'{folder}/config.json' is damaged: {e}") from None
    if isinstance(table, dict) and table.get("model_type") == jarvis_files.MODEL_TYPE:
        return jarvis_files.read_config(folder / jarvis_files.CONFIG)
    if not isinstance(table, dict) or table.get("model_type") != MODEL_TYPE:
        kind = table.get("model_type") if isinstance(table, dict) else None
        raise CheckpointError(f"'{folder}' is a checkpoint of model_type '{kind}', expected '{MODEL_TYPE}'")
    known = ModelConfig().to_dict()
    return ModelConfig.from_dict({k: v for k, v in table.items() if k in known}, f"'{folder}/config.json'")


def write(folder: Path, model: Model, tokenizer: Tokenizer, trainer: dict[str, Any] | None) -> None:
    """Writes `folder` whole or not at all. Raises CheckpointError, leaving what was there, when the disk is full or
    refuses.
    """
    import torch

    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        weights = {k: v.detach().to("cpu", torch.float32).contiguous() for k, v in model.state_dict().items()}
        if isinstance(model.config, JarvisConfig):
            _write_jarvis(partial, model.config, weights)
        else:
            _write_qig(partial, model.config, weights)
        save_tokenizer(tokenizer, partial, model.config.context_length)
        if trainer is not None:
            torch.save(trainer, partial / "trainer.pt")
        for file in partial.iterdir():
            with open(file, "rb") as f:
                os.fsync(f.fileno())
        if folder.exists():
            old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
            folder.rename(old)
            partial.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        else:
            partial.rename(folder)
    except (OSError, RuntimeError) as e:
        raise CheckpointError(f"cannot write the checkpoint '{folder}': {e}") from None
    except Exception as e:
        if type(e).__name__ == "SafetensorError":
            raise CheckpointError(f"cannot write the checkpoint '{folder}': {e}") from None
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_qig(folder: Path, config: ModelConfig, weights: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    named = {f"kernel.{k}": v for k, v in weights.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config_json(config), indent=2) + "\n", "utf-8")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n", "utf-8")


def _write_jarvis(folder: Path, config: JarvisConfig, weights: dict[str, Tensor]) -> None:
    arrays = jarvis_files.from_torch_state(config, {k: v.numpy() for k, v in weights.items()})
    jarvis_files.write_npz(folder / jarvis_files.NPZ, config, arrays)
    (folder / jarvis_files.CONFIG).write_text(json.dumps(jarvis_files.config_json(config), indent=2) + "\n", "utf-8")


def _whole(folder: Path) -> bool:
    return any(all((folder / name).is_file() for name in needed) for needed in (NEEDED, NEEDED_JARVIS))


def steps(directory: Path) -> list[Path]:
    """Checkpoint folders of a run, oldest first."""
    found = [p for p in directory.glob("step-*") if p.name[5:].isdigit() and _whole(p)]
    return sorted(found, key=lambda p: int(p.name[5:]))


def find(path: Path) -> Path:
    """The checkpoint folder at `path`: itself, or the newest of a run's directory. Raises CheckpointError where there
    is none.
    """
    if _whole(path):
        return path
    if not path.is_dir():
        raise CheckpointError(
            f"no checkpoint at '{path}': " + ("it is a file" if path.exists() else "it does not exist")
        )
    found = steps(path)
    if not found:
        missing = [n for n in NEEDED if not (path / n).is_file()]
        raise CheckpointError(f"no checkpoint at '{path}': neither step-* folders nor {', '.join(missing)}")
    return found[-1]


def load_model(path: Path) -> Kernel:
    """The QIG model of a checkpoint on the CPU, in eval mode. Raises CheckpointError as load_any does, and for another kind of model."""
    from qig_edge.model.kernel import Kernel

    model = load_any(path, read_config(find(path)))
    assert isinstance(model, Kernel)
    return model


def load_any(path: Path, expected: AnyConfig | None = None) -> Model:
    """The model of a checkpoint on the CPU, in eval mode.

    Raises CheckpointError where weights are missing, damaged, or of another shape than `expected`.
    """
    from qig_edge.model.build import new_model

    folder = find(path)
    config = any_config(folder)
    if expected is not None and config != expected:
        ours, theirs = expected.to_dict(), config.to_dict()
        differ = [f"{k} {theirs.get(k)} (wanted {ours[k]})" for k in ours if ours[k] != theirs.get(k)]
        raise CheckpointError(f"'{folder}' is of another model: {', '.join(differ)}")
    model = new_model(config)
    weights = _weights(folder)
    try:
        model.load_state_dict(weights)
    except RuntimeError as e:
        told = [line.strip().rstrip(".") for line in str(e).splitlines()]
        raise CheckpointError(
            f"'{folder}/model.safetensors' does not hold the weights that its config.json describes: {told[1] if len(told) > 1 else told[0]}"
        ) from None
    return model.eval()


def _weights(folder: Path) -> dict[str, Tensor]:
    """Weights of a checkpoint by the model's names. Raises CheckpointError where they cannot be read."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not (folder / "model.safetensors").is_file():
        network = jarvis_files.read_network(folder / jarvis_files.NPZ)
        state = jarvis_files.torch_state(network.config, network.weights)
        return {name: torch.from_numpy(w).contiguous() for name, w in state.items()}
    try:
        return {k.removeprefix("kernel."): v for k, v in load_file(folder / "model.safetensors").items()}
    except (SafetensorError, RuntimeError, OSError) as e:
        raise CheckpointError(
            f"'{folder}/model.safetensors' is damaged, it does not hold this model's weights: {str(e).splitlines()[0]}"
        ) from None


def start_from(model: Model, path: Path) -> tuple[list[str], list[str]]:
    """Gives `model` the weights of another run's checkpoint, where it has them by name.

    Returns the names that it has not, which stay as they are, and those that the model has no use for. Raises
    CheckpointError where a weight is of another shape, and where nothing fits.
    """
    folder = find(path)
    any_config(folder)
    weights = _weights(folder)
    ours = model.state_dict()
    shared = [name for name in ours if name in weights]
    differ = [
        f"{n} {list(weights[n].shape)} (wanted {list(ours[n].shape)})"
        for n in shared
        if weights[n].shape != ours[n].shape
    ]
    if differ:
        more = f" and {len(differ) - 3} more" if len(differ) > 3 else ""
        raise CheckpointError(f"'{folder}' has weights of another shape: {', '.join(differ[:3])}{more}")
    if not shared:
        raise CheckpointError(f"'{folder}' shares no weight with this model")
    model.load_state_dict({name: weights[name] for name in shared}, strict=False)
    return [n for n in ours if n not in weights], [n for n in weights if n not in ours]


def load_trainer(folder: Path) -> dict[str, Any]:
    """What --resume needs. Raises CheckpointError where it is missing or damaged."""
    import torch

    file = folder / "trainer.pt"
    if not file.is_file():
        raise CheckpointError(f"'{folder}' cannot be resumed: it has no trainer.pt")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except QigError:
        raise
    except Exception as e:
        raise CheckpointError(f"'{file}' is damaged: {str(e).splitlines()[0]}") from None


__all__ = [
    "END_OF_TEXT",
    "END_OF_TURN",
    "any_config",
    "find",
    "load_any",
    "load_model",
    "load_trainer",
    "read_config",
    "start_from",
    "steps",
    "write",
]
