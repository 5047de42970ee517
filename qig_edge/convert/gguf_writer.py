"""A model as a GGUF file: keys, tokenizer and tensors of docs/formats.md, written by the `gguf` package."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.convert import rounding
from qig_edge.convert.gguf_file import written
from qig_edge.convert.keys import Origin, add_keys
from qig_edge.convert.names import TensorName, architecture, check_format, tensor_names
from qig_edge.convert.recipe import BLOCK, QUANTIZED, Recipe, odd_width
from qig_edge.errors import CheckpointError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter
    from tokenizers import Tokenizer
    from torch import Tensor

    from qig_edge.model.kernel import Kernel

NORMAL, CONTROL = 1, 3  # tokenizer.ggml.token_type


@dataclasses.dataclass(frozen=True)
class Written:
    """tensors by type; notes: one line for each thing that a user should know; lost: for each matrix that was rounded the share of its products'
    energy that changed (rounding.lost), where write_gguf was given moments."""

    tensors: dict[str, int]
    notes: list[str]
    lost: dict[str, float] = dataclasses.field(default_factory=dict)


def write_gguf(
    path: Path,
    model: Kernel,
    tokenizer: Tokenizer,
    recipe: Recipe,
    name: str,
    progress: Callable[[int, int], None] | None = None,
    sparse_down: bool = False,
    moments: Mapping[str, np.ndarray] | None = None,
    origin: Origin | None = None,
) -> Written:
    """Writes `path`, which is left incomplete where an error is raised (the caller gives a partial file's name).

    progress(done, total) counts tensors; sparse_down as in tensor_names; moments (calibration.moments): what 4-bit rounding is fitted to, without
    them every weight goes to the nearest place, as 4-bit-aware training has it. Raises CheckpointError for a model or tokenizer that the format
    does not describe, and for weights that are no finite numbers or do not fit a half-precision type; OSError where the disk refuses.
    """
    import gguf

    config = model.config
    check_format(config)
    tensors = tensor_names(config, sparse_down and config.attention == "qfi")
    weights = model.state_dict()
    writer = gguf.GGUFWriter(path, architecture(config))
    counts: dict[str, int] = {}
    lost: dict[str, float] = {}
    odd: dict[int, list[str]] = {}
    with written(writer):
        add_keys(writer, config, model.thresholds(), file_type(tensors, recipe), name, origin)
        _add_tokenizer(writer, tokenizer, config.vocab_size)
        for done, tensor in enumerate(tensors):
            kind = recipe.kind(tensor)
            values = _values(tensor, weights)
            data = _encode(tensor, values, kind, moments)
            if moments is not None and tensor.part is not None and kind != "f32":
                lost[tensor.gguf] = _lost(tensor, values, data, kind, moments)
            writer.add_tensor(tensor.gguf, data, raw_dtype=gguf.GGMLQuantizationType[kind.upper()])
            counts[kind] = counts.get(kind, 0) + 1
            if tensor.part and odd_width(tensor) and recipe.asked(tensor) in QUANTIZED:
                odd.setdefault(odd_width(tensor), []).append(tensor.gguf)
            if progress:
                progress(done + 1, len(tensors))
    notes = [
        f"{len(names)} tensors ({names[0]}{', ...' if len(names) > 1 else ''}) are F16: rows of {width} weights do not divide into blocks of {BLOCK}"
        for width, names in sorted(odd.items())
    ]
    return Written(counts, notes, lost)


def encoded(
    tensor: TensorName, weights: Mapping[str, Tensor], kind: str, moments: Mapping[str, np.ndarray] | None
) -> np.ndarray:
    """One tensor of a state_dict as write_gguf stores it: floats, or uint8 rows of blocks. Raises as write_gguf does."""
    return _encode(tensor, _values(tensor, weights), kind, moments)


def _values(tensor: TensorName, weights: Mapping[str, Tensor]) -> np.ndarray:
    """float32 in the shape that the file gives it."""
    import numpy as np

    parts = [weights[name].detach().float().cpu().numpy() for name in (tensor.torch, tensor.then) if name]
    if tensor.transposed:
        return parts[0].T
    if tensor.interleaved:  # [heads, 2, C / 2, D] -> [heads, C / 2, 2, D]
        rows, width = tensor.shape
        return parts[0].reshape(tensor.interleaved, 2, -1, width).swapaxes(1, 2).reshape(rows, width)
    return parts[0] if tensor.then is None else np.concatenate([part.ravel() for part in parts])


def file_type(tensors: list[TensorName], recipe: Recipe) -> str:
    """The name of gguf's LlamaFileType for the type that most weights have."""
    sizes: dict[str, int] = {}
    for tensor in tensors:
        kind = recipe.kind(tensor)
        sizes[kind] = sizes.get(kind, 0) + math.prod(tensor.shape)
    most = max(sizes, key=lambda kind: sizes[kind])
    return "ALL_F32" if most == "f32" else f"MOSTLY_{most.upper()}"


def _encode(tensor: TensorName, data: np.ndarray, kind: str, moments: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """The tensor's bytes as its type stores them: float arrays, or uint8 rows of blocks."""
    import gguf
    import numpy as np

    if data.shape != tensor.shape:
        raise CheckpointError(f"{tensor.torch} is {list(data.shape)}, the configuration says {list(tensor.shape)}")
    if tensor.exponential:
        data = np.exp(data.astype(np.float64)).astype(np.float32)
    if tensor.within:
        data = data.clip(*tensor.within)
    if not np.isfinite(data).all():
        raise CheckpointError(
            f"{tensor.torch} holds values that are not finite: the training went wrong before this checkpoint"
        )
    # in half precision: the value itself, the scale of a block (the largest weight / 8 or / 127), the smallest weight of a Q4_1 block
    limit = {"f16": 1, "q4_0": 8, "q4_1": 1, "q8_0": 127}.get(kind, np.inf) * 65504.0
    if not np.abs(data).max() <= limit:
        raise CheckpointError(
            f"{tensor.torch} holds {np.abs(data).max():g}, more than {kind} can (at most {limit:g}): use --f32"
        )
    if moments is not None and tensor.part is not None and kind in rounding.COMPENSATED:
        return rounding.blocks(_as_product(tensor, data), kind, moments.get(tensor.part), tensor.transposed)
    return gguf.quants.quantize(np.ascontiguousarray(data), gguf.GGMLQuantizationType[kind.upper()])


def _as_product(tensor: TensorName, data: np.ndarray) -> np.ndarray:
    """[out, in], whichever way the file holds it."""
    return data.T if tensor.transposed else data


def _lost(
    tensor: TensorName, values: np.ndarray, data: np.ndarray, kind: str, moments: Mapping[str, np.ndarray]
) -> float:
    import gguf

    restored = gguf.quants.dequantize(data, gguf.GGMLQuantizationType[kind.upper()])
    assert tensor.part is not None
    return rounding.lost(_as_product(tensor, values), _as_product(tensor, restored), moments.get(tensor.part))


def _add_tokenizer(writer: GGUFWriter, tokenizer: Tokenizer, vocab_size: int) -> None:
    from qig_edge.train.tokenizer import CONTROL as TOKENS

    tokens, kinds, merges = vocabulary(tokenizer, vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if merges:  # gguf writes no empty array
        writer.add_token_merges(merges)
    writer.add_eos_token_id(TOKENS.index("<|endoftext|>"))
    writer.add_eot_token_id(TOKENS.index("<|end|>"))


def vocabulary(tokenizer: Tokenizer, vocab_size: int) -> tuple[list[str], list[int], list[str]]:
    """Texts (in GPT-2's byte letters), types and merges as GGUF stores them; ids that the tokenizer lacks become control tokens that no text makes.

    Raises CheckpointError where it is not a plain byte-level BPE, or has more entries than vocab_size.
    """
    table = json.loads(tokenizer.to_str())
    _check_kind(table)
    model = table["model"]
    texts: dict[int, str] = {i: text for text, i in model["vocab"].items()}
    control = set()
    for token in table["added_tokens"]:
        texts[token["id"]] = token["content"]
        control.add(token["id"])
        if not token["special"] or token["lstrip"] or token["rstrip"] or token["single_word"] or token["normalized"]:
            raise CheckpointError(
                f"the tokenizer's added token '{token['content']}' is no plain special token: it has no GGUF form here"
            )
    if max(texts) >= vocab_size:
        raise CheckpointError(f"the tokenizer has the id {max(texts)}, the model's vocab_size is {vocab_size}")
    tokens = [texts.get(i, f"<|unused-{i}|>") for i in range(vocab_size)]
    kinds = [CONTROL if i in control or i not in texts else NORMAL for i in range(vocab_size)]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    return tokens, kinds, merges


def _check_kind(table: dict[str, Any]) -> None:
    """Raises CheckpointError for what would tokenize otherwise than libqig does."""
    model, pre = table["model"], table["pre_tokenizer"] or {}
    wanted = {
        "model.type": (model.get("type"), "BPE"),
        "model.dropout": (model.get("dropout") or None, None),
        "model.continuing_subword_prefix": (model.get("continuing_subword_prefix") or None, None),
        "model.end_of_word_suffix": (model.get("end_of_word_suffix") or None, None),
        "model.byte_fallback": (bool(model.get("byte_fallback")), False),
        "model.ignore_merges": (bool(model.get("ignore_merges")), False),
        "normalizer": (table.get("normalizer"), None),
        "pre_tokenizer.type": (pre.get("type"), "ByteLevel"),
        "pre_tokenizer.add_prefix_space": (pre.get("add_prefix_space"), False),
        "pre_tokenizer.use_regex": (pre.get("use_regex"), True),
    }
    for key, (value, expected) in wanted.items():
        if value != expected:
            raise CheckpointError(
                f"the tokenizer is no plain byte-level BPE: {key} is {value!r}, expected {expected!r}"
            )
