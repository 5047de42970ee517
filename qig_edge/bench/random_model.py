"""A GGUF of a preset's shape with random weights, all of one type: what a model of that size costs, before anybody trained it.

Weights keep the variance of their layer's input, so that activations stay finite; the tokenizer has the bytes and made-up merges.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.bench.llama_shape import SHAPES, LlamaShape
from qig_edge.bench.spread import Spread
from qig_edge.config import ModelConfig, preset_model
from qig_edge.convert.gguf_file import written
from qig_edge.convert.keys import add_keys
from qig_edge.convert.names import TensorName, architecture, check_format, tensor_names
from qig_edge.errors import ConfigError
from qig_edge.runtime.files import replacing
from qig_edge.thresholds import Thresholds

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFWriter

CONTROL = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
BLOCK = 32
TYPES = ("q4_0", "q8_0")
# standard deviations of a nibble drawn evenly from 0..15, of a byte from -128..127
NIBBLE_STD, BYTE_STD = (255 / 12) ** 0.5, (65535 / 12) ** 0.5
MAKE = 2  # counted up when the file made from the same preset changes


def cache_dir() -> Path:
    """Folder for files that can be made again: XDG_CACHE_HOME/qig-edge, ~/Library/Caches/qig-edge on a Mac."""
    default = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "qig-edge"


def random_model(
    preset: str,
    folder: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    kind: str = "q4_0",
    trained: Path | None = None,
) -> Path:
    """Path of the random model of a preset's shape, of a type of TYPES, made in the cache folder where it is not there yet.

    trained: a model file to spread over that shape (spread.py) in place of random weights. Raises ConfigError for an unknown preset or type,
    widths that blocks do not divide or shapes that do not fit, CheckpointError for a model without a GGUF form, ModelFileError for `trained`.
    """
    if kind not in TYPES:
        raise ConfigError(f"type '{kind}' must be one of {', '.join(TYPES)}")
    config: ModelConfig | LlamaShape = SHAPES[preset] if preset in SHAPES else preset_model(preset)
    if isinstance(config, ModelConfig):
        check_format(config)
    elif trained:
        raise ConfigError(f"--trained: a QIG model cannot be spread over the shape of {preset}")
    spread = Spread(trained, config) if trained and isinstance(config, ModelConfig) else None
    source = hashlib.sha256(trained.read_bytes()).hexdigest() if trained else None
    mark = hashlib.sha256(json.dumps([MAKE, kind, dataclasses.asdict(config), source], sort_keys=True).encode()).hexdigest()[:12]
    name = f"{trained.stem if trained else 'random'}-{Path(preset).stem}"
    path = (folder or cache_dir()) / f"{name}-{kind}-{mark}.gguf"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_random(config, name, path, progress, kind=kind, spread=spread)
    return path


def matrices(config: ModelConfig | LlamaShape) -> dict[str, tuple[int, int]]:
    """Name and [out, in] of every matrix of a model, in the order of docs/formats.md."""
    if isinstance(config, LlamaShape):
        return config.matrices()
    return {t.gguf: (t.shape[0], t.shape[1]) for t in tensor_names(config) if t.part is not None}


def write_random(
    config: ModelConfig | LlamaShape,
    name: str,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
    kind: str = "q4_0",
    spread: Spread | None = None,
) -> None:
    """Writes the model; `path` appears whole or not at all. progress(done, total) counts matrices; spread gives the tensors that it has."""
    import gguf
    import numpy as np

    shapes = matrices(config)
    odd = sorted({width for _, width in shapes.values() if width % BLOCK})
    if odd:
        raise ConfigError(f"{name}: rows of {odd[0]} weights do not divide into blocks of {BLOCK}")
    rng = np.random.default_rng(seed)
    with replacing(path) as partial:
        writer = gguf.GGUFWriter(partial, "llama" if isinstance(config, LlamaShape) else architecture(config))
        with written(writer):
            _write_all(writer, config, name, shapes, rng, kind, progress, spread)


def _write_all(
    writer: GGUFWriter,
    config: ModelConfig | LlamaShape,
    name: str,
    shapes: dict[str, tuple[int, int]],
    rng: np.random.Generator,
    kind: str,
    progress: Callable[[int, int], None] | None,
    spread: Spread | None,
) -> None:
    import gguf

    if isinstance(config, LlamaShape):
        _add_llama_keys(writer, config, kind, name)
    else:
        # every token runs every block with its deep feed-forward: what depth saves hangs on trained weights
        thresholds = dataclasses.replace(Thresholds.of(config), regime_low=0.0, regime_high=1.0)
        if spread:
            thresholds = dataclasses.replace(thresholds, coupling_beta=spread.coupling_beta)
        add_keys(writer, config, thresholds, f"MOSTLY_{kind.upper()}", name)
    _write_tokenizer(writer, spread.vocabulary() if spread else _vocabulary(config.vocab_size))
    for done, (tensor, (rows, width)) in enumerate(shapes.items()):
        made = spread.matrix(tensor, (rows, width), kind) if spread else None
        data, of = made or (_random_blocks(rng, rows, width, kind), kind)
        writer.add_tensor(tensor, data, raw_dtype=gguf.GGMLQuantizationType[of.upper()])
        if progress:
            progress(done + 1, len(shapes))
    for vector, values in _vectors(config, spread):
        writer.add_tensor(vector, values)


def _add_llama_keys(writer: GGUFWriter, shape: LlamaShape, kind: str, name: str) -> None:
    import gguf

    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind.upper()}"])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    for key, value in shape.keys().items():
        if isinstance(value, int):
            writer.add_uint32(f"llama.{key}", value)
        else:
            writer.add_float32(f"llama.{key}", value)


def _vectors(config: ModelConfig | LlamaShape, spread: Spread | None) -> Iterator[tuple[str, np.ndarray]]:
    """Name and float32 values of every tensor that is no matrix of weights."""
    import numpy as np

    if isinstance(config, LlamaShape):
        yield from ((name, np.ones(config.d_model, np.float32)) for name in config.norms())
        return
    for plain in tensor_names(config):
        if plain.part is None:
            values = spread.plain(plain.gguf, plain.shape) if spread else None
            yield plain.gguf, _plain(plain, config) if values is None else values


def _plain(tensor: TensorName, config: ModelConfig) -> np.ndarray:
    """float32 values of a tensor that is no matrix of weights: temperatures as they begin, no gate, no scale, orthonormal rows."""
    import numpy as np

    kind = tensor.gguf.split(".")[-2]
    if len(tensor.shape) == 2:
        return np.eye(*tensor.shape, dtype=np.float32)
    off = kind in ("attn_gate", "ffn_route", "exit_probe")
    return np.full(tensor.shape, config.temperature_init if kind == "attn_temp" else 0.0 if off else 1.0, np.float32)


def _random_blocks(rng: np.random.Generator, rows: int, width: int, kind: str) -> np.ndarray:
    """uint8[rows, bytes]: blocks of an fp16 scale and 32 nibbles or bytes, weights of standard deviation 1 / sqrt(width)."""
    import numpy as np

    blocks, size, std = rows * width // BLOCK, *((BLOCK // 2, NIBBLE_STD) if kind == "q4_0" else (BLOCK, BYTE_STD))
    out = np.empty((blocks, 2 + size), np.uint8)
    scale = (rng.uniform(0.9, 1.1, blocks) / (std * width**0.5)).astype("<f2")
    out[:, :2] = scale.view(np.uint8).reshape(blocks, 2)
    out[:, 2:] = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    return out.reshape(rows, -1)


def _write_tokenizer(writer: GGUFWriter, vocabulary: tuple[list[str], list[int], list[str]]) -> None:
    tokens, kinds, merges = vocabulary
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_eos_token_id(0)
    writer.add_eot_token_id(4)


def _vocabulary(size: int) -> tuple[list[str], list[int], list[str]]:
    """Control tokens, the 256 bytes in GPT-2's letters, and then each token so far joined with each byte until there are `size`; types, merges."""
    if size < len(CONTROL) + 256:
        raise ConfigError(
            f"vocab_size = {size} must be at least {len(CONTROL) + 256}: the bytes and the control tokens"
        )
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(c) for c in plain] + [chr(256 + i) for i in range(256 - len(plain))]
    tokens, merges = [*CONTROL, *letters], []
    i = len(CONTROL)
    while len(tokens) < size:
        for letter in letters[: size - len(tokens)]:
            merges.append(f"{tokens[i]} {letter}")
            tokens.append(tokens[i] + letter)
        i += 1
    return tokens, [3] * len(CONTROL) + [1] * (len(tokens) - len(CONTROL)), merges
