"""Random models of transformers' Llama and Arcee classes, and their files as llama.cpp's converter lays them out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import ArceeConfig, ArceeForCausalLM, LlamaConfig, LlamaForCausalLM

from qig_edge.bench.random_model import _vocabulary

VOCAB = 300
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TYPES = gguf.GGMLQuantizationType


@dataclasses.dataclass(frozen=True)
class Shape:
    """One random model; tied: the head is the embedding."""

    architecture: str = "llama"
    d: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    hidden: int = 96
    tied: bool = False
    base: float = 10000.0
    eps: float = 1e-5
    context: int = 96
    seed: int = 0


def random_model(shape: Shape) -> Any:
    """The torch model in float32; scores of attention spread over several nats, so that an angle that is wrong shows."""
    kinds = {"llama": (LlamaConfig, LlamaForCausalLM), "arcee": (ArceeConfig, ArceeForCausalLM)}
    config, model = kinds[shape.architecture]
    torch.manual_seed(shape.seed)
    made = model(
        config(
            vocab_size=VOCAB,
            hidden_size=shape.d,
            intermediate_size=shape.hidden,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            head_dim=shape.head_dim,
            tie_word_embeddings=shape.tied,
            rope_theta=shape.base,
            rms_norm_eps=shape.eps,
            max_position_embeddings=shape.context,
            attn_implementation="eager",
        )
    )
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if weight.dim() == 1:
                weight.uniform_(0.5, 1.5)
            else:
                weight.normal_(std=(2.0 if "q_proj" in name or "k_proj" in name else 1.0) * weight.shape[1] ** -0.5)
    return made.float().eval()


def tensors(model: Any, shape: Shape) -> dict[str, np.ndarray]:
    """float32 by GGUF name. The rows of q and k change from transformers' halves to pairs of neighbours, as the converter does it."""
    out = {}
    for name, weight in model.state_dict().items():
        stem = name.removesuffix(".weight")
        if stem == "lm_head" and shape.tied:
            continue
        values = weight.numpy().astype(np.float32)
        if stem.startswith("model.layers."):
            _, _, block, part = stem.split(".", 3)
            if part in ("self_attn.q_proj", "self_attn.k_proj"):
                heads = shape.heads if "q_proj" in part else shape.kv_heads
                values = values.reshape(heads, 2, shape.head_dim // 2, shape.d).swapaxes(1, 2).reshape(values.shape)
            out[f"blk.{block}.{NAMES[part]}.weight"] = values
        else:
            out[f"{NAMES[stem]}.weight"] = values
    return out


def write(path: Path, shape: Shape, arrays: dict[str, np.ndarray], kind: str = "F32", **changes: Any) -> dict[str, np.ndarray]:
    """Writes the file, matrices of a type that `gguf` quantizes to; returns the weights as the file holds them.

    changes: keys without the architecture's name, dots as double underscores; None leaves a key out. Beside them raw=: {tensor: (bytes, type)}
    replaces tensors, or adds them.
    """
    raw: dict[str, tuple[np.ndarray, Any]] = changes.pop("raw", {})
    writer = gguf.GGUFWriter(path, shape.architecture)
    keys: dict[str, Any] = {
        "context_length": shape.context,
        "embedding_length": shape.d,
        "block_count": shape.layers,
        "feed_forward_length": shape.hidden,
        "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads,
        "attention.key_length": shape.head_dim,
        "attention.value_length": shape.head_dim,
        "attention.layer_norm_rms_epsilon": shape.eps,
        "rope.freq_base": shape.base,
        "rope.dimension_count": shape.head_dim,
        "vocab_size": VOCAB,
    }
    keys |= {name.replace("__", "."): value for name, value in changes.items()}
    for name, value in keys.items():
        key = f"{shape.architecture}.{name}"
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_array(key, value)
    words, kinds, merges = _vocabulary(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(0)
    held = {}
    for name, values in arrays.items():
        if name in raw:
            continue
        which = TYPES[kind] if values.ndim == 2 else TYPES.F32
        data = gguf.quants.quantize(values, which)
        held[name] = gguf.quants.dequantize(data, which).astype(np.float32)
        writer.add_tensor(name, data, raw_dtype=which)
    for name, (data, which) in raw.items():
        held[name] = gguf.quants.dequantize(data, which).astype(np.float32)
        writer.add_tensor(name, data, raw_dtype=which)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def load(model: Any, shape: Shape, held: dict[str, np.ndarray]) -> Any:
    """The torch model with the file's weights, the rows of q and k turned back."""
    back = {}
    for name in model.state_dict():
        stem = name.removesuffix(".weight")
        if stem.startswith("model.layers."):
            _, _, block, part = stem.split(".", 3)
            values = held[f"blk.{block}.{NAMES[part]}.weight"]
            if part in ("self_attn.q_proj", "self_attn.k_proj"):
                heads = shape.heads if "q_proj" in part else shape.kv_heads
                values = values.reshape(heads, shape.head_dim // 2, 2, shape.d).swapaxes(1, 2).reshape(values.shape)
        else:
            values = held["token_embd.weight" if stem == "lm_head" and shape.tied else f"{NAMES[stem]}.weight"]
        back[name] = torch.from_numpy(np.ascontiguousarray(values))
    model.load_state_dict(back)
    return model
