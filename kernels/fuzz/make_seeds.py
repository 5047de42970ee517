"""Writes the fuzzers' seed corpora, byte by byte: nothing here trusts a GGUF library, and the Python one cannot write files this wrong.

    python kernels/fuzz/make_seeds.py DIR      DIR/fuzz_gguf/*.gguf, DIR/fuzz_tokenizer/*.txt and DIR/fuzz_session/*.bin

Files with a vocabulary by scores are in scored_seeds.py. Hostile files carry the words that their error must hold;
tests/kernels/test_gguf_hostile.py opens each of them with libqig.
"""

from __future__ import annotations

import argparse
import importlib
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
TYPE_F32, TYPE_F16, TYPE_Q4_0, TYPE_Q4_1, TYPE_Q8_0, TYPE_Q6_K = 0, 1, 2, 3, 8, 14
BLOCK = {TYPE_F32: (1, 4), TYPE_F16: (1, 2), TYPE_Q4_0: (32, 18), TYPE_Q4_1: (32, 20), TYPE_Q8_0: (32, 34), TYPE_Q6_K: (256, 210)}
CONTROLS = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
MERGES = ("h e", "l l", "he ll", "hell o", "Ġ t", "Ġt he", "o o", "Ã ©", "Ġ Ġ")


def string(text: str | bytes) -> bytes:
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data


def array(elem_type: int, count: int, data: bytes) -> bytes:
    return struct.pack("<IQ", elem_type, count) + data


def strings(items: list[str]) -> bytes:
    return array(STRING, len(items), b"".join(map(string, items)))


