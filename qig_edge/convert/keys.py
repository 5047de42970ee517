"""The keys of docs/formats.md that follow from a model's configuration, written alike for trained and for random weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gguf import GGUFWriter

    from qig_edge.config import ModelConfig

ALIGNMENT = 32


def add_model_keys(writer: GGUFWriter, config: ModelConfig, file_type: str, name: str) -> None:
    """general.* and qig.* keys and the chat format; file_type: a name of gguf.LlamaFileType."""
    import gguf

    from qig_edge.train.tokenizer import CHAT_TEMPLATE
    from qig_edge.train.tokenizer import CONTROL as TOKENS

    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType[file_type])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_custom_alignment(ALIGNMENT)
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
        "coupling.beta": config.coupling_beta,
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
    for role, token in zip(("system", "user", "assistant", "end"), TOKENS[1:], strict=True):
        writer.add_string(f"qig.chat.{role}", token)
    writer.add_chat_template(CHAT_TEMPLATE)
