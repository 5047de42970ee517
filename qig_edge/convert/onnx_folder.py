"""What stands in an ONNX model's folder: the graph, config.json, the tokenizer's files, and a card that says how to run it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.config import ModelConfig
from qig_edge.convert import onnx_export, onnx_int8
from qig_edge.convert.gguf_writer import vocabulary
from qig_edge.runtime.onnx_model import GRAPH
from qig_edge.runtime.onnx_names import names_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from qig_edge.convert.keys import Origin
    from qig_edge.convert.recipe import OnnxRecipe
    from qig_edge.model.kernel import Kernel

FILES = (
    GRAPH,
    f"{GRAPH}.data",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "README.md",
)


def write(
    folder: Path,
    model: Kernel,
    tokenizer: Tokenizer,
    name: str,
    int8: OnnxRecipe | None,
    origin: Origin | None = None,
    calibration: Sequence[Sequence[int]] | None = None,
) -> None:
    """Fills an empty folder. int8: None for float32; origin: of the checkpoint; calibration as onnx_int8.quantize.

    Raises CheckpointError for weights that are not finite or a tokenizer that does not fit, MissingExtra without optimum where it is needed,
    OSError where the disk refuses.
    """
    from qig_edge.train import checkpoint
    from qig_edge.train.tokenizer import save_tokenizer

    config = model.config
    onnx_export.check_weights(model)
    vocabulary(tokenizer, config.vocab_size)
    with tempfile.TemporaryDirectory(dir=folder, prefix="float32-") as room:
        plain = Path(room) / GRAPH if int8 else folder / GRAPH
        onnx_export.export(model, plain, _metadata(config, name, origin))
        if int8:
            work = Path(room) / "work"
            work.mkdir()
            onnx_int8.quantize(plain, folder / GRAPH, int8, config, work, calibration)
    (folder / "config.json").write_text(json.dumps(checkpoint.config_json(config), indent=2) + "\n", "utf-8")
    (folder / "generation_config.json").write_text(json.dumps(checkpoint.GENERATION, indent=2) + "\n", "utf-8")
    save_tokenizer(tokenizer, folder, config.context_length)
    (folder / "README.md").write_text(card(config, name, int8, origin.licence if origin else None), "utf-8")


def _metadata(config: ModelConfig, name: str, origin: Origin | None) -> dict[str, str]:
    """The graph's description: strings by their GGUF keys."""
    from qig_edge import __version__
    from qig_edge.train.tokenizer import CHAT_TEMPLATE

    described = {"general.name": name, "qig.onnx.type": "F32", "tokenizer.chat_template": CHAT_TEMPLATE}
    if config.regime:
        described["qig.regime.on_breakdown"] = config.on_breakdown
    if config.exit_blocks:
        described["qig.exit.rule"] = config.exit_rule
    if origin is not None:
        described |= {
            "general.type": "model",
            "general.quantized_by": f"qig-edge {__version__}",
            "general.base_model.0.name": name,
            "general.base_model.0.version": origin.version,
            "qig.checkpoint.sha256": origin.sha256,
            "qig.recipe": origin.recipe,
        }
        if origin.licence is not None:
            described["general.license"] = origin.licence
    return described


def card(config: ModelConfig, name: str, int8: OnnxRecipe | None, licence: str | None) -> str:
    """README.md of the folder."""
    kind = "A QIG-Kernel" if config.attention == "qfi" else "The dense twin of a QIG-Kernel"
    stored = int8.what if int8 else "float32"
    names = names_of(config)
    rows = [
        f"| `{past}` | {' x '.join(map(str, dims))} | {number} | `{names.present(past)}` |"
        for past, (dims, number) in names.past.items()
    ]
    return "\n".join(
        [
            *(["---", f"license: {json.dumps(licence)}", "---", ""] if licence else []),
            f"# {name}, ONNX",
            "",
            f"{kind}, {config.param_counts()['total']:,} parameters, {stored}. Written by `qig-edge convert --onnx`.",
            "",
            "    pip install onnxruntime tokenizers qig-edge",
            "    qig-edge chat FOLDER",
            "",
            "In a program of your own: `onnxruntime.InferenceSession('model.onnx')`, then for each call",
            "",
            "- `input_ids` [batch, sequence], int64: the new tokens;",
            "- `attention_mask` [batch, past + sequence], int64: 1 for every token since the beginning, 0 for padding, which stands on the left;",
            "- what the last call gave back, zeros before the first (of length 0 where a dimension is called past):",
            "",
            "| input | shape | type | comes from the output |",
            "|---|---|---|---|",
            *rows,
            "",
            "Outputs besides: `logits` [batch, sequence, vocabulary] and `telemetry.*` [batch, sequence], the model's own state a token:",
            "phi, surprise, confidence, agency, curvature, kappa, coherence_drift, regime (0 linear, 1 geometric, 2 breakdown), blocks_run.",
            "",
        ]
    )
