"""Seeds in llama.cpp's layout: files that libqig must open, and lies and wishes that it must refuse, each with the words that its error holds."""

from __future__ import annotations

import struct
from collections.abc import Callable

from make_seeds import (
    ARRAY,
    BOOL,
    F32,
    STRING,
    TYPE_Q4_0,
    TYPE_Q4_1,
    TYPE_Q6_K,
    TYPE_Q8_0,
    U16,
    U32,
    File,
    Tensor,
    array,
    string,
    tiny,
)


def llama(architecture: str = "llama", matrix: int = TYPE_Q4_0, tied: bool = False) -> File:
    """The same sizes in llama.cpp's layout; arcee has no gate."""
    f = tiny(matrix=matrix)
    names = {"rope.freq_base", "context_length", "embedding_length", "block_count", "feed_forward_length"}
    keys = {str(k): v for k, v in f.keys.items()}
    kept = {k: v for k, v in keys.items() if not k.startswith("qig.") or k.startswith("qig.chat.")}
    kept["general.architecture"] = STRING, string(architecture)
    for key, value in keys.items():
        name = key.removeprefix("qig.")
        if key != name and (name in names or (name.startswith("attention.") and value[0] in (U32, F32))):
            kept[f"{architecture}.{name}"] = value
    kept[f"{architecture}.rope.dimension_count"] = kept[f"{architecture}.attention.key_length"]
    f.keys = dict(kept)
    for name in ("basin_proj", "blk.0.attn_temp", "output_down"):
        del f.tensors[f"{name}.weight"]
    if architecture == "llama":
        f.tensors["blk.0.ffn_gate.weight"] = Tensor("blk.0.ffn_gate.weight", [32, 32], matrix)
    if not tied:
        f.tensors["output.weight"] = Tensor("output.weight", list(f.tensors["token_embd.weight"].ne), matrix)
    return f


def valid() -> dict[str, bytes]:
    """Files that libqig must open; the last says a few things that ask for nothing."""
    idle = llama()
    u32, f32 = (lambda v: (U32, struct.pack("<I", v))), (lambda v: (F32, struct.pack("<f", v)))
    for key, value in (
        ("vocab_size", u32(270)),
        ("expert_count", u32(0)),
        ("attention.sliding_window", u32(0)),
        ("attention.causal", (BOOL, b"\1")),
        ("rope.scaling.type", (STRING, string("linear"))),
        ("rope.scaling.factor", f32(1)),
    ):
        idle.keys[f"llama.{key}"] = value
    for key in ("attention.head_count_kv", "attention.key_length", "attention.value_length", "rope.dimension_count", "rope.freq_base"):
        del idle.keys[f"llama.{key}"]
    for part in ("k", "v"):
        idle.tensors[f"blk.0.attn_{part}.weight"].ne = [32, 32]
    idle.keys["split.count"] = U16, struct.pack("<H", 1)
    return {
        "llama": llama().render(),
        "llama_q4_1": llama(matrix=TYPE_Q4_1).render(),
        "arcee_tied": llama("arcee", TYPE_Q8_0, tied=True).render(),
        "llama_idle_keys": idle.render(),
    }


def with_llama(key: str, kind: int, value: bytes | None, architecture: str = "llama") -> bytes:
    """A file in llama.cpp's layout with one key more or changed, or (value None) without it."""
    f = llama(architecture)
    f.keys.pop(f"{architecture}.{key}", None)
    if value is not None:
        f.keys[f"{architecture}.{key}"] = kind, value
    return f.render()


def with_llama_tensor(change: Callable[[dict[str, Tensor]], object], architecture: str = "llama") -> bytes:
    f = llama(architecture)
    change(f.tensors)
    return f.render()