def byte_texts() -> list[str]:
    """Text of each single-byte token, in the order of the bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [b for b in range(256) if b not in printable]
    return [chr(b) if b in printable else chr(256 + other.index(b)) for b in range(256)]


@dataclass
class Tensor:
    name: str | bytes
    ne: list[int]  # ne[0] innermost
    type: int = TYPE_F32
    offset: int | None = None  # None: after the one before it
    data: bytes | None = None  # None: zeros, as many as the shape asks for

    def bytes_of(self) -> bytes:
        if self.data is not None:
            return self.data
        per, size = BLOCK.get(self.type, (1, 1))
        n = size
        for i, dim in enumerate(self.ne):
            n *= dim // per if i == 0 else dim
        return bytes(min(n, 1 << 16))


@dataclass
class File:
    """A GGUF file whose every field can be made to lie."""

    keys: dict[str | bytes, tuple[int, bytes]]  # key: (type, value)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    more: list[tuple[str | bytes, int, bytes]] = field(default_factory=list)  # further keys, duplicates among them
    magic: bytes = b"GGUF"
    version: int = 3
    order: str = "<"
    n_kv: int | None = None
    n_tensors: int | None = None
    alignment: int = 32

    def render(self) -> bytes:
        keys = [(k, t, v) for k, (t, v) in self.keys.items()] + self.more
        tensors = list(self.tensors.values())
        out = self.magic + struct.pack(
            self.order + "IQQ",
            self.version,
            len(tensors) if self.n_tensors is None else self.n_tensors,
            len(keys) if self.n_kv is None else self.n_kv,
        )
        for key, kind, value in keys:
            out += string(key) + struct.pack("<I", kind) + value
        data = b""
        for t in tensors:
            offset = len(data) if t.offset is None else t.offset
            out += string(t.name) + struct.pack(f"<I{len(t.ne)}QIQ", len(t.ne), *t.ne, t.type, offset)
            data += t.bytes_of()
            data += bytes(-len(data) % self.alignment)
        return out + bytes(-len(out) % self.alignment) + data


def tiny(state: str = "pure", matrix: int = TYPE_Q4_0, head_rank: int = 0) -> File:
    """A valid model, as small as the format allows: one block, D = b = 32, two heads of 16, every byte a token, nine merges."""
    d, hidden, heads, kv_heads, c = 32, 32, 2, 1, 16
    texts = byte_texts() + [m.replace(" ", "") for m in MERGES] + list(CONTROLS)
    vocab, control = len(texts), len(texts) - len(CONTROLS)
    kinds = [1] * control + [3] * len(CONTROLS)

    def u32(v: int) -> tuple[int, bytes]:
        return U32, struct.pack("<I", v)

    def f32(v: float) -> tuple[int, bytes]:
        return F32, struct.pack("<f", v)

    def text(v: str) -> tuple[int, bytes]:
        return STRING, string(v)

    keys: dict[str | bytes, tuple[int, bytes]] = {
        "general.architecture": text("qig"),
        "general.name": text("tiny"),
        "general.alignment": u32(32),
        "qig.context_length": u32(64),
        "qig.embedding_length": u32(d),
        "qig.block_count": u32(1),
        "qig.feed_forward_length": u32(hidden),
        "qig.attention.head_count": u32(heads),
        "qig.attention.head_count_kv": u32(kv_heads),
        "qig.attention.key_length": u32(c),
        "qig.attention.value_length": u32(c),
        "qig.attention.layer_norm_rms_epsilon": f32(1e-5),
        "qig.attention.state": text(state),
        "qig.attention.state_phases": (BOOL, b"\1"),
        "qig.attention.metric": text("bures"),
        "qig.attention.decay_slopes": (ARRAY, array(F32, heads, struct.pack("<2f", 0.0625, 0.00390625))),
        "qig.rope.freq_base": f32(10000.0),
        "qig.basin_length": u32(d),
        "qig.head_rank": u32(head_rank),
        "qig.coupling.beta": f32(0.43),
        "qig.coupling.ref": f32(128.0),
        "qig.coupling.min": f32(0.25),
        "qig.coupling.max": f32(4.0),
        "qig.coupling.kappa_0": f32(64.0),
        "qig.gate.threshold": f32(0.0),
        "qig.gate.margin": f32(0.0),
        "qig.chat.system": text("<|system|>"),
        "qig.chat.user": text("<|user|>"),
        "qig.chat.assistant": text("<|assistant|>"),
        "qig.chat.end": text("<|end|>"),
        "tokenizer.ggml.model": text("gpt2"),
        "tokenizer.ggml.pre": text("gpt-2"),
        "tokenizer.ggml.tokens": (ARRAY, strings(texts)),
        "tokenizer.ggml.token_type": (ARRAY, array(I32, vocab, struct.pack(f"<{vocab}i", *kinds))),
        "tokenizer.ggml.merges": (ARRAY, strings(list(MERGES))),
        "tokenizer.ggml.eos_token_id": u32(control),
        "tokenizer.ggml.eot_token_id": u32(vocab - 1),
        "tokenizer.chat_template": text("{{ messages }}"),
    }
    shapes: dict[str, tuple[list[int], int]] = {
        "token_embd.weight": ([d, vocab], matrix),
        "basin_proj.weight": ([d, d], matrix),
        "blk.0.attn_norm.weight": ([d], TYPE_F32),
        "blk.0.attn_q.weight": ([d, heads * c], matrix),
        "blk.0.attn_k.weight": ([d, kv_heads * c], matrix),
        "blk.0.attn_v.weight": ([d, kv_heads * c], matrix),
        "blk.0.attn_output.weight": ([heads * c, d], matrix),
        "blk.0.attn_temp.weight": ([heads], TYPE_F32),
        "blk.0.ffn_norm.weight": ([d], TYPE_F32),
        "blk.0.ffn_up.weight": ([d, hidden], matrix),
        "blk.0.ffn_down.weight": ([hidden, d], matrix),
        "output_norm.weight": ([d], TYPE_F32),
        "output_down.weight": ([d, head_rank or d], matrix),
    }
    if state == "diagonal":
        shapes |= {"blk.0.attn_q_gain.weight": ([heads], TYPE_F32), "blk.0.attn_k_gain.weight": ([kv_heads], TYPE_F32)}
    if head_rank:
        shapes["output.weight"] = ([head_rank, vocab], matrix)
    tensors = {name: Tensor(name, ne, kind) for name, (ne, kind) in shapes.items()}
    tensors["blk.0.attn_temp.weight"].data = struct.pack("<2f", 0.1, 0.2)
    return File(keys, tensors)


def deep(rule: str = "probe") -> File:
    """A valid model of three blocks with every component there is: the first block mandatory, exits after one and two."""
    f, d, vocab = tiny("diagonal"), 32, len(byte_texts()) + len(MERGES) + len(CONTROLS)
    one = dict(f.tensors)
    for prefix in ("blk.1", "blk.2", "integrator"):
        for name, t in one.items():
            if name.startswith("blk.0."):
                name = prefix + name[5:]
                f.tensors[name] = Tensor(name, list(t.ne), t.type, data=t.data)
    u32 = lambda v: (U32, struct.pack("<I", v))  # noqa: E731
    f32 = lambda v: (F32, struct.pack("<f", v))  # noqa: E731
    f.keys |= {
        "qig.block_count": u32(3),
        "qig.gate.learnt": (BOOL, b"\1"),
        "qig.code_rate.max_entropy": f32(0.9),
        "qig.mandatory_blocks": u32(1),
        "qig.shallow_length": u32(32),
        **{f"qig.regime.{n}": f32(v) for n, v in (("low", 0.3), ("high", 0.7), ("smoothing", 0.25), ("hysteresis", 0.02), ("curvature", 0.5))},
        "qig.regime.coupling": (ARRAY, array(F32, 3, struct.pack("<3f", 0.9, 1, 1.1))),
        "qig.regime.on_breakdown": (STRING, string("mark")),
        "qig.exit.blocks": (ARRAY, array(U32, 2, struct.pack("<2I", 1, 2))),
        "qig.exit.thresholds": (ARRAY, array(F32, 2, struct.pack("<2f", 0.1, 0.2))),
        "qig.exit.rule": (STRING, string(rule)),
        "qig.decoherence.threshold": f32(3),
        "qig.recursion.min_loops": u32(1),
        "qig.recursion.max_loops": u32(3),
        "qig.recursion.min_phi": f32(0.5),
        "qig.symmetry.rank": u32(2),
        "qig.confidence.scale": f32(0.8),
        "qig.confidence.bias": f32(0.1),
        "qig.draft.lag": u32(2),
        "qig.draft.feed_forward_length": u32(64),
        "qig.draft.vocab": u32(vocab - 1),
    }
    vectors = {f"{p}.attn_gate.weight": struct.pack("<2f", 0, 0.2) for p in ("blk.0", "blk.1", "blk.2", "integrator")}
    vectors |= {f"blk.{n}.ffn_route.weight": struct.pack("<2f", 0.1, 0.5) for n in (1, 2)}
    if rule == "probe":
        vectors |= {f"blk.{n}.exit_probe.weight": struct.pack(f"<{d + 1}f", *[0.1] * (d + 1)) for n in (0, 1)}
    vectors["token_scale.weight"] = struct.pack(f"<{vocab}f", *[1.25] * vocab)
    shapes = {f"blk.{n}.ffn_shallow_{m}.weight": ([d, 32], TYPE_Q4_0) for n in (1, 2) for m in ("up", "down")}
    shapes |= {"decoherence_modes.weight": ([d, 8], TYPE_F32), "symmetry.weight": ([d, 2], TYPE_F32)}
    shapes |= {"draft_input.weight": ([2 * d, d], TYPE_Q4_0), "draft_up.weight": ([d, 64], TYPE_Q4_0), "draft_down.weight": ([64, d], TYPE_Q4_0)}
    vectors |= {f"draft_{n}.weight": struct.pack(f"<{d}f", *[1.0] * d) for n in ("norm", "output_norm")}
    f.tensors |= {name: Tensor(name, [len(data) // 4], TYPE_F32, data=data) for name, data in vectors.items()}
    f.tensors |= {name: Tensor(name, ne, kind) for name, (ne, kind) in shapes.items()}
    for name in ("blk.0.ffn_down", "integrator.ffn_down"):
        del f.tensors[f"{name}.weight"]
        f.tensors[f"{name}_t.weight"] = Tensor(f"{name}_t.weight", [d, 32], TYPE_Q4_0)
    return f


def beside(name: str) -> ModuleType:
    """The seeds of another layout: llama_seeds.py or jarvis_seeds.py, which stand beside this file and build on it."""
    folder = str(Path(__file__).resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


def valid() -> dict[str, bytes]:
    """Files that libqig must open."""
    return {
        **beside("llama_seeds").valid(),
        **beside("jarvis_seeds").valid(),
        "q4_0": tiny().render(),
        "q8_0": tiny(matrix=TYPE_Q8_0).render(),
        "f16": tiny(matrix=TYPE_F16, head_rank=16).render(),
        "f32_diagonal": tiny("diagonal", TYPE_F32).render(),
        "q4_0_diagonal_untied": tiny("diagonal", TYPE_Q4_0, head_rank=32).render(),
        "no_chat": without(tiny(), "qig.chat.").render(),
        "alignment_8": aligned(tiny(), 8).render(),
        "alignment_4096": aligned(tiny(), 4096).render(),
        "deep_probe": deep("probe").render(),
        "deep_bures": deep("bures").render(),
        "no_factors": factorless(tiny()).render(),
        "deep_no_factors": factorless(deep("bures")).render(),
    }


def factorless(f: File) -> File:
    """With a plain embedding, which is the head's only matrix too."""
    f.keys["qig.basin_length"] = (U32, struct.pack("<I", 0))
    return without(without(f, "basin_proj."), "output_down.")


