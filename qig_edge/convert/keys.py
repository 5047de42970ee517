"""The keys of docs/formats.md that follow from a model's configuration, written alike for trained and for random weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gguf import GGUFWriter

    from qig_edge.config import ModelConfig
    from qig_edge.thresholds import Thresholds

ALIGNMENT = 32


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a file comes from. licence: as the user or the checkpoint's card names it (None: nobody did, and none is invented); version: the
    checkpoint's folder; sha256: of its weights, 64 hexadecimal digits; recipe: by its name; parameters: of qig_edge.convert.ollama; base: name of
    the checkpoint's model where the file's is another one (a student's)."""

    licence: str | None
    version: str
    sha256: str
    recipe: str
    parameters: Mapping[str, float | bool] = dataclasses.field(default_factory=dict)
    base: str | None = None


def add_keys(
    writer: GGUFWriter,
    config: ModelConfig,
    thresholds: Thresholds,
    file_type: str,
    name: str,
    origin: Origin | None = None,
) -> None:
    """general.* keys, those of the model's architecture, and the chat format; file_type: a name of gguf.LlamaFileType."""
    import gguf

    from qig_edge.train.tokenizer import CHAT_TEMPLATE
    from qig_edge.train.tokenizer import CONTROL as TOKENS

    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_custom_alignment(ALIGNMENT)
    if origin is not None:
        writer.add_size_label(f"{config.param_counts()['total'] / 1e6:.3g}M")
        add_origin(writer, name, origin)
    if config.attention == "qfi":
        _add_qig(writer, config, thresholds)
    else:
        _add_llama(writer, config)
    for role, token in zip(("system", "user", "assistant", "end"), TOKENS[1:], strict=True):
        writer.add_string(f"qig.chat.{role}", token)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_origin(writer: GGUFWriter, name: str, origin: Origin) -> None:
    import gguf

    from qig_edge import __version__

    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_quantized_by(f"qig-edge {__version__}")
    if origin.licence is not None:
        writer.add_license(origin.licence)
    writer.add_base_model_count(1)
    writer.add_base_model_name(0, origin.base or name)
    writer.add_base_model_version(0, origin.version)
    writer.add_string("qig.checkpoint.sha256", origin.sha256)
    writer.add_string("qig.recipe", origin.recipe)
    for key, value in origin.parameters.items():
        if isinstance(value, bool):
            writer.add_bool(f"qig.parameters.{key}", value)
        else:
            writer.add_float32(f"qig.parameters.{key}", value)


def _add_llama(writer: GGUFWriter, config: ModelConfig) -> None:
    """Keys of a dense twin, as llama.cpp reads them; the writer puts its architecture's name before them."""
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.context_length)
    writer.add_embedding_length(config.d_model)
    writer.add_block_count(config.n_layers)
    writer.add_feed_forward_length(config.hidden_dim)
    writer.add_head_count(config.n_heads)
    writer.add_head_count_kv(config.n_kv_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_base)


def _add_qig(writer: GGUFWriter, config: ModelConfig, thresholds: Thresholds) -> None:
    integers = {
        "context_length": config.context_length,
        "embedding_length": config.d_model,
        "block_count": config.n_layers,
        "feed_forward_length": config.hidden_dim,
        "attention.head_count": config.n_heads,
        "attention.head_count_kv": config.n_kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "basin_length": config.basin_dim,
        "head_rank": config.head_rank,
    }
    floats = {
        "attention.layer_norm_rms_epsilon": config.norm_eps,
        "rope.freq_base": config.rope_base,
        "coupling.beta": thresholds.coupling_beta,
        "coupling.ref": config.coupling_ref,
        "coupling.min": config.coupling_min,
        "coupling.max": config.coupling_max,
        "coupling.kappa_0": config.kappa_0,
        "gate.threshold": config.gate_threshold,
        "gate.margin": config.gate_margin,
    }
    for key, number in integers.items():
        writer.add_uint32(f"qig.{key}", number)
    for key, value in floats.items():
        writer.add_float32(f"qig.{key}", value)
    writer.add_string("qig.attention.state", config.state)
    writer.add_string("qig.attention.metric", config.metric)
    if config.state == "diagonal":
        writer.add_bool("qig.attention.state_phases", config.state_phases)
    if config.decay:
        writer.add_array("qig.attention.decay_slopes", config.decay_slopes())
    if config.gate_learnt:
        writer.add_bool("qig.gate.learnt", True)
    if config.code_rate:
        writer.add_float32("qig.code_rate.max_entropy", config.code_rate)
    _add_depth(writer, config, thresholds)
    if config.symmetry_rank:
        writer.add_uint32("qig.symmetry.rank", config.symmetry_rank)
    if thresholds.confidence is not None:
        writer.add_float32("qig.confidence.scale", thresholds.confidence[0])
        writer.add_float32("qig.confidence.bias", thresholds.confidence[1])
    if config.draft_lag:
        writer.add_uint32("qig.draft.lag", config.draft_lag)
        writer.add_uint32("qig.draft.feed_forward_length", config.draft_dim)
        writer.add_uint32("qig.draft.vocab", config.draft_vocab or config.vocab_size)


def _add_depth(writer: GGUFWriter, config: ModelConfig, thresholds: Thresholds) -> None:
    """Keys of routing, regimes, exits, decoherence and recursion, of those that the model has."""
    import gguf

    if config.adaptive:
        writer.add_uint32("qig.mandatory_blocks", config.mandatory_blocks)
    if config.shallow_dim:
        writer.add_uint32("qig.shallow_length", config.shallow_dim)
    if config.regime:
        writer.add_float32("qig.regime.low", thresholds.regime_low)
        writer.add_float32("qig.regime.high", thresholds.regime_high)
        writer.add_float32("qig.regime.smoothing", config.regime_smoothing)
        writer.add_float32("qig.regime.hysteresis", config.regime_hysteresis)
        writer.add_float32("qig.regime.curvature", config.regime_curvature)
        writer.add_string("qig.regime.on_breakdown", config.on_breakdown)
        factors = [
            float(config.regime_linear_coupling),
            float(config.regime_geometric_coupling),
            float(config.regime_breakdown_coupling),
        ]
        if factors != [1.0, 1.0, 1.0]:
            writer.add_array("qig.regime.coupling", factors)
    if config.exit_blocks:
        # gguf writes Python integers as i32, which the contract's u32 is not
        kind = gguf.GGUFValueType
        writer.add_key_value("qig.exit.blocks", config.exit_blocks, kind.ARRAY, sub_type=kind.UINT32)
        writer.add_array("qig.exit.thresholds", [float(t) for t in thresholds.exits])
        writer.add_string("qig.exit.rule", config.exit_rule)
    if thresholds.collapse is not None:
        writer.add_float32("qig.decoherence.threshold", thresholds.collapse)
    if config.recursion_max_loops:
        writer.add_uint32("qig.recursion.min_loops", config.recursion_min_loops)
        writer.add_uint32("qig.recursion.max_loops", config.recursion_max_loops)
        writer.add_float32("qig.recursion.min_phi", config.recursion_min_phi)
