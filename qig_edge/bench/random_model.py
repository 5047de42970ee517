"""A GGUF of a preset's shape with random weights, all of one type: what a model of that size costs, before anybody trained it.

Weights keep the variance of their layer's input, so that activations stay finite; the tokenizer has the bytes and made-up merges.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qig_edge.config import ModelConfig, preset_model
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
    preset: str, folder: Path | None = None, progress: Callable[[int, int], None] | None = None, kind: str = "q4_0"
) -> Path:
    """Path of the random model of a preset's shape, of a type of TYPES, made in the cache folder where it is not there yet.

    Raises ConfigError for an unknown preset or type or widths that blocks do not divide, CheckpointError for a model without a GGUF form.
    """
    if kind not in TYPES:
        raise ConfigError(f"type '{kind}' must be one of {', '.join(TYPES)}")
    config = preset_model(preset)
    check_format(config)
    mark = hashlib.sha256(json.dumps([MAKE, kind, config.to_dict()], sort_keys=True).encode()).hexdigest()[:12]
    path = (folder or cache_dir()) / f"random-{Path(preset).stem}-{kind}-{mark}.gguf"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_random(config, f"random-{Path(preset).stem}", path, progress, kind=kind)
    return path


def matrices(config: ModelConfig) -> dict[str, tuple[int, int]]:
    """Name and [out, in] of every matrix of a model, in the order of docs/formats.md."""
    return {t.gguf: (t.shape[0], t.shape[1]) for t in tensor_names(config) if t.part is not None}


def write_random(
    config: ModelConfig,
    name: str,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
    kind: str = "q4_0",
) -> None:
    """Writes the model; `path` appears whole or not at all. progress(done, total) counts matrices."""
    import gguf
    import numpy as np

    shapes = matrices(config)
    odd = sorted({width for _, width in shapes.values() if width % BLOCK})
    if odd:
        raise ConfigError(f"{name}: rows of {odd[0]} weights do not divide into blocks of {BLOCK}")
    rng = np.random.default_rng(seed)
    with replacing(path) as partial:
        writer = gguf.GGUFWriter(partial, architecture(config))
        with _closing(writer):
            _write_all(writer, config, name, shapes, rng, kind, progress)


@contextlib.contextmanager
def _closing(writer: GGUFWriter) -> Iterator[None]:
    try:
        yield
    finally:
        for file in writer.fout or []:
            with contextlib.suppress(OSError):  # after a full disk the buffer refuses a second time
                file.close()


def _write_all(
    writer: GGUFWriter,
    config: ModelConfig,
    name: str,
    shapes: dict[str, tuple[int, int]],
    rng: np.random.Generator,
    kind: str,
    progress: Callable[[int, int], None] | None,
) -> None:
    import gguf

    # every token runs every block with its deep feed-forward: what depth saves hangs on trained weights
    thresholds = dataclasses.replace(Thresholds.of(config), regime_low=0.0, regime_high=1.0)
    add_keys(writer, config, thresholds, f"MOSTLY_{kind.upper()}", name)
    _write_tokenizer(writer, config)
    for done, (tensor, (rows, width)) in enumerate(shapes.items()):
        data = _random_blocks(rng, rows, width, kind)
        writer.add_tensor(tensor, data, raw_dtype=gguf.GGMLQuantizationType[kind.upper()])
        if progress:
            progress(done + 1, len(shapes))
    for plain in tensor_names(config):
        if plain.part is None:
            writer.add_tensor(plain.gguf, _plain(plain, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.flush()


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


def _write_tokenizer(writer: GGUFWriter, config: ModelConfig) -> None:
    tokens, merges = _vocabulary(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(CONTROL) + [1] * (len(tokens) - len(CONTROL)))
    writer.add_token_merges(merges)
    writer.add_eos_token_id(0)
    writer.add_eot_token_id(4)


def _vocabulary(size: int) -> tuple[list[str], list[str]]:
    """Control tokens, the 256 bytes in GPT-2's letters, and then each token so far joined with each byte until there are `size`."""
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
    return tokens, merges
