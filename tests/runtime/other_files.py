"""Random models of transformers' GPT-2 and Qwen2 classes, which libqig does not run, and their files as llama.cpp's converter lays them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Qwen2Config, Qwen2ForCausalLM

from qig_edge.bench.random_model import _vocabulary

VOCAB, D, LAYERS, HEADS, HIDDEN, CONTEXT = 300, 64, 2, 4, 128, 96
# Qwen's names for the control tokens of the vocabulary: end of text, begin and end of a turn.
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|unused-3|>", "<|unused-4|>"]
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "ln_1": "attn_norm",
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
    "embed_tokens": "token_embd",
    "norm": "output_norm",
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


def random_torch(architecture: str, seed: int) -> Any:
    """A model in float32 whose every weight matters."""
    torch.manual_seed(seed)
    if architecture == "gpt2":
        model: Any = GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCAB, n_embd=D, n_layer=LAYERS, n_head=HEADS, n_inner=HIDDEN, n_positions=CONTEXT)
        )
    else:
        model = Qwen2ForCausalLM(
            Qwen2Config(
                vocab_size=VOCAB, hidden_size=D, num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=2,
                intermediate_size=HIDDEN, max_position_embeddings=CONTEXT, tie_word_embeddings=False,
            )
        )  # fmt: skip
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.uniform_(0.5, 1.5)
            else:
                weight.normal_(std=D**-0.5)
    return model.float().eval()


def _name(name: str) -> str:
    stem, _, end = name.removeprefix("transformer.").removeprefix("model.").rpartition(".")
    if stem in NAMES:
        return f"{NAMES[stem]}.{end}"
    _, block, part = stem.split(".", 2)
    return f"blk.{block}.{NAMES[part]}.{end}"


def write(path: Path, architecture: str, model: Any, template: str | None = None, kind: str = "F32", **raw: Any) -> None:
    """The file of a model; raw: keys to write as they are, dots as double underscores."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name(f"random {architecture}")
    writer.add_file_type(gguf.LlamaFileType["ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"])
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(D)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    if architecture == "gpt2":
        writer.add_layer_norm_eps(1e-5)
    else:
        writer.add_head_count_kv(2)
        writer.add_layer_norm_rms_eps(1e-6)
        writer.add_rope_freq_base(10000.0)
    for key, value in raw.items():
        writer.add_string(key.replace("__", "."), value)
    words, types, merges = _vocabulary(VOCAB)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2" if architecture == "qwen2" else "gpt-2")
    writer.add_token_list(CONTROL + words[len(CONTROL) :])
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(0)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)
    for name, weight in model.state_dict().items():
        if architecture == "gpt2" and (name == "lm_head.weight" or name.endswith(".attn.bias")):
            continue
        values = weight.numpy().astype(np.float32)
        if architecture == "gpt2" and ".c_" in name and values.ndim == 2:  # GPT-2's matrices are stored [in, out]
            values = np.ascontiguousarray(values.T)
        which = gguf.GGMLQuantizationType[kind] if values.ndim == 2 and "position" not in _name(name) else gguf.GGMLQuantizationType.F32
        writer.add_tensor(_name(name), gguf.quants.quantize(values, which), raw_dtype=which)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