def hostile() -> dict[str, tuple[bytes, str]]:
    """Lies in llama.cpp's layout, and what such a file may ask for that is not run."""
    f32 = lambda v: struct.pack("<f", v)  # noqa: E731
    u32 = lambda v: struct.pack("<I", v)  # noqa: E731
    add = lambda *t: lambda tensors: tensors.update({t[0]: Tensor(*t)})  # noqa: E731
    drop = lambda name: lambda tensors: tensors.pop(name)  # noqa: E731
    out = {
        "llama_heads_0": (with_llama("attention.head_count", U32, u32(0)), "llama.attention.head_count is 0"),
        "llama_heads_huge": (with_llama("attention.head_count", U32, u32(0xFFFFFFFF)), "is 4294967295"),
        "llama_heads_3": (with_llama("attention.head_count_kv", U32, u32(3)), "2 query heads are no multiple of 3"),
        "llama_heads_by_block": (with_llama("attention.head_count", ARRAY, array(U32, 1, u32(2))), "llama.attention.head_count differs by block"),
        "llama_hidden_by_block": (with_llama("feed_forward_length", ARRAY, array(U32, 1, u32(32))), "feed_forward_length differs by block"),
        "llama_no_blocks": (with_llama("block_count", U32, None), "'llama.block_count' is missing"),
        "llama_no_epsilon": (with_llama("attention.layer_norm_rms_epsilon", F32, None), "layer_norm_rms_epsilon' is missing"),
        "llama_epsilon_nan": (with_llama("attention.layer_norm_rms_epsilon", F32, f32(float("nan"))), "layer_norm_rms_epsilon is nan"),
        "llama_base_0": (with_llama("rope.freq_base", F32, f32(0)), "llama.rope.freq_base is 0"),
        "llama_base_of_u32": (with_llama("rope.freq_base", U32, u32(1)), "must be an f32"),
        "llama_turns_a_part": (with_llama("rope.dimension_count", U32, u32(8)), "rope.dimension_count 8 turns a part of a head of 16"),
        "llama_key_length_odd": (with_llama("attention.key_length", U32, u32(15)), "2 heads of 15"),
        "llama_key_length_wide": (with_llama("attention.key_length", U32, u32(1 << 20)), "llama.attention.key_length is 1048576"),
        "llama_value_length": (with_llama("attention.value_length", U32, u32(8)), "key_length 16 and value_length 8 differ"),
        "llama_width": (with_llama("embedding_length", U32, u32(64)), "token_embd.weight is [270, 32], it must be [270, 64]"),
        "llama_yarn": (with_llama("rope.scaling.type", STRING, string("yarn")), "llama.rope.scaling.type is 'yarn', which this build does not run"),
        "llama_linear": (with_llama("rope.scaling.factor", F32, f32(4)), "llama.rope.scaling.factor is 4"),
        "llama_linear_old": (with_llama("rope.scale_linear", F32, f32(2)), "llama.rope.scale_linear is 2"),
        "llama_window": (with_llama("attention.sliding_window", U32, u32(32)), "llama.attention.sliding_window is 32"),
        "llama_experts": (with_llama("expert_count", U32, u32(8)), "llama.expert_count is 8"),
        "llama_not_causal": (with_llama("attention.causal", BOOL, b"\0"), "llama.attention.causal is 0"),
        "llama_scale": (with_llama("attention.scale", F32, f32(0.5)), "llama.attention.scale is 0.5"),
        "llama_scale_text": (with_llama("attention.scale", STRING, string("x\n")), "llama.attention.scale is 'x?'"),
        "llama_softcap": (with_llama("attn_logit_softcapping", F32, f32(50)), "llama.attn_logit_softcapping is 50"),
        "llama_new_key": (with_llama("attention.new", ARRAY, array(U32, 1, u32(1))), "llama.attention.new asks for something"),
        "arcee_window": (with_llama("attention.sliding_window", U32, u32(32), "arcee"), "arcee.attention.sliding_window is 32"),
        "llama_bias": (with_llama_tensor(add("blk.0.attn_q.bias", [32])), "tensor blk.0.attn_q.bias has no place"),
        "llama_rope_factors": (with_llama_tensor(add("rope_freqs.weight", [8])), "tensor rope_freqs.weight has no place"),
        "llama_ungated": (with_llama_tensor(drop("blk.0.ffn_gate.weight")), "tensor blk.0.ffn_gate.weight is missing"),
        "arcee_gated": (with_llama_tensor(add("blk.0.ffn_gate.weight", [32, 32], TYPE_Q4_0), "arcee"), "tensor blk.0.ffn_gate.weight has no place"),
        "llama_turned_down": (with_llama_tensor(add("blk.0.ffn_down_t.weight", [32, 32], TYPE_Q4_0)), "tensor blk.0.ffn_down_t.weight has no place"),
        "llama_temperature": (with_llama_tensor(add("blk.0.attn_temp.weight", [2])), "tensor blk.0.attn_temp.weight has no place"),
        "llama_norm_missing": (with_llama_tensor(drop("output_norm.weight")), "tensor output_norm.weight is missing"),
        "llama_output_short": (with_llama_tensor(add("output.weight", [32, 269], TYPE_Q4_0)), "output.weight is [269, 32], it must be"),
        "llama_q4_k": (with_llama_tensor(add("output.weight", [256, 270], 12)), "Q6_K, Q4_1 and Q4_0; llama-quantize --pure"),
        "llama_q6_k_ragged": (with_llama_tensor(add("output.weight", [32, 270], TYPE_Q6_K)), "no whole number of Q6_K blocks"),
    }
    f = llama()
    f.keys["split.count"] = U16, struct.pack("<H", 3)
    out["llama_split"] = f.render(), "a part of a file that was split"
    f = llama()
    f.keys["general.architecture"] = STRING, string("llama4")
    out["llama_other"] = f.render(), "'llama4' is not run by this build (qig, llama, arcee, jarvis-quantum)"
    f = tiny()
    f.keys["general.architecture"] = STRING, string("llama")
    out["llama_in_name"] = f.render(), "'llama.context_length' is missing"
    f = tiny()
    f.tensors["blk.0.ffn_down_t.weight"] = Tensor("blk.0.ffn_down_t.weight", [32, 32], TYPE_Q4_1)
    del f.tensors["blk.0.ffn_down.weight"]
    out["down_t_q4_1"] = f.render(), "ffn_down_t.weight is Q4_1"
    return out
