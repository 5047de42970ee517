"""qig-edge info: what a model file or a preset holds."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qig_edge.cli import options as opt

if TYPE_CHECKING:
    from qig_edge.runtime.native import NativeModel
    from qig_edge.runtime.opening import OpenedModel

# bytes of 32 weights
BLOCK_BYTES = {"F16": 64, "Q8_0": 34, "Q4_0": 18}


def command(
    model: opt.Model = None,
    preset: Annotated[str | None, typer.Option(help="A preset instead of a file: its parameters by part.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor of the file.")] = False,
    settings: opt.Set = None,
    isa: opt.Isa = "auto",
) -> None:
    """Show what a model file holds: shape, types, size, bits a weight, kernels, the settings in force. Or, with --preset, what a preset's
    model would."""
    from qig_edge.errors import ConfigError

    if preset is not None:
        if model is not None or tensors or settings:
            raise ConfigError("--preset describes a preset: it goes without MODEL, --tensors and --set")
        shown = preset_facts(preset)
    else:
        from qig_edge.runtime.assets import model_path
        from qig_edge.runtime.native import NativeModel
        from qig_edge.runtime.opening import open_model

        with open_model(model_path(model), isa, opt.settings(settings)) as opened:
            if isinstance(opened, NativeModel):
                shown = file_facts(opened, tensors)
            elif tensors:
                raise ConfigError(f"--tensors lists those of a GGUF file that libqig runs: '{opened.path}' is none")
            else:
                shown = other_facts(opened)
    if as_json:
        print(json.dumps(shown))
    else:
        _print_table(shown)


def file_facts(model: NativeModel, tensors: bool) -> dict[str, Any]:
    """Facts about an opened file; sizes in bytes."""
    import dataclasses

    from qig_edge.runtime.native import isa_list

    listed = model.tensors()
    types: dict[str, int] = {}
    for t in listed:
        types[t.type] = types.get(t.type, 0) + t.bytes
    facts = {
        "file": str(model.path),
        **dataclasses.asdict(model.info),
        "bits_per_weight": 8 * sum(t.bytes for t in listed) / model.info.n_params,
        "tensor_bytes_by_type": types,
        "tensor_count": len(listed),
        "chat_format": model.eot is not None,
        "isa_available": isa_list(),
        "temperature_by_block": temperatures(model),
        "settings": {key: [float(f"{v:.9g}") for v in values] for key, values in model.settings().items()},
    }
    if tensors:
        facts["tensors"] = [dataclasses.asdict(t) for t in listed]
    return facts


def other_facts(model: OpenedModel) -> dict[str, Any]:
    """Facts about a model that another engine than libqig opened; sizes in bytes."""
    import dataclasses

    from qig_edge.runtime.onnx_model import OnnxModel

    facts = {
        "folder" if isinstance(model, OnnxModel) else "file": str(model.path),
        **dataclasses.asdict(model.info),
        "bits_per_weight": 8 * model.info.weight_bytes / model.info.n_params,
        "chat_format": model.eot is not None,
    }
    if isinstance(model, OnnxModel):
        facts |= {"inputs": ["input_ids", "attention_mask", *model.names.past], "outputs": model.names.outputs}
    return facts


def temperatures(model: NativeModel) -> list[float]:
    """Each block's temperature tau of attention, the mean over its heads; docs/formats.md defines it."""
    import re

    import numpy as np

    found = [t for t in model.tensors() if re.fullmatch(r"blk\.\d+\.attn_temp\.weight", t.name)]
    with open(model.path, "rb") as file:
        values = [np.fromfile(file, np.float32, t.bytes // 4, offset=t.offset - file.tell()) for t in found]
    return [float(f"{v.mean():.4g}") for v in values]


def preset_facts(name: str) -> dict[str, Any]:
    """Parameters of a preset's model by part, the bytes of its weights at each type (vectors stay F32), and its memory at inference."""
    from qig_edge.config import load_preset, model_config
    from qig_edge.model.inference_memory import fp16_bytes, stored

    table = load_preset(name)["model"]
    config = model_config(table, f"preset '{name}'")
    matrices, vectors = stored(config)
    return {
        "preset": name,
        "architecture": table.get("architecture", "qig"),
        **config.to_dict(),
        "parameters": config.param_counts(),
        "weight_bytes": {kind: matrices * size // 32 + 4 * vectors for kind, size in BLOCK_BYTES.items()},
        "fp16_inference_bytes": fp16_bytes(config),
    }


def _print_table(facts: dict[str, Any]) -> None:
    """Two aligned columns; nested tables indented; tensors one a line."""
    tensors = facts.pop("tensors", [])
    width = max(len(k) for k in facts) + 2
    for key, value in facts.items():
        if isinstance(value, dict):
            print(key)
            for inner, count in value.items():
                if isinstance(count, list):
                    print(f"  {inner:<{width}}{', '.join(f'{v:.4g}' for v in count)}")
                    continue
                share = f"{count / value['total']:>9.1%}" if "total" in value else ""
                size = f"{count / 1e6:>12,.1f} MB" if key.endswith("_bytes") else ""
                print(f"  {inner:<{width - 2}}{count:>15,}{size}{share}")
        else:
            print(f"{key:<{width}}{_shown(key, value)}")
    if tensors:
        print("tensors")
        longest = max(len(t["name"]) for t in tensors)
        for t in tensors:
            shape = " x ".join(str(n) for n in t["shape"])
            print(f"  {t['name']:<{longest}}  {t['type']:<5} {shape:<16} {t['bytes']:>12,} bytes at {t['offset']:,}")


def _shown(key: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool) and key.endswith(("_bytes", "n_params")):
        return f"{value:,}"
    return str(value)
