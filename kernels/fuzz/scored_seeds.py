"""Seeds of the fuzzers with a vocabulary by scores, SentencePiece's: what make_seeds.py writes beside its own."""

from __future__ import annotations

import struct

from make_seeds import ARRAY, BOOL, F32, I32, STRING, U8, U32, File, array, string, strings, tiny, without


def scored(
    special: int = 3,
    texts: dict[int, str | bytes] | None = None,
    kinds: dict[int, int] | None = None,
    scores: tuple[float, ...] = (),
) -> File:
    """tiny() with a vocabulary by scores, of as many tokens: <unk>, <s>, </s>, bytes, pieces.

    special: kind of <s> and </s>; texts, kinds: other ones by id; scores: of the first tokens.
    """
    words: list[str | bytes] = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    words += ["\u2581", "h", "e", "l", "o", "he", "ll", "\u2581t", "hell", "<file>", "[PAD]"]
    types = [2, special, special, *[6] * 256, *[1] * 9, 4, 5]
    f, n = without(without(tiny(), "qig.chat."), "tokenizer."), len(words)
    for i, text in (texts or {}).items():
        words[i] = text
    for i, kind in (kinds or {}).items():
        types[i] = kind
    rows = [*scores, *(-float(i) for i in range(len(scores), n))]
    f.keys |= {
        "tokenizer.ggml.model": (STRING, string("llama")),
        "tokenizer.ggml.tokens": (ARRAY, strings(words)),
        "tokenizer.ggml.token_type": (ARRAY, array(I32, n, struct.pack(f"<{n}i", *types))),
        "tokenizer.ggml.scores": (ARRAY, array(F32, n, struct.pack(f"<{n}f", *rows))),
        "tokenizer.ggml.bos_token_id": (U32, struct.pack("<I", 1)),
        "tokenizer.ggml.eos_token_id": (U32, struct.pack("<I", 2)),
        "tokenizer.ggml.add_space_prefix": (BOOL, b"\0"),
        "tokenizer.chat_template": (STRING, string("{{ '<|user|>' + eos_token }}{{ '<|assistant|>' }}")),
    }
    return f


def hostile() -> dict[str, tuple[bytes, str]]:
    """Vocabularies by scores that must be refused: findings in other readers, and what no text could be encoded with."""
    u32, missing = lambda v: (U32, struct.pack("<I", v)), "is missing"  # noqa: E731

    def key(name: str, value: tuple[int, bytes] | None) -> bytes:
        f = scored()
        f.keys.pop(f"tokenizer.{name}", None)
        return File({**f.keys, f"tokenizer.{name}": value} if value else f.keys, f.tensors).render()

    byte_texts = ("<0x-1>", "<0x4a>", "<0xGG>", "<0x100>", "<0x>", "A")
    out = {f"scored_byte_{i}": (scored(texts={68: t}).render(), "is no byte from <0x00>") for i, t in enumerate(byte_texts)}
    for name in ("nan", "inf", "-inf"):
        out[f"scored_{name}"] = scored(scores=(0.0, float(name))).render(), f"the score of token 1 is {name}"
    return out | {
        "scored_byte_missing": (scored(kinds={68: 1}).render(), "no token for byte 0x41"),
        "scored_byte_twice": (scored(texts={68: "<0x42>"}).render(), "tokens 68 and 69 have the same text"),
        "scored_piece_twice": (scored(texts={260: "e"}).render(), "tokens 260 and 261 have the same text"),
        "scored_special_twice": (scored(texts={2: "<s>"}).render(), "have the same text"),
        "scored_piece_long": (scored(texts={260: "h" * 1025}).render(), "token 260 has 1025 bytes of text (1 to 1024)"),
        "scored_piece_empty": (scored(texts={260: ""}).render(), "token 260 has 0 bytes"),
        "scored_type_0": (scored(kinds={260: 0}).render(), "token 260 is of type 0"),
        "scored_type_7": (scored(kinds={260: 7}).render(), "token 260 is of type 7"),
        "scores_missing": (key("ggml.scores", None), f"scores' {missing}"),
        "scores_of_i32": (key("ggml.scores", (ARRAY, array(I32, 1, bytes(4)))), "must be an array of f32"),
        "scores_too_few": (key("ggml.scores", (ARRAY, array(F32, 269, bytes(4 * 269)))), "270 tokens but 269 scores"),
        "scores_too_many": (key("ggml.scores", (ARRAY, array(F32, 271, bytes(4 * 271)))), "270 tokens but 271 scores"),
        "scored_bos_missing": (key("ggml.bos_token_id", None), f"bos_token_id' {missing}"),
        "scored_bos_out_of_range": (key("ggml.bos_token_id", u32(270)), "bos_token_id is 270"),
        "scored_add_bos_u8": (key("ggml.add_bos_token", (U8, b"\1")), "must be a bool"),
        "scored_prefix_string": (key("ggml.add_space_prefix", (STRING, string("true"))), "must be a bool"),
        "scored_template_u32": (key("chat_template", u32(1)), "chat_template' must be a string"),
    }


def valid() -> dict[str, bytes]:
    """Files that libqig must open."""
    return {"scored": scored().render(), "scored_ends_typed": scored(special=4).render()}
