"""A float32 graph with 8-bit weights and activations, by optimum's ORTQuantizer.

What is quantized are the products with a weight, those that the recipe names. Attention's products of states stay in float32, for distances between
near states are what 8 bits lose first; so do norms, temperatures, probes, modes and role directions, as in every file of this project.
The table of tokens becomes 8 bits a row; where it also is the head's matrix, both read the same bytes.

Activations are rounded by the range of each call (dynamic), or (static) by the range that calibration text has shown, which saves looking for it and
cuts off what goes beyond.
"""

from __future__ import annotations

import contextlib
import logging
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.config import ModelConfig
from qig_edge.convert.recipe import OnnxRecipe
from qig_edge.errors import MissingExtra
from qig_edge.runtime.onnx_names import BATCH, PAST, names_of

if TYPE_CHECKING:
    import onnx

# of the graph (onnx_graph.py) whose names there are not those of Kernel.state_dict()
RENAMED = (
    ("table_t", "embedding.table"),
    ("proj.", "embedding.proj."),
    ("head_down.", "head.down."),
    ("head_out.", "head.out."),
    ("integrator.", "integrator.block."),
)


def host_recipe() -> str:
    """Name of the recipe that suits this machine."""
    from qig_edge.devices.host import cpu_info

    if platform.machine().lower() in ("aarch64", "arm64"):
        return "int8-arm64"
    return "int8-x86-vnni" if "avx512_vnni" in cpu_info()["features"] else "int8-x86"


def quantize(
    source: Path, target: Path, recipe: OnnxRecipe, config: ModelConfig, work: Path, calibration: Sequence[Sequence[int]] | None = None
) -> None:
    """Writes `target`, the 8-bit form of the graph `source` of a model; `work` is an empty folder for what comes between.

    calibration: windows of token ids for static ranges of activations; None: dynamic ones. Raises MissingExtra without optimum, OSError where the
    disk refuses.
    """
    try:
        import onnx
        from optimum.onnxruntime import ORTQuantizer
        from optimum.onnxruntime.configuration import AutoQuantizationConfig
        from transformers import PretrainedConfig
    except ImportError:
        raise MissingExtra("qig-edge convert --int8", "onnx") from None
    plain = onnx.load(source, load_external_data=False)
    chosen = recipe.int8(config)
    products = _products(plain, chosen)
    large = any(source.parent.glob(source.name + ".data"))
    with _quiet():
        settings = getattr(AutoQuantizationConfig, recipe.instructions)(
            is_static=calibration is not None, per_channel=True, operators_to_quantize=["MatMul"], nodes_to_quantize=products
        )
        quantizer = ORTQuantizer(source, config=PretrainedConfig())
        ranges = None if calibration is None else _ranges(quantizer, config, calibration, work, large)
        quantizer.quantize(
            settings, save_dir=work, file_suffix=None, calibration_tensors_range=ranges, use_external_data_format=large
        )
    model = onnx.load(work / source.name)
    if "embedding.table" in chosen:
        _shrink_table(model)
    _describe(model, f"{recipe.instructions}{'' if calibration is None else ' static'}")
    onnx.save(model, target, save_as_external_data=large, location=target.name + ".data")


def _ranges(quantizer: Any, config: ModelConfig, windows: Sequence[Sequence[int]], work: Path, large: bool) -> Any:
    """Smallest and largest value of every product's input and output on the windows, each seen from its beginning."""
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod
    from optimum.onnxruntime.configuration import CalibrationConfig

    sizes = {PAST: 0}
    zeros = {  # of one text: the reader puts the batch's dimension around everything
        name: np.zeros([d if isinstance(d, int) else sizes[d] for d in dims if d != BATCH], kind)
        for name, (dims, kind) in names_of(config).past.items()
    }
    texts = [{"input_ids": np.array(w, np.int64), "attention_mask": np.ones(len(w), np.int64), **zeros} for w in windows]
    return quantizer.fit(
        texts,
        CalibrationConfig("calibration text", "", "", len(texts), CalibrationMethod.MinMax),
        onnx_augmented_model_name=(work / "ranges.onnx").as_posix(),
        operators_to_quantize=["MatMul"],
        use_external_data_format=large,
    )


def _products(model: onnx.ModelProto, chosen: set[str]) -> list[str]:
    """Names of the nodes that multiply with a chosen weight."""
    weights = {i.name for i in model.graph.initializer if _known(i.name) in chosen}
    return [n.name for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights]


def _known(name: str) -> str:
    """What Kernel.state_dict() calls a weight of the graph."""
    for here, there in RENAMED:
        if name.startswith(here):
            return there + name.removeprefix(here)
    return name.replace(".shallow.", ".router.shallow.")


def _shrink_table(model: onnx.ModelProto) -> None:
    """Replaces the float table that tokens are looked up in by 8 bits a row: row = (q - zero) scale."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    held = {i.name: i for i in graph.initializer}
    name = "table_t" if {"table_t", "table_t_quantized"} & set(held) else "table"
    read_from = (name, f"{name}_DequantizeLinear_Output")  # with static ranges the whole table would be made float for every token
    (lookup,) = (n for n in graph.node if n.op_type == "Gather" and n.input[0] in read_from)
    axis = 1 if name == "table_t" else 0  # of tokens
    parts = [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"]
    if parts[0] not in held:  # it is not the head's matrix too, which is quantized by columns already
        table = numpy_helper.to_array(held[name])
        scale = np.abs(table).max(1, keepdims=True).astype(np.float32) / 127
        q = np.rint(table / np.where(scale == 0, 1, scale)).astype(np.int8)
        for part, values in zip(parts, (q, scale, np.zeros(scale.shape, np.int8)), strict=True):
            graph.initializer.append(numpy_helper.from_array(values, part))
    ids, rows = lookup.input[1], lookup.output[0]
    nodes = []
    for part, at in zip(parts, (axis, 0, 0), strict=True):
        nodes.append(helper.make_node("Gather", [part, ids], [f"{rows}_{part}"], f"look_up_{part}", axis=at))
    looked_up, factor, zero = (f"{rows}_{part}" for part in parts)
    for part in (looked_up, zero):
        nodes.append(helper.make_node("Cast", [part], [f"{part}_float"], f"cast_{part}", to=TensorProto.FLOAT))
    nodes.append(helper.make_node("Sub", [f"{looked_up}_float", f"{zero}_float"], [f"{rows}_centred"], "centre_rows"))
    nodes.append(helper.make_node("Mul", [f"{rows}_centred", factor], [rows], "scale_rows"))
    at = list(graph.node).index(lookup)
    graph.node.remove(lookup)
    for node in reversed(nodes):
        graph.node.insert(at, node)
    if name in held:
        graph.initializer.remove(held[name])


def _describe(model: onnx.ModelProto, kind: str) -> None:
    """Brings the description that the runtime reads up to date."""
    from onnx import helper, numpy_helper

    props = {p.key: p.value for p in model.metadata_props}
    weights = sum(numpy_helper.to_array(i).nbytes for i in model.graph.initializer)
    helper.set_model_props(model, {**props, "qig.onnx.type": f"INT8 {kind}", "qig.onnx.weight_bytes": str(weights)})


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantizer's remarks, which tell a user nothing that could be changed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
