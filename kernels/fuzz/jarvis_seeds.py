"""Seeds of architecture jarvis-quantum: files that libqig must open, and lies that it must refuse, each with the words that its error holds."""

from __future__ import annotations

import struct

from make_seeds import F32, STRING, TYPE_Q8_0, U32, File, Tensor, string, tiny

ARCH = "jarvis-quantum"


def jarvis(matrix: int = TYPE_Q8_0, final_norm: bool = True) -> File:
    """One block, D = hidden = 32, two heads; the vocabulary of `tiny`."""
    f = tiny(matrix=matrix)
    keys = {str(k): v for k, v in f.keys.items()}
    kept = {k: v for k, v in keys.items() if not k.startswith("qig.") or k.startswith("qig.chat.")}
    kept["general.architecture"] = STRING, string(ARCH)
    for name in ("context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count"):
        kept[f"{ARCH}.{name}"] = keys[f"qig.{name}"]
    kept[f"{ARCH}.attention.layer_norm_epsilon"] = F32, struct.pack("<f", 1e-5)
    f.keys = dict(kept)
    vocab = f.tensors["token_embd.weight"].ne[1]
    matrices = {"token_embd": vocab, "output": vocab, **{f"blk.0.{n}": 32 for n in ("attn_q", "attn_k", "attn_v", "ffn_up", "ffn_down")}}
    norms = ["blk.0.attn_norm", "blk.0.ffn_norm", *(["output_norm"] if final_norm else [])]
    tensors = [Tensor(f"{name}.weight", [32, rows], matrix) for name, rows in matrices.items()]
    tensors += [Tensor(f"{name}.{part}", [32]) for name in norms for part in ("weight", "bias")]
    f.tensors = {str(t.name): t for t in tensors}
    return f


def valid() -> dict[str, bytes]:
    return {"jarvis": jarvis().render(), "jarvis_without_final_norm": jarvis(0, final_norm=False).render()}


def hostile() -> dict[str, tuple[bytes, str]]:
    out: dict[str, tuple[bytes, str]] = {}

    def key(name: str, value: int | float | None, message: str, of: str = ARCH) -> None:
        f = jarvis()
        f.keys.pop(f"{of}.{name}", None)
        if value is not None:
            f.keys[f"{of}.{name}"] = (F32, struct.pack("<f", value)) if isinstance(value, float) else (U32, struct.pack("<I", value))
        out[f"jarvis_{name.rpartition('.')[2]}_{'absent' if value is None else value}"] = f.render(), message

    def without(tensor: str) -> None:
        f = jarvis()
        del f.tensors[tensor]
        out[f"jarvis_no_{tensor}"] = f.render(), f"tensor {tensor} is missing"

    def more(tensor: Tensor, message: str) -> None:
        f = jarvis()
        f.tensors[str(tensor.name)] = tensor
        out[f"jarvis_{tensor.name}"] = f.render(), message

    key("embedding_length", None, "'jarvis-quantum.embedding_length' is missing")
    key("embedding_length", 31, "a width of 31 is odd")
    key("embedding_length", 1 << 31, "embedding_length is 2147483648")
    key("attention.head_count", 3, "does not divide into 3 heads")
    key("attention.head_count", 0, "attention.head_count is 0")
    key("attention.head_count", 64, "does not divide into 64 heads")
    key("attention.layer_norm_epsilon", 0.0, "it must be finite and above 0")
    key("attention.layer_norm_epsilon", float("nan"), "it must be finite and above 0")
    key("block_count", 2, "tensor blk.1.attn_norm.weight is missing")
    key("rope.freq_base", 1.0, "jarvis-quantum.rope.freq_base asks for something")
    for name in ("output_norm.bias", "blk.0.ffn_norm.bias", "blk.0.attn_k.weight", "output.weight"):
        without(name)
    more(Tensor("blk.0.attn_output.weight", [32, 32]), "tensor blk.0.attn_output.weight has no place")
    more(Tensor("blk.0.ffn_norm.bias", [16]), "tensor blk.0.ffn_norm.bias is [16], it must be [32]")
    more(Tensor("blk.0.attn_norm.bias", [32], TYPE_Q8_0), "tensor blk.0.attn_norm.bias is Q8_0, it must be F32")
    return out
