"""A Jarvis model as a GGUF file, in two layouts (docs/formats.md): its own, architecture jarvis-quantum, which libqig runs; and that of gpt2, which
stock llama.cpp runs.

What gpt2 has and a Jarvis model has not is added so that it changes nothing, and the file says so: attention's output products are identities,
biases of products are zero, and the positions stand in a table.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qig_edge.convert.gguf_file import written
from qig_edge.convert.gguf_writer import file_type
from qig_edge.convert.jarvis_names import jarvis_tensors
from qig_edge.convert.keys import ALIGNMENT, Origin, add_origin
from qig_edge.convert.names import TensorName
from qig_edge.convert.recipe import Recipe, odd_width
from qig_edge.errors import CheckpointError, ConfigError
from qig_edge.jarvis.files import MODEL_TYPE, torch_state
from qig_edge.jarvis.network import Network, sinusoids
from qig_edge.train.words import EOS, EOS_ID, PAD, PAD_ID, from_vocabulary, is_words

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from tokenizers import Tokenizer

LAYOUTS = ("jarvis", "gpt2")
NORMAL, CONTROL = 1, 3  # tokenizer.ggml.token_type
ADDED = (
    "A Jarvis model in the layout of gpt2. Added, and without effect: attention's output products are identities (attn_output), biases of products"
    " are zero, the sines and cosines of the positions stand in position_embd, and the vocabulary has one merge that no text makes."
)
HALF_MOST = 65504.0


def write_jarvis(
    path: Path,
    network: Network,
    tokenizer: Tokenizer,
    recipe: Recipe,
    name: str,
    origin: Origin,
    layout: str = "jarvis",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[str]:
    """Writes `path`, which is left incomplete where an error is raised; returns notes, one line each.

    origin: of the .npz; progress(done, total) counts tensors. Raises ConfigError for a layout that is none, CheckpointError for a
    tokenizer that is no vocabulary of words, a model without final norm in the layout of gpt2, and weights that a type cannot hold; OSError where
    the disk refuses.
    """
    import gguf

    if layout not in LAYOUTS:
        raise ConfigError(f"--layout '{layout}' must be one of {', '.join(LAYOUTS)}")
    config, stock = network.config, layout == "gpt2"
    if stock and not config.final_norm:
        raise CheckpointError("a model without a norm before the head has no form in the layout of gpt2, which has one: leave --layout out")
    tokens, kinds = vocabulary(tokenizer, config.vocab_size)
    writer = gguf.GGUFWriter(path, "gpt2" if stock else MODEL_TYPE)
    with written(writer):
        writer.add_name(name)
        if stock:
            writer.add_description(ADDED)
        tensors = list(_gpt2(network) if stock else _own(network))
        writer.add_size_label(f"{config.param_counts()['total'] / 1e6:.3g}M")
        add_origin(writer, name, origin)
        writer.add_file_type(gguf.LlamaFileType[file_type([tensor for tensor, _ in tensors], recipe)])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        writer.add_custom_alignment(ALIGNMENT)
        writer.add_context_length(config.context_length)
        writer.add_embedding_length(config.d_model)
        writer.add_block_count(config.n_layers)
        writer.add_feed_forward_length(config.hidden_dim)
        writer.add_head_count(config.n_heads)
        writer.add_layer_norm_eps(config.norm_eps)
        writer.add_vocab_size(config.vocab_size)
        _add_tokenizer(writer, tokens, kinds, stock)
        notes = _add_tensors(writer, tensors, recipe, progress)
    return [*notes, ADDED] if stock else notes


def vocabulary(tokenizer: Tokenizer, vocab_size: int) -> tuple[list[str], list[int]]:
    """Texts (in the letters of byte-level BPE) and types by id; ids that the tokenizer lacks become control tokens that no text makes.

    Raises CheckpointError for a tokenizer that is no vocabulary of words as qig_edge.train.words makes them, or has more entries than vocab_size.
    """
    have = tokenizer.get_vocab_size()
    texts = [tokenizer.id_to_token(i) for i in range(have)]
    if not is_words(tokenizer) or None in texts or json.loads(from_vocabulary(texts).to_str()) != json.loads(tokenizer.to_str()):
        raise CheckpointError("the tokenizer is no vocabulary of words as qig-edge makes it: there is no GGUF form for another one here")
    if have > vocab_size:
        raise CheckpointError(f"the tokenizer has {have} entries, the model's vocab_size is {vocab_size}")
    texts += [f"<unused-{i}>" for i in range(have, vocab_size)]
    return texts, [CONTROL if i in (PAD_ID, EOS_ID) or i >= have else NORMAL for i in range(vocab_size)]


def _add_tokenizer(writer: GGUFWriter, tokens: list[str], kinds: list[int], stock: bool) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("llama-bpe")  # cuts the same pieces, and takes one that is a token whole
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if stock:  # llama.cpp wants some
        writer.add_token_merges([f"{PAD} {EOS}"])
    writer.add_eos_token_id(EOS_ID)
    writer.add_pad_token_id(PAD_ID)
    writer.add_add_bos_token(False)


def _own(network: Network) -> Iterator[tuple[TensorName, np.ndarray]]:
    state = torch_state(network.config, network.weights)
    return ((tensor, state[tensor.torch]) for tensor in jarvis_tensors(network.config))


def _gpt2(network: Network) -> Iterator[tuple[TensorName, np.ndarray]]:
    """Queries, keys and values in one matrix; what is added has no counterpart in torch."""
    config, joined = network.config, dict[str, np.ndarray]()
    d, zeros = config.d_model, np.zeros
    for tensor, values in _own(network):
        block, _, part = tensor.gguf.rpartition(".attn_")
        if part in ("q.weight", "k.weight", "v.weight"):
            joined[part] = values
            if part == "v.weight":
                rows = np.concatenate([joined[f"{p}.weight"] for p in "qkv"])
                yield dataclasses.replace(tensor, gguf=f"{block}.attn_qkv.weight", shape=rows.shape), rows
                yield _vector(f"{block}.attn_qkv.bias", zeros(3 * d, np.float32))
                yield dataclasses.replace(tensor, gguf=f"{block}.attn_output.weight"), np.eye(d, dtype=np.float32)
                yield _vector(f"{block}.attn_output.bias", zeros(d, np.float32))
            continue
        yield tensor, values
        if tensor.gguf == "token_embd.weight":
            table = sinusoids(0, config.context_length, d)
            yield TensorName("position_embd.weight", "positions", table.shape), table
        if ".ffn_up" in tensor.gguf or ".ffn_down" in tensor.gguf:
            yield _vector(tensor.gguf.replace("weight", "bias"), zeros(values.shape[0], np.float32))


def _vector(name: str, values: np.ndarray) -> tuple[TensorName, np.ndarray]:
    return TensorName(name, name, values.shape), values


def _add_tensors(
    writer: GGUFWriter,
    tensors: list[tuple[TensorName, np.ndarray]],
    recipe: Recipe,
    progress: Callable[[int, int], None],
) -> list[str]:
    import gguf

    odd: set[int] = set()
    for done, (tensor, values) in enumerate(tensors):
        kind = recipe.kind(tensor)
        if tensor.part and odd_width(tensor) and kind == "f16" and recipe.name != "f16":
            odd.add(odd_width(tensor))
        # the scale of a Q4_0 block is the largest weight / 8, of Q8_0 / 127, in half precision
        limit = {"f16": 1, "q4_0": 8, "q4_1": 1, "q8_0": 127}.get(kind, np.inf) * HALF_MOST
        if not np.abs(values).max() <= limit:
            raise CheckpointError(f"{tensor.gguf} holds {np.abs(values).max():g}, more than {kind} can (at most {limit:g}): use --f32")
        which = gguf.GGMLQuantizationType[kind.upper()]
        writer.add_tensor(tensor.gguf, gguf.quants.quantize(np.ascontiguousarray(values, np.float32), which), raw_dtype=which)
        progress(done + 1, len(tensors))
    return [f"matrices with rows of {width} weights are F16: they do not divide into blocks" for width in sorted(odd)]
