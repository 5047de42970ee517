"""Model files of one block with zero weights, in which all that matters is the vocabulary: of every kind that libqig reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
BYTES = [f"<0x{b:02X}>" for b in range(256)]


@dataclasses.dataclass
class Vocabulary:
    """What goes into the tokenizer.ggml.* keys; None: the key is absent. chat: qig.chat.* by role. more: further keys, bool or str."""

    tokens: Sequence[str]
    kinds: Sequence[int]
    model: str = "gpt2"
    pre: str | None = "gpt-2"
    merges: Sequence[str] = ()
    scores: Sequence[float] | None = None
    bos: int | None = None
    eos: int = 0
    eot: int | None = None
    chat: Mapping[str, str] = dataclasses.field(default_factory=dict)
    more: Mapping[str, bool | str] = dataclasses.field(default_factory=dict)


def write(path: Path, v: Vocabulary) -> Path:
    """The file; returns its path."""
    import gguf
    import numpy as np

    w = gguf.GGUFWriter(path, "qig")
    w.add_context_length(64)
    w.add_embedding_length(32)
    w.add_block_count(1)
    w.add_feed_forward_length(32)
    w.add_head_count(2)
    w.add_head_count_kv(1)
    w.add_key_length(16)
    w.add_value_length(16)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_freq_base(10000.0)
    w.add_uint32("qig.basin_length", 32)
    w.add_uint32("qig.head_rank", 0)
    w.add_string("qig.attention.state", "pure")
    w.add_string("qig.attention.metric", "bures")
    for name, value in (("beta", 0.43), ("ref", 128.0), ("min", 0.25), ("max", 4.0), ("kappa_0", 64.0)):
        w.add_float32(f"qig.coupling.{name}", value)
    w.add_float32("qig.gate.threshold", 0.0)
    w.add_float32("qig.gate.margin", 0.0)
    w.add_tokenizer_model(v.model)
    if v.pre is not None:
        w.add_tokenizer_pre(v.pre)
    w.add_token_list(v.tokens)
    w.add_token_types(v.kinds)
    if v.merges:
        w.add_token_merges(v.merges)
    if v.scores is not None:
        w.add_token_scores([float(s) for s in v.scores])
    w.add_eos_token_id(v.eos)
    if v.bos is not None:
        w.add_bos_token_id(v.bos)
    if v.eot is not None:
        w.add_eot_token_id(v.eot)
    for role, text in v.chat.items():
        w.add_string(f"qig.chat.{role}", text)
    for key, extra in v.more.items():
        if isinstance(extra, bool):
            w.add_bool(key, extra)
        else:
            w.add_string(key, extra)
    shapes = {"token_embd": (len(v.tokens), 32), "basin_proj": (32, 32), "output_norm": (32,), "output_down": (32, 32)}
    blocks = {"attn_norm": (32,), "attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32), "attn_temp": (2,)}
    blocks |= {"ffn_norm": (32,), "ffn_up": (32, 32), "ffn_down": (32, 32)}
    for name, shape in {**shapes, **{f"blk.0.{n}": s for n, s in blocks.items()}}.items():
        w.add_tensor(f"{name}.weight", np.full(shape, 0.1 if name == "blk.0.attn_temp" else 0.0, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return path
