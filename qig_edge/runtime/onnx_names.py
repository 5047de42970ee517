"""Names and shapes of an ONNX model's inputs and outputs, from its configuration alone: what the converter writes and the runtime feeds.

docs/formats.md, "ONNX", is the contract. B: batch, T: tokens of a call, P: tokens before them, V: vocabulary.
"""

from __future__ import annotations

import dataclasses

from qig_edge.config import ModelConfig

# kinds of numbers, by numpy's names
F32, I64, BOOL = "float32", "int64", "bool"
TELEMETRY = (
    "phi",
    "surprise",
    "confidence",
    "agency",
    "curvature",
    "kappa",
    "coherence_drift",
    "regime",
    "blocks_run",
)
BATCH, TOKENS, PAST, TOTAL = "batch", "sequence", "past", "total"


@dataclasses.dataclass(frozen=True)
class Names:
    """past: name -> (dimensions, kind) of each input that carries state, in order; a dimension is a number or one of BATCH, PAST. outputs: all
    of them, in order. A token can have skipped blocks from number skipping_from on: those have past_ran inputs.
    """

    past: dict[str, tuple[tuple[int | str, ...], str]]
    outputs: list[str]
    skipping_from: int

    def present(self, past: str) -> str:
        """The output that becomes an input."""
        return past.replace("past_key_values", "present").replace("past_", "present_")


def names_of(config: ModelConfig) -> Names:
    """The inputs after input_ids and attention_mask, and the outputs, of a model's graph."""
    layers = config.n_layers + config.recursion_max_loops
    first = layers
    if config.regime:
        first = min(first, config.mandatory_blocks)
    if config.exit_blocks:
        first = min(first, config.exit_blocks[0])
    if config.recursion_max_loops:
        first = min(first, config.n_layers + config.recursion_min_loops)
    past: dict[str, tuple[tuple[int | str, ...], str]] = {}
    for n in range(layers):
        past[f"past_key_values.{n}.key"] = ((BATCH, config.n_kv_heads, PAST, config.state_dim), F32)
        past[f"past_key_values.{n}.value"] = ((BATCH, config.n_kv_heads, PAST, config.head_dim), F32)
    for n in range(first, layers):
        past[f"past_ran.{n}"] = ((BATCH, PAST), BOOL)
    if config.regime:
        past["past_regime.mean"] = ((BATCH,), F32)
        past["past_regime.now"] = ((BATCH,), I64)
    past["past_telemetry.logits"] = ((BATCH, config.vocab_size), F32)
    past["past_telemetry.surprise"] = ((BATCH,), F32)
    past["past_telemetry.start"] = ((BATCH, config.d_model), F32)
    names = Names(past, [], first)
    outputs = ["logits", *map(names.present, past), *(f"telemetry.{name}" for name in TELEMETRY)]
    return dataclasses.replace(names, outputs=outputs)
