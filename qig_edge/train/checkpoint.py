"""Checkpoints: Hugging Face folders, written under another name and renamed, so that a folder called step-N is always
whole.

DIR/step-00001220/  config.json  model.safetensors  tokenizer.json  tokenizer_config.json  generation_config.json
trainer.pt (what --resume needs)
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.config import ModelConfig
from qig_edge.errors import CheckpointError, QigError
from qig_edge.train.tokenizer import END_OF_TEXT, END_OF_TURN, save_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from qig_edge.model.kernel import Kernel

MODEL_TYPE = "qig"
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")
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
    """The model configuration of a checkpoint folder. Raises CheckpointError where it is no checkpoint of this project."""
    try:
        table = json.loads((folder / "config.json").read_text("utf-8"))
    except OSError:
        raise CheckpointError(f"'{folder}' is no checkpoint: it has no config.json") from None
    except ValueError as e:
        raise CheckpointError(f"'{folder}/config.json' is damaged: {e}") from None
    if not isinstance(table, dict) or table.get("model_type") != MODEL_TYPE:
        kind = table.get("model_type") if isinstance(table, dict) else None
        raise CheckpointError(f"'{folder}' is a checkpoint of model_type '{kind}', expected '{MODEL_TYPE}'")
    known = ModelConfig().to_dict()
    return ModelConfig.from_dict({k: v for k, v in table.items() if k in known}, f"'{folder}/config.json'")


def write(folder: Path, model: Kernel, tokenizer: Tokenizer, trainer: dict[str, Any] | None) -> None:
    """Writes `folder` whole or not at all. Raises CheckpointError, leaving what was there, when the disk is full or
    refuses.
    """
    import torch
    from safetensors.torch import save_file

    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        weights = {
            f"kernel.{k}": v.detach().to("cpu", torch.float32).contiguous() for k, v in model.state_dict().items()
        }
        save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
        (partial / "config.json").write_text(json.dumps(config_json(model.config), indent=2) + "\n", "utf-8")
        (partial / "generation_config.json").write_text(json.dumps(GENERATION, indent=2) + "\n", "utf-8")
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


def steps(directory: Path) -> list[Path]:
    """Checkpoint folders of a run, oldest first."""
    found = [p for p in directory.glob("step-*") if p.name[5:].isdigit() and all((p / n).is_file() for n in NEEDED)]
    return sorted(found, key=lambda p: int(p.name[5:]))


def find(path: Path) -> Path:
    """The checkpoint folder at `path`: itself, or the newest of a run's directory. Raises CheckpointError where there
    is none.
    """
    if all((path / n).is_file() for n in NEEDED):
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


def load_model(path: Path, expected: ModelConfig | None = None) -> Kernel:
    """The model of a checkpoint on the CPU, in eval mode.

    Raises CheckpointError where weights are missing, damaged, or of another shape than `expected`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from qig_edge.model.kernel import Kernel

    folder = find(path)
    config = read_config(folder)
    if expected is not None and config != expected:
        ours, theirs = expected.to_dict(), config.to_dict()
        differ = [f"{k} {theirs[k]} (wanted {ours[k]})" for k in ours if ours[k] != theirs[k]]
        raise CheckpointError(f"'{folder}' is of another model: {', '.join(differ)}")
    model = Kernel(config)
    try:
        weights = load_file(folder / "model.safetensors")
        model.load_state_dict({k.removeprefix("kernel."): v for k, v in weights.items()})
    except (SafetensorError, RuntimeError, OSError) as e:
        raise CheckpointError(
            f"'{folder}/model.safetensors' does not hold this model's weights: {str(e).splitlines()[0]}"
        ) from None
    return model.eval()


def start_from(model: Kernel, path: Path) -> tuple[list[str], list[str]]:
    """Gives `model` the weights of another run's checkpoint, where it has them by name.

    Returns the names that it has not, which stay as they are, and those that the model has no use for. Raises
    CheckpointError where a weight is of another shape, and where nothing fits.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = find(path)
    read_config(folder)
    try:
        weights = {k.removeprefix("kernel."): v for k, v in load_file(folder / "model.safetensors").items()}
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"'{folder}/model.safetensors' is damaged: {str(e).splitlines()[0]}") from None
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
    "find",
    "load_model",
    "load_trainer",
    "read_config",
    "start_from",
    "steps",
    "write",
]
