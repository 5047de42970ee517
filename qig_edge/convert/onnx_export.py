"""A checkpoint's graph as model.onnx, by torch.onnx.export: float32, batch and lengths free, described for the runtime (metadata_props)."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qig_edge.convert.onnx_graph import Graph
from qig_edge.errors import CheckpointError
from qig_edge.runtime.onnx_names import BATCH, PAST, TOKENS, TOTAL

if TYPE_CHECKING:
    from qig_edge.model.kernel import Kernel

OPSET = 18
MOST_BYTES = 2**31 - 2**20  # of a file that holds everything; more goes into model.onnx.data beside it
KINDS = {"float32": torch.float32, "int64": torch.int64, "bool": torch.bool}


def check_weights(model: Kernel) -> None:
    """Raises CheckpointError for weights that are no finite numbers."""
    for name, value in model.state_dict().items():
        if not bool(value.isfinite().all()):
            raise CheckpointError(f"{name} holds values that are not finite: the training went wrong before this checkpoint")


def export(model: Kernel, path: Path, metadata: dict[str, str]) -> None:
    """Writes `path`, the graph of a model in eval mode, with `metadata` and the bytes of its weights in its description.

    Raises OSError where the disk refuses.
    """
    graph = Graph(model).eval()
    names = graph.names
    sizes: dict[Any, int] = {BATCH: 2, PAST: 3}  # of an example; none is 0 or 1, which the exporter would take for fixed
    tokens = 5
    past = [
        torch.zeros([d if isinstance(d, int) else sizes[d] for d in dims], dtype=KINDS[kind])
        for dims, kind in names.past.values()
    ]
    shapes = (
        {0: BATCH, 1: TOKENS},
        {0: BATCH, 1: TOTAL},
        tuple({i: d for i, d in enumerate(dims) if isinstance(d, str)} for dims, _ in names.past.values()),
    )
    ids = torch.zeros(sizes[BATCH], tokens, dtype=torch.long)
    mask = torch.ones(sizes[BATCH], sizes[PAST] + tokens, dtype=torch.long)
    with torch.no_grad(), _quiet():
        program = torch.onnx.export(
            graph,
            (ids, mask, *past),
            dynamo=True,
            input_names=["input_ids", "attention_mask", *names.past],
            output_names=names.outputs,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    weights = sum(v.const_value.nbytes for v in program.model.graph.initializers.values() if v.const_value is not None)
    _strip(program.model)
    program.model.metadata_props.update({**metadata, "qig.onnx.weight_bytes": str(weights)})
    program.save(str(path), external_data=weights > MOST_BYTES)


def _strip(model: Any) -> None:
    """Takes out what the exporter notes of each node's place in the source: a third of a small file, and paths of this machine."""
    model.metadata_props.clear()
    for graph in (model.graph, *model.functions.values()):
        graph.metadata_props.clear()
        for node in graph.all_nodes():
            node.metadata_props.clear()
            node.doc_string = None
            for value in node.outputs:
                value.metadata_props.clear()
        for value in (*graph.inputs, *(graph.initializers.values() if hasattr(graph, "initializers") else ())):
            value.metadata_props.clear()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on libraries that are not there."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(before)