def without(f: File, prefix: str) -> File:
    f.keys = {k: v for k, v in f.keys.items() if not str(k).startswith(prefix)}
    f.tensors = {k: v for k, v in f.tensors.items() if not k.startswith(prefix)}
    return f


def aligned(f: File, n: int) -> File:
    f.keys["general.alignment"] = U32, struct.pack("<I", n)
    f.alignment = n
    return f


def with_key(key: str, kind: int, value: bytes) -> bytes:
    f = tiny("diagonal")
    f.keys[key] = kind, value
    return f.render()


def with_tensor(tensor: str, /, **fields: object) -> bytes:
    f = tiny("diagonal")
    for attribute, value in fields.items():
        setattr(f.tensors[tensor], attribute, value)
    return f.render()


def with_file(change: Callable[[File], object]) -> bytes:
    f = tiny("diagonal")
    change(f)
    return f.render()


def with_deep(key: str, kind: int = 0, value: bytes | None = None, rule: str = "probe") -> bytes:
    """The model of every component with one key changed, or without it."""
    f = deep(rule)
    if value is None:
        f.keys.pop(key)
    else:
        f.keys[key] = kind, value
    return f.render()


def with_deep_tensor(tensor: str, /, **fields: object) -> bytes:
    f = deep()
    for attribute, value in fields.items():
        setattr(f.tensors[tensor], attribute, value)
    return f.render()


