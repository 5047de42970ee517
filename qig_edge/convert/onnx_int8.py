"""A float32 graph with 8-bit weights and activations, by optimum's ORTQuantizer.

What is quantized are the products with a weight. Attention's products of states stay in float32, for distances between near states are what 8 bits
lose first; so do norms, temperatures, probes, modes and role directions, as in every file of this project.
The table of tokens becomes 8 bits a row; where it also is the head's matrix, both read the same bytes.
"""

from __future__ import annotations

import contextlib
import logging
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    import onnx

# instruction sets that optimum has configurations for
SETS = ("arm64", "avx2", "avx512_vnni")


def host_set() -> str:
    """The one of SETS that suits this machine."""
    from qig_edge.devices.host import cpu_info

    if platform.machine().lower() in ("aarch64", "arm64"):
        return "arm64"
    return "avx512_vnni" if "avx512_vnni" in cpu_info()["features"] else "avx2"


def check_set(name: str) -> None:
    """Raises ConfigError for a name that is not "auto" or one of SETS."""
    if name not in ("auto", *SETS):
        raise ConfigError(f"--int8-for {name}: must be auto, {', '.join(SETS)}")


def quantize(source: Path, target: Path, kind: str, work: Path) -> None:
    """Writes `target`, the 8-bit form of the graph `source`, for one of SETS; `work` is an empty folder for what comes between.

    Raises MissingExtra without optimum, OSError where the disk refuses.
    """
    try:
        import onnx
        from optimum.onnxruntime import ORTQuantizer
        from optimum.onnxruntime.configuration import AutoQuantizationConfig
        from transformers import PretrainedConfig
    except ImportError:
        raise MissingExtra("qig-edge convert --int8", "onnx") from None
    plain = onnx.load(source, load_external_data=False)
    products = _products(plain)
    large = any(source.parent.glob(source.name + ".data"))
    with _quiet():
        config = getattr(AutoQuantizationConfig, kind)(
            is_static=False, per_channel=True, operators_to_quantize=["MatMul"], nodes_to_quantize=products
        )
        quantizer = ORTQuantizer(source, config=PretrainedConfig())
        quantizer.quantize(config, save_dir=work, file_suffix=None, use_external_data_format=large)
    model = onnx.load(work / source.name)
    _shrink_table(model)
    _describe(model, kind)
    onnx.save(model, target, save_as_external_data=large, location=target.name + ".data")


def _products(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that multiply with a weight."""
    weights = {i.name for i in model.graph.initializer if i.name.endswith(".weight") or i.name == "table_t"}
    products = [n for n in model.graph.node if n.op_type == "MatMul" and n.input[1] in weights]
    return [n.name for n in products if not n.input[1].startswith("probes.")]


def _shrink_table(model: onnx.ModelProto) -> None:
    """Replaces the float table that tokens are looked up in by 8 bits a row: row = (q - zero) scale."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    held = {i.name: i for i in graph.initializer}
    name = "table_t" if "table_t" in held else "table"
    (lookup,) = (n for n in graph.node if n.op_type == "Gather" and n.input[0] == name)
    table = numpy_helper.to_array(held[name])
    axis = 1 if name == "table_t" else 0  # of tokens
    parts = [f"{name}_quantized", f"{name}_scale", f"{name}_zero_point"]
    if parts[0] not in held:  # it is not the head's matrix too, which is quantized by columns already
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