def hostile_depth() -> dict[str, tuple[bytes, str]]:
    """Lies about depth: numbers beyond their range, groups in part, lists that do not fit, tensors that are missing or too much."""
    f32 = lambda *v: struct.pack(f"<{len(v)}f", *v)  # noqa: E731
    u32 = lambda *v: struct.pack(f"<{len(v)}I", *v)  # noqa: E731
    nan, probe = float("nan"), "blk.0.exit_probe.weight"
    out: dict[str, tuple[bytes, str]] = {
        "mandatory_0": (with_deep("qig.mandatory_blocks", U32, u32(0)), "qig.mandatory_blocks is 0"),
        "mandatory_4": (with_deep("qig.mandatory_blocks", U32, u32(4)), "qig.mandatory_blocks is 4"),
        "mandatory_of_f32": (with_deep("qig.mandatory_blocks", F32, f32(1)), "must be a u32"),
        "shallow_huge": (with_deep("qig.shallow_length", U32, u32(0xFFFFFFFF)), "qig.shallow_length is 4294967295"),
        "shallow_other": (with_deep("qig.shallow_length", U32, u32(64)), "ffn_shallow_up.weight is [32, 32], it must be [64, 32]"),
        "shallow_0": (with_deep("qig.shallow_length", U32, u32(0)), "has no place"),
        "draft_lag_9": (with_deep("qig.draft.lag", U32, u32(9)), "qig.draft.lag is 9"),
        "draft_lag_other": (with_deep("qig.draft.lag", U32, u32(3)), "draft_input.weight is [32, 64], it must be [32, 96]"),
        "draft_in_part": (with_deep("qig.draft.vocab"), "'qig.draft.vocab' is missing: a draft needs all of its 3 keys"),
        "draft_vocab_huge": (with_deep("qig.draft.vocab", U32, u32(0x7FFFFFFF)), "qig.draft.vocab is 2147483647"),
        "draft_norm_of_f16": (with_deep_tensor("draft_norm.weight", type=TYPE_F16), "draft_norm.weight is F16, it must be F32"),
        "symmetry_32": (with_deep("qig.symmetry.rank", U32, u32(32)), "qig.symmetry.rank is 32"),
        "symmetry_absent": (with_deep("qig.symmetry.rank"), "symmetry.weight has no place"),
        "symmetry_of_f16": (with_deep_tensor("symmetry.weight", type=TYPE_F16), "symmetry.weight is F16, it must be F32"),
        "regime_in_part": (with_deep("qig.regime.high"), "'qig.regime.high' is missing: the regime detector needs all of its 5 keys"),
        "regime_crossed": (with_deep("qig.regime.low", F32, f32(0.7)), "qig.regime.low is 0.7, it must be in [0, 0.7)"),
        "regime_smoothing_0": (with_deep("qig.regime.smoothing", F32, f32(0)), "qig.regime.smoothing is 0, it must be in (0, 1]"),
        "regime_curvature_4": (with_deep("qig.regime.curvature", F32, f32(4)), "qig.regime.curvature is 4"),
        "regime_coupling_0": (with_deep("qig.regime.coupling", ARRAY, array(F32, 3, f32(1, 0, 1))), "qig.regime.coupling[1] is 0"),
        "regime_coupling_2": (with_deep("qig.regime.coupling", ARRAY, array(F32, 2, f32(1, 1))), "must be an array of 3 f32"),
        "regime_coupling_nan": (with_deep("qig.regime.coupling", ARRAY, array(F32, 3, f32(1, nan, 1))), "qig.regime.coupling[1] is nan"),
        "on_breakdown_stop": (with_deep("qig.regime.on_breakdown", STRING, string("stop")), "'stop' is not run by this build (mark, pause)"),
        "exits_none": (with_deep("qig.exit.blocks", ARRAY, array(U32, 0, b"")), "must be an array of 1 to 3 u32"),
        "exits_of_u64": (with_deep("qig.exit.blocks", ARRAY, array(U64, 2, struct.pack("<2Q", 1, 2))), "must be an array of 1 to 3 u32"),
        "exits_of_u8": (with_deep("qig.exit.blocks", ARRAY, array(U8, 2, b"\1\2")), "must be an array of 1 to 3 u32"),
        "exits_falling": (with_deep("qig.exit.blocks", ARRAY, array(U32, 2, u32(2, 1))), "qig.exit.blocks[1] is 1, it must be in [3, 3)"),
        "exits_twice": (with_deep("qig.exit.blocks", ARRAY, array(U32, 2, u32(1, 1))), "qig.exit.blocks[1] is 1, it must be in [2, 3)"),
        "exit_at_0": (with_deep("qig.exit.blocks", ARRAY, array(U32, 2, u32(0, 1))), "qig.exit.blocks[0] is 0"),
        "exit_at_the_end": (with_deep("qig.exit.blocks", ARRAY, array(U32, 2, u32(1, 3))), "qig.exit.blocks[1] is 3"),
        "exit_huge": (with_deep("qig.exit.blocks", ARRAY, array(U32, 2, u32(1, 0xFFFFFFFF))), "qig.exit.blocks[1] is 4294967295"),
        "exit_thresholds_3": (with_deep("qig.exit.thresholds", ARRAY, array(F32, 3, f32(0, 0, 0))), "must be an array of 2 f32"),
        "exit_threshold_2": (with_deep("qig.exit.thresholds", ARRAY, array(F32, 2, f32(0, 2))), "qig.exit.thresholds[1] is 2"),
        "exit_threshold_nan": (with_deep("qig.exit.thresholds", ARRAY, array(F32, 2, f32(nan, 0))), "qig.exit.thresholds[0] is nan"),
        "exit_rule_coin": (with_deep("qig.exit.rule", STRING, string("coin")), "rule 'coin' is not run by this build (bures, probe)"),
        "exit_rule_absent": (with_deep("qig.exit.rule"), "'qig.exit.rule' is missing: an early exit needs all of its 3 keys"),
        "exit_rule_bures": (with_deep("qig.exit.rule", STRING, string("bures")), "exit_probe.weight has no place"),
        "exit_probe_short": (with_deep_tensor(probe, ne=[32], data=f32(*[0.0] * 32)), f"{probe} is [32], it must be [33]"),
        "exit_probe_inf": (with_deep_tensor(probe, data=f32(*[0.0] * 32, float("inf"))), f"{probe}[32] is inf"),
        "decoherence_0": (with_deep("qig.decoherence.threshold", F32, f32(0)), "qig.decoherence.threshold is 0"),
        "decoherence_absent": (with_deep("qig.decoherence.threshold"), "decoherence_modes.weight has no place"),
        "modes_many": (with_deep_tensor("decoherence_modes.weight", ne=[32, 33]), "decoherence_modes.weight is [33, 32], it must be [32, 32]"),
        "modes_vector": (with_deep_tensor("decoherence_modes.weight", ne=[32]), "decoherence_modes.weight is [32], it must be"),
        "loops_0": (with_deep("qig.recursion.min_loops", U32, u32(0)), "qig.recursion.min_loops is 0"),
        "loops_65": (with_deep("qig.recursion.max_loops", U32, u32(65)), "qig.recursion.max_loops is 65"),
        "loops_crossed": (with_deep("qig.recursion.min_loops", U32, u32(4)), "qig.recursion.min_loops is 4, above"),
        "min_phi_nan": (with_deep("qig.recursion.min_phi", F32, f32(nan)), "qig.recursion.min_phi is nan"),
        "integrator_in_part": (with_deep_tensor("integrator.attn_q.weight", name="integrator.attn_z.weight"), "integrator.attn_q.weight is missing"),
        "gates_absent": (with_deep("qig.gate.learnt"), "attn_gate.weight has no place"),
        "gates_of_u32": (with_deep("qig.gate.learnt", U32, u32(1)), "must be a bool"),
        "gate_1": (with_deep_tensor("blk.1.attn_gate.weight", data=f32(0, 1)), "blk.1.attn_gate.weight[1] is 1"),
        "gate_negative": (with_deep_tensor("integrator.attn_gate.weight", data=f32(-0.1, 0)), "integrator.attn_gate.weight[0] is -0.1"),
        "route_nan": (with_deep_tensor("blk.2.ffn_route.weight", data=f32(nan, 0)), "blk.2.ffn_route.weight[0] is nan"),
        "code_rate_1": (with_deep("qig.code_rate.max_entropy", F32, f32(1)), "qig.code_rate.max_entropy is 1"),
        "code_rate_absent": (with_deep("qig.code_rate.max_entropy"), "token_scale.weight has no place"),
        "token_scale_small": (with_deep_tensor("token_scale.weight", data=f32(*[0.5] * 270)), "token_scale.weight[0] is 0.5"),
        "confidence_in_part": (with_deep("qig.confidence.bias"), "'qig.confidence.bias' is missing"),
        "confidence_scale_0": (with_deep("qig.confidence.scale", F32, f32(0)), "qig.confidence.scale is 0"),
    }
    f = deep()
    f.tensors["twice"] = Tensor("blk.1.ffn_down_t.weight", [32, 32], TYPE_Q4_0)
    out["down_twice"] = f.render(), "blk.1.ffn_down.weight has no place"
    f = deep()
    for key in ("qig.exit.blocks", "qig.exit.thresholds", "qig.exit.rule"):
        f.keys.pop(key)
    out["decoherence_without_exits"] = f.render(), "states collapse at exits"
    f = deep()
    f.keys["qig.feed_forward_length"] = U32, u32(33)
    for name, t in f.tensors.items():
        if ".ffn_up." in name or ".ffn_down_t." in name:
            t.ne = [32, 33]
        elif ".ffn_down." in name:
            t.ne, t.type = [33, 32], TYPE_F16
    out["down_t_ragged"] = f.render(), "must be whole blocks of 32"
    return out


def hostile() -> dict[str, tuple[bytes, str]]:
    """Files that libqig must refuse, and what the error must say."""
    q, bad_f32 = "blk.0.attn_q.weight", (("nan", float("nan")), ("inf", float("inf")), ("negative", -1.0))
    tokens = tiny().keys["tokenizer.ggml.tokens"][1]
    f32 = lambda v: struct.pack("<f", v)  # noqa: E731
    u32 = lambda v: struct.pack("<I", v)  # noqa: E731
    out: dict[str, tuple[bytes, str]] = {
        "empty": (b"", "the file is empty"),
        "text": (b"Once upon a time there was a fox.", "not a GGUF file (starts with 'Once')"),
        "binary": (b"\x7fELF" + bytes(60), "not a GGUF file (starts with '?ELF')"),
        "three_bytes": (b"GGU", "not a GGUF file (3 bytes)"),
        "magic_only": (b"GGUF", "truncated"),
        "version_1": (with_file(lambda f: setattr(f, "version", 1)), "GGUF version 1"),
        "version_2": (with_file(lambda f: setattr(f, "version", 2)), "GGUF version 2"),
        "version_4": (with_file(lambda f: setattr(f, "version", 4)), "GGUF version 4"),
        "big_endian": (with_file(lambda f: setattr(f, "order", ">")), "big-endian"),
        "n_kv_2_63": (with_file(lambda f: setattr(f, "n_kv", 1 << 63)), "more than"),
        "n_tensors_2_63": (with_file(lambda f: setattr(f, "n_tensors", 1 << 63)), "more than"),
        "n_kv_one_more": (with_file(lambda f: setattr(f, "n_kv", len(f.keys) + 1)), ""),
        "n_tensors_one_more": (with_file(lambda f: setattr(f, "n_tensors", len(f.tensors) + 1)), ""),
        "n_tensors_0": (with_file(lambda f: setattr(f, "n_tensors", 0)), "token_embd.weight is missing"),
        # The 43 bytes that the Python reader hangs on: one key, an array of 2^63 bytes.
        "array_2_63_alone": (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + string("a") + struct.pack("<IIQ", ARRAY, U8, 1 << 63)[:10], ""),
        "key_name_empty": (with_file(lambda f: f.more.append(("", U32, u32(1)))), "key 39 has a name of 0 bytes"),
        "key_name_nul": (with_file(lambda f: f.more.append((b"a\0b", U32, u32(1)))), "with a 0 in it"),
        "key_name_too_long": (with_file(lambda f: f.more.append(("k" * 65536, U32, u32(1)))), "has a name of 65536 bytes"),
        "key_twice": (with_file(lambda f: f.more.append(("qig.context_length", U32, u32(64)))), "'qig.context_length' stands twice"),
        "key_type_13": (with_key("qig.context_length", 13, u32(64)), "type 13"),
        "key_type_huge": (with_key("qig.context_length", 0xFFFFFFFF, u32(64)), "type 4294967295"),
        "array_of_arrays": (with_key("x", ARRAY, array(ARRAY, 1, array(U8, 1, b"\1"))), "array of arrays"),
        "array_type_13": (with_key("x", ARRAY, array(13, 1, b"\1")), "type 13"),
        "tensor_name_empty": (with_tensor(q, name=""), "name of 0 bytes"),
        "tensor_name_65": (with_tensor(q, name="n" * 65), "name of 65 bytes"),
        "tensor_name_nul": (with_tensor(q, name=b"blk.0\0attn_q.weight"), "name of 19 bytes"),
        "tensor_twice": (with_tensor(q, name="token_embd.weight"), "tensor token_embd.weight stands twice"),
        "tensor_missing": (with_file(lambda f: f.tensors.pop(q)), f"tensor {q} is missing"),
        "tensor_unknown": (with_tensor(q, name="blk.0.attn_z.weight"), f"tensor {q} is missing"),
        "tensor_extra": (with_file(lambda f: f.tensors.update(extra=Tensor("extra.weight", [4]))), "extra.weight has no place"),
        "dims_0": (with_tensor(q, ne=[]), "has 0 dimensions"),
        "dims_5": (with_tensor(q, ne=[32, 1, 1, 1, 1]), "has 5 dimensions"),
        "dims_3": (with_tensor(q, ne=[32, 32, 1]), "it must be [32, 32]"),
        "dimension_0": (with_tensor(q, ne=[0, 32]), "a dimension of 0"),
        "dimension_2_63": (with_tensor(q, ne=[1 << 63, 2]), "a dimension of"),
        "dimension_negative": (with_tensor(q, ne=[32, (1 << 64) - 32]), "a dimension of"),
        "shape_wraps_to_0": (with_tensor(q, ne=[1 << 32, 1 << 32], data=b""), "larger than any file"),
        "shape_wraps_to_small": (with_tensor(q, ne=[32, (1 << 62) + 1, 4], type=TYPE_F32, data=b""), "larger than any file"),
        "bytes_wrap": (with_tensor(q, ne=[32, 1 << 57], data=b""), ""),
        "ragged_row": (with_tensor(q, ne=[33, 32]), "no whole number of Q4_0 blocks"),
        "type_unknown": (with_tensor(q, type=12), "of type 12"),
        "type_huge": (with_tensor(q, type=0xFFFFFFFF), "of type 4294967295"),
        "offset_unaligned": (with_tensor("output_norm.weight", offset=33), "no multiple of the alignment"),
        "offset_wraps": (with_tensor(q, offset=(1 << 64) - 32), "beyond any file"),
        "offset_2_63": (with_tensor(q, offset=1 << 63), "truncated: tensor"),
        "alignment_0": (with_key("general.alignment", U32, u32(0)), "general.alignment is 0"),
        "alignment_3": (with_key("general.alignment", U32, u32(3)), "general.alignment is 3"),
        "alignment_2_31": (with_key("general.alignment", U32, u32(1 << 31)), "general.alignment is 2147483648"),
        "alignment_u64": (with_key("general.alignment", U64, struct.pack("<Q", 32)), "general.alignment is of type 10"),
        "alignment_string": (with_key("general.alignment", STRING, string("32")), "general.alignment is of type 8"),
        "architecture_gpt2": (with_key("general.architecture", STRING, string("gpt2")), "'gpt2' is not run by this build (qig, llama, arcee,"),
        "architecture_missing": (with_file(lambda f: f.keys.pop("general.architecture")), "'general.architecture' is missing"),
        "architecture_number": (with_key("general.architecture", U32, u32(1)), "must be a string"),
        "config_of_u64": (with_key("qig.context_length", U64, struct.pack("<Q", 64)), "must be a u32"),
        "config_of_u8": (with_key("qig.context_length", U8, b"\x40"), "must be a u32"),
        "config_as_array": (with_key("qig.context_length", ARRAY, array(U32, 1, u32(64))), "must be a u32"),
        "phases_2": (with_key("qig.attention.state_phases", BOOL, b"\2"), "must be a bool"),
        "state_unknown": (with_key("qig.attention.state", STRING, string("mixed")), "state 'mixed' is not run by this build (pure, diagonal)"),
        "metric_unknown": (with_key("qig.attention.metric", STRING, string("euclid")), "metric 'euclid'"),
        "heads_not_divided": (with_key("qig.attention.head_count_kv", U32, u32(3)), "no multiple of 3"),
        "head_dim_odd": (with_key("qig.attention.key_length", U32, u32(15)), "must be even and equal"),
        "value_length_other": (with_key("qig.attention.value_length", U32, u32(32)), "must be even and equal"),
        "slopes_of_u8": (with_key("qig.attention.decay_slopes", ARRAY, array(U8, 2, b"\1\1")), "must be an array of 2 f32"),
        "slopes_too_few": (with_key("qig.attention.decay_slopes", ARRAY, array(F32, 1, f32(1))), "must be an array of 2 f32"),
        "slopes_nan": (with_key("qig.attention.decay_slopes", ARRAY, array(F32, 2, f32(1) + f32(float("nan")))), "decay_slopes[1] is"),
        "coupling_crossed": (with_key("qig.coupling.max", F32, f32(0.1)), "at least 0.25"),
        "threshold_1": (with_key("qig.gate.threshold", F32, f32(1)), "in [0, 1)"),
        "tokens_missing": (with_file(lambda f: f.keys.pop("tokenizer.ggml.tokens")), "no tokenizer"),
        "tokenizer_missing": (with_file(lambda f: without(f, "tokenizer.")), "no tokenizer"),
        "tokenizer_bert": (with_key("tokenizer.ggml.model", STRING, string("bert")), "'bert' is not run by this build (gpt2, llama)"),
        "pre_default": (with_key("tokenizer.ggml.pre", STRING, string("default")), "'default' is not run by this build (gpt-2, smollm, llama-bpe,"),
        "tokens_of_u8": (with_key("tokenizer.ggml.tokens", ARRAY, array(U8, 4, b"abcd")), "must be an array of strings"),
        "tokens_none": (with_key("tokenizer.ggml.tokens", ARRAY, array(STRING, 0, b"")), "a vocabulary of 0 tokens"),
        "token_types_of_u8": (with_key("tokenizer.ggml.token_type", ARRAY, array(U8, 270, b"\1" * 270)), "must be an array of i32"),
        "token_types_too_few": (with_key("tokenizer.ggml.token_type", ARRAY, array(I32, 1, u32(1))), "270 tokens but 1 token types"),
        "token_type_byte": (with_key("tokenizer.ggml.token_type", ARRAY, array(I32, 270, u32(6) * 270)), "token 0 is of type 6"),
        "merges_of_i32": (with_key("tokenizer.ggml.merges", ARRAY, array(I32, 1, u32(0))), "must be an array of strings"),
        "merge_without_space": (with_key("tokenizer.ggml.merges", ARRAY, strings(["he"])), "is not two tokens"),
        "merge_half": (with_key("tokenizer.ggml.merges", ARRAY, strings(["h "])), "is not two tokens"),
        "merge_unknown": (with_key("tokenizer.ggml.merges", ARRAY, strings(["x y"])), "is not in the vocabulary"),
        "merge_not_bytes": (with_key("tokenizer.ggml.merges", ARRAY, strings(["\u20ac y"])), "is not in the vocabulary"),
        "eos_missing": (with_file(lambda f: f.keys.pop("tokenizer.ggml.eos_token_id")), "eos_token_id' is missing"),
        "eos_out_of_range": (with_key("tokenizer.ggml.eos_token_id", U32, u32(270)), "eos_token_id is 270"),
        "eot_out_of_range": (with_key("tokenizer.ggml.eot_token_id", U32, u32(0xFFFFFFFF)), "eot_token_id is 4294967295"),
        "chat_in_part": (with_file(lambda f: f.keys.pop("qig.chat.user")), "a chat format needs all of"),
        "chat_end_elsewhere": (with_key("qig.chat.end", STRING, string("bye")), "does not hold the end-of-turn token"),
        "chat_empty": (with_key("qig.chat.user", STRING, string("")), "must be a string of 1 to"),
        "temp_nan": (with_tensor("blk.0.attn_temp.weight", data=f32(float("nan")) * 2), "attn_temp.weight[0] is"),
        "temp_0": (with_tensor("blk.0.attn_temp.weight", data=f32(0.1) + f32(0)), "attn_temp.weight[1] is 0"),
        "gain_inf": (with_tensor("blk.0.attn_k_gain.weight", data=f32(float("inf"))), "attn_k_gain.weight[0] is inf"),
        "norm_of_f16": (with_tensor("output_norm.weight", type=TYPE_F16), "it must be F32"),
        "vocabulary_other": (with_tensor("token_embd.weight", ne=[32, 269]), "token_embd.weight is [269, 32], it must be [270, 32]"),
    }
    for size in (62, 63, 64):
        count = (1 << size) - (size == 64)
        out[f"string_2_{size}"] = with_key("x", STRING, struct.pack("<Q", count)), "truncated: the value of key 'x'"
        out[f"array_2_{size}"] = with_key("x", ARRAY, array(U8, count, b"")), "truncated: the value of key 'x'"
        out[f"array_of_f64_2_{size}"] = with_key("x", ARRAY, array(F64, count, b"")), "truncated: the value of key 'x'"
        out[f"array_of_strings_2_{size}"] = with_key("x", ARRAY, array(STRING, count, b"")), "truncated: the value of key 'x'"
        out[f"key_name_2_{size}"] = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, count) + bytes(64), "truncated: key 1 of 1"
        out[f"string_in_array_2_{size}"] = with_key("x", ARRAY, array(STRING, 1, struct.pack("<Q", count))), "truncated: the value of key 'x'"
    for name, v in bad_f32:
        out[f"eps_{name}"] = with_key("qig.attention.layer_norm_rms_epsilon", F32, f32(v)), "layer_norm_rms_epsilon is"
        out[f"margin_{name}"] = with_key("qig.gate.margin", F32, f32(v)), "gate.margin is"
        out[f"rope_{name}"] = with_key("qig.rope.freq_base", F32, f32(v)), "freq_base is"
    sizes = ("context_length", "block_count", "embedding_length", "attention.head_count", "attention.key_length", "basin_length")
    for key in (f"qig.{size}" for size in sizes):
        says = "basin_proj.weight has no place" if key == "qig.basin_length" else f"{key} is 0"  # 0 there: an embedding without factors
        out[f"{key}_0"] = with_key(key, U32, u32(0)), says
        out[f"{key}_huge"] = with_key(key, U32, u32(0xFFFFFFFF)), f"{key} is 4294967295"
    # Texts that other readers take for byte tokens; here they are byte-level text and stand for themselves, so byte 0xff is missing.
    for i, text in enumerate(("<0x-1>", "<0xGG>", "<0x100>", "<0x>")):
        out[f"byte_token_{i}"] = with_key("tokenizer.ggml.tokens", ARRAY, tokens.replace(string("\u00ff"), string(text))), "no token for byte 0xff"
    out["token_empty"] = with_key("tokenizer.ggml.tokens", ARRAY, tokens.replace(string("hell"), string(""))), "has 0 bytes of text"
    out["token_not_bytes"] = with_key("tokenizer.ggml.tokens", ARRAY, tokens.replace(string("hell"), string("h\u20ac"))), "not the byte-level text"
    out["token_not_utf8"] = with_key("tokenizer.ggml.tokens", ARRAY, tokens.replace(string("hell"), string(b"h\xff"))), "not the byte-level text"
    out["token_twice"] = with_key("tokenizer.ggml.tokens", ARRAY, tokens.replace(string("hell"), string("he"))), "have the same text"
    out["control_twice"] = with_key("tokenizer.ggml.tokens", ARRAY, tokens.replace(string("<|user|>"), string("<|system|>"))), "have the same text"
    out["control_too_long"] = with_key("tokenizer.ggml.tokens", ARRAY, tokens.replace(string("<|user|>"), string("u" * 257))), "has 257 bytes of text"
    out |= hostile_depth() | beside("llama_seeds").hostile() | beside("jarvis_seeds").hostile()
    whole = tiny().render()
    out["tensor_at_the_end"] = with_tensor(q, offset=len(whole) // 32 * 32), f"truncated: tensor {q} ends at byte"
    return out


def boundaries() -> dict[str, bytes]:
    """The valid file cut at the ends of its fields: after every header word, around every key and tensor, in the middle of the data."""
    f = tiny()
    whole = f.render()
    cuts = {1, 3, 4, 8, 16, 23, 24, len(whole) - 1, len(whole) - 31}
    for name in [*f.keys, *f.tensors]:
        at = whole.index(string(name))
        cuts |= {at, at + 4, at + 8, at + 8 + len(name), at + 12 + len(name), at + 16 + len(name)}
    return {f"cut_{n}": whole[:n] for n in sorted(cuts)}


TEXTS = {
    "english": b"Hello, hello! I'll see the others' tools; we've 42 of them, don't you'd 'S 's.",
    "spaces": b"  a\n\n b\t\tc \r\n   d   ",
    "scripts": "Ünïcödé café ２３ ٣٤ Ⅷ 日本語 हिन्दी ไทย \u00a0\u2003x\u3000y\u200bz e\u0301 \U0001f469\u200d\U0001f680".encode(),
    "controls": b"<|user|>hello<|end|><|assistant|><|en<|end|>|><|endoftext|><|endoftext",
    "invalid": b"ok \xff\xfe \xc0\x80 \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82 caf\xc3\xa9 \xf0\x9f\x91",
    "run": b"hellohello" * 60 + b"l" * 300,
    "zeros": bytes(40),
    "scored": "he</s>llo<file>  \u2581the xlxl ooooo\n<0x41>".encode(),
}


SESSIONS = 18  # models times types of cache in fuzz_session.c
HEADER = ("magic", 8), ("order", 4), ("version", 4), ("bytes", 8), ("model", 8), ("rng", 8), ("lse", 8)  # of a kept session, with their bytes
SHAPE = "pos", "cache_type", "n_caches", "dense", "n_kv_heads", "state_dim", "head_dim", "d_model", "vocab", "lag", "n_settings", "note_bytes"


def sessions() -> dict[str, bytes]:
    """Inputs of fuzz_session: kept sessions as they are, with a field of the header changed, or a byte elsewhere; a header that stands alone."""
    out = {f"kept_{i}": bytes([i]) for i in range(SESSIONS)}
    at = 0
    for name, size in (*HEADER, *((n, 4) for n in SHAPE), ("sum", 8)):
        for byte, change in ((0, 1), (0, 0xFF), (size - 1, 0x80)):
            out[f"{name}_{byte}_{change}"] = bytes([5]) + struct.pack("<HB", at + byte, change)
        at += size
    for i in range(SESSIONS):
        out |= {f"byte_{i}_{k}": bytes([i]) + struct.pack("<HB", k, 0x7F) for k in range(at, 30000, 997 + 10 * i)}
    out["wrong_sum"] = bytes([0x40]) + struct.pack("<HB", at + 300, 1)
    head = b"QIGSESS\n" + struct.pack("<II4Q", 0x01020304, 1, 0, 0, 7, 0) + struct.pack("<12i", 0, 1, 4, 4, 1, 16, 16, 32, 271, 0, 2, 0)
    return out | {f"whole_{i}": bytes([0x80 | i]) + head + bytes(n) for i in range(2) for n in (0, 8, 64, 96)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("dir", type=Path, help="folder of the corpora; made if it is not there")
    out: Path = parser.parse_args().dir
    import scored_seeds  # the module beside this one, which builds on it

    whole, broken = valid() | scored_seeds.valid(), hostile() | scored_seeds.hostile()
    ggufs = {**{f"valid_{n}": b for n, b in whole.items()}, **{n: b for n, (b, _) in broken.items()}, **boundaries()}
    for folder, files, suffix in (("fuzz_gguf", ggufs, ".gguf"), ("fuzz_session", sessions(), ".bin"), ("fuzz_tokenizer", TEXTS, ".txt")):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (out / folder / (name + suffix)).write_bytes(data)
        print(f"{out / folder}: {len(files)} seeds", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
