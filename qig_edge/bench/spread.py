"""A trained model spread over the shape of a larger preset: the larger one's cost with a trained one's queries, keys and activity.

What attention may leave out hangs on queries and keys, and random weights make none that resemble a trained model's. So the large model computes
the small one's function with all of its own widths: its residual stream is the small one's several times side by side, matrices read the copies by
powers of two that sum to one, hidden units and values stand several times with outputs shared, a head's rotary pairs stand among zeros where the
wider head turns at the same rate, and the table's rows repeat. Heads keep the decay of the large model; the one of a trained head's own slope gives
its output, the others have their queries from the head of the nearest slope and an output of zero. Of the blocks that stand for one trained block
the last gives its output; the others compute the same queries and keys and add nothing.

All of it is done on the blocks of the file, without quantizing anew, but for a head of another type.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qig_edge.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from qig_edge.config import ModelConfig

BLOCK = 32
SIZES = {"q4_0": 16, "q8_0": 32}  # bytes of a block beside its half-precision scale
ZERO = {"q4_0": 0x88, "q8_0": 0}
VECTORS = ("attn_norm", "attn_temp", "ffn_norm", "output_norm")
REFUSED = ("mandatory_blocks", "shallow_length", "recursion.max_loops", "symmetry.rank", "code_rate.max_entropy", "gate.learnt")


class Spread:
    """The tensors of `config`'s shape made of the model in a file.

    Raises ModelFileError for a file that does not open, ConfigError where one shape does not divide the other or the file has components of depth.
    """

    def __init__(self, source: Path, config: ModelConfig) -> None:
        import gguf

        from qig_edge.runtime.native import NativeModel

        NativeModel(source).close()  # refuses what is no sound file before another reader looks at it
        self.source, self.config = source, config
        reader = gguf.GGUFReader(source)
        self.tensors = {t.name: t for t in reader.tensors}
        self.keys: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
        self._check()
        self.copies = config.d_model // self._key("embedding_length")
        self.wider = config.head_dim // self._key("attention.key_length")
        self.each = config.n_layers // self._key("block_count")
        self.heads, self.anchors = self._heads()

    def _key(self, name: str) -> Any:
        return self.keys.get(f"qig.{name}")

    def _check(self) -> None:
        if self.keys["general.architecture"] != "qig":
            raise ConfigError(f"{self.source}: only a model of architecture qig can be spread, this is {self.keys['general.architecture']}")
        has = next((name for name in REFUSED if self._key(name)), None)
        if has:
            raise ConfigError(f"{self.source}: a model with qig.{has} cannot be spread over another shape")
        if not self._key("basin_length"):
            raise ConfigError(f"{self.source}: a model without a basin embedding cannot be spread over another shape")
        config = self.config
        for name, own, theirs in (
            ("d_model", config.d_model, "embedding_length"),
            ("head_dim", config.head_dim, "attention.key_length"),
            ("n_layers", config.n_layers, "block_count"),
            ("n_heads", config.n_heads, "attention.head_count"),
        ):
            if own % self._key(theirs):
                raise ConfigError(f"{self.source}: {name} = {own} must be a multiple of its own, {self._key(theirs)}")
        for name, own, least in (
            ("hidden_dim", config.hidden_dim, self._key("feed_forward_length")),
            ("basin_dim", config.basin_dim, self._key("basin_length")),
            ("vocab_size", config.vocab_size, len(self.keys["tokenizer.ggml.tokens"])),
            ("head_rank", config.head_rank or config.basin_dim, self._key("head_rank") or self._key("basin_length")),
        ):
            if own < least:
                raise ConfigError(f"{self.source}: {name} = {own} must be at least its own, {least}")
        for name, own_value, key in (
            ("state", config.state, "attention.state"),
            ("metric", config.metric, "attention.metric"),
            ("rope_base", config.rope_base, "rope.freq_base"),
        ):
            if own_value != self._key(key):
                raise ConfigError(f"{self.source}: {name} = {own_value} must be as in the file, {self._key(key)}")
        if config.state != "pure" or not self._key("attention.decay_slopes"):
            raise ConfigError(f"{self.source}: only models of pure states with decay are spread")
        if config.symmetry_rank and config.d_model == self._key("embedding_length"):
            raise ConfigError(f"{self.source}: symmetry_rank = {config.symmetry_rank} needs a d_model above the file's {config.d_model}")
        for name, tensor in self.tensors.items():
            if not name.startswith("draft_") and name.split(".")[-2] not in (*PARTS, *VECTORS, "output"):
                raise ConfigError(f"{self.source}: the tensor {name} cannot be spread over another shape")
            kind = tensor.tensor_type.name.lower()
            if kind not in (*SIZES, "f32"):
                raise ConfigError(f"{self.source}: {name} is {kind.upper()}, only Q4_0 and Q8_0 matrices can be spread")

    def _heads(self) -> tuple[list[int], dict[int, int]]:
        """The trained head of each head, and of each trained head the one that gives its output."""
        # a shape without decay gets the same heads, so that both can be held against each other
        own, theirs = dataclasses.replace(self.config, decay=True).decay_slopes(), self._key("attention.decay_slopes")
        groups, trained = self._key("attention.head_count_kv"), self._key("attention.head_count")
        per_group = self.config.n_heads // self.config.n_kv_heads
        anchors = {h: min(range(len(own)), key=lambda t: abs(math.log(own[t] / slope))) for h, slope in enumerate(theirs)}
        kv_of: dict[int, int] = {}
        for h, t in anchors.items():
            if kv_of.setdefault(t // per_group, h * groups // trained) != h * groups // trained:
                raise ConfigError(
                    f"{self.source}: n_kv_heads = {self.config.n_kv_heads} is too few: heads {t // per_group * per_group} and on need two keys"
                )
        heads = []
        for t in range(self.config.n_heads):
            first = t // per_group * per_group
            nearest = min(range(trained), key=lambda h: abs(math.log(own[first] / theirs[h])))
            kv = kv_of.get(t // per_group, nearest * groups // trained)
            of_kv = [h for h in range(trained) if h * groups // trained == kv]
            heads.append(min(of_kv, key=lambda h: abs(math.log(own[t] / theirs[h]))))
        return heads, anchors

    @property
    def coupling_beta(self) -> float:
        """As the model was trained with it."""
        return float(self._key("coupling.beta"))

    def vocabulary(self) -> tuple[list[str], list[int], list[str]]:
        """Tokens, their types, merges; the ids beyond the trained ones are tokens that no text makes."""
        tokens = list(self.keys["tokenizer.ggml.tokens"])
        kinds = list(self.keys["tokenizer.ggml.token_type"])
        more = range(len(tokens), self.config.vocab_size)
        return [*tokens, *(f"<|unused-{i}|>" for i in more)], [*kinds, *(3 for _ in more)], list(self.keys["tokenizer.ggml.merges"])

    def plain(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """float32 values of a tensor that is no matrix of weights; None: the trained model has none such."""
        import numpy as np

        kind = name.split(".")[-2]
        if kind == "symmetry":  # directions in which the copies differ, which they never do
            rows, width = np.zeros(shape, np.float32), self._key("embedding_length")
            for i in range(shape[0]):
                rows[i, i], rows[i, width + i] = 0.5**0.5, -(0.5**0.5)
            return rows
        tensor = self.tensors.get(self._trained_name(name))
        if tensor is None:
            return None
        if kind == "attn_temp":
            return np.asarray(tensor.data, np.float32)[self.heads]
        return np.tile(np.asarray(tensor.data, np.float32), self.copies)  # norms

    def _trained_name(self, name: str) -> str:
        part = name.split(".")
        return f"blk.{int(part[1]) // self.each}.{'.'.join(part[2:])}" if part[0] == "blk" else name

    def matrix(self, name: str, shape: tuple[int, int], kind: str) -> tuple[np.ndarray, str] | None:
        """uint8[rows, bytes] of the blocks and their type, the trained one but for the head, which is of `kind`; None: there is none such."""
        part = name.split(".")[-2]
        if part == "output":
            return self._head(shape, kind), kind
        tensor = self.tensors.get(self._trained_name(name))
        if tensor is None:
            return None
        own_kind = tensor.tensor_type.name.lower()
        blocks = self._blocks(tensor.data, own_kind)
        gives = not name.startswith("blk.") or int(name.split(".")[1]) % self.each == self.each - 1
        out = PARTS[part](self, blocks, own_kind, gives)
        if out.shape[:2] != (shape[0], shape[1] // BLOCK):
            raise ConfigError(f"{self.source}: {name} becomes {out.shape[0]} rows of {out.shape[1] * BLOCK}, not {shape[0]} of {shape[1]}")
        return out.reshape(shape[0], -1), own_kind

    def _blocks(self, data: np.ndarray, kind: str) -> np.ndarray:
        """uint8[rows, blocks, bytes]"""
        import numpy as np

        return np.asarray(data, np.uint8).reshape(data.shape[0], -1, 2 + SIZES[kind])

    def _zeros(self, rows: int, blocks: int, kind: str) -> np.ndarray:
        import numpy as np

        out = np.full((rows, blocks, 2 + SIZES[kind]), ZERO[kind], np.uint8)
        out[:, :, :2] = 0
        return out

    def _padded(self, blocks: np.ndarray, kind: str, rows: int, width: int) -> np.ndarray:
        out = self._zeros(rows, width // BLOCK, kind)
        out[: blocks.shape[0], : blocks.shape[1]] = blocks
        return out

    def _reads(self, blocks: np.ndarray) -> np.ndarray:
        """Columns of the stream: each copy gives its share."""
        import numpy as np

        return np.concatenate([scaled(blocks, share) for share in shares(self.copies)], axis=1)

    def _writes(self, blocks: np.ndarray) -> np.ndarray:
        """Rows of the stream: the same to each copy."""
        import numpy as np

        return np.tile(blocks, (self.copies, 1, 1))

    def _turned(self, blocks: np.ndarray, kind: str, heads: list[int]) -> np.ndarray:
        """Rows of queries or keys, those of a pair where the wider head turns at its rate."""
        narrow, half = self._key("attention.key_length"), self.config.head_dim // 2
        out = self._zeros(len(heads) * self.config.head_dim, blocks.shape[1], kind)
        for t, h in enumerate(heads):
            for c in range(narrow):
                turn, second = c % (narrow // 2), c // (narrow // 2)
                out[t * self.config.head_dim + second * half + turn * self.wider] = blocks[h * narrow + c]
        return out

    def _kv(self) -> list[int]:
        per_group = self.config.n_heads // self.config.n_kv_heads
        trained = self._key("attention.head_count") // self._key("attention.head_count_kv")
        return [self.heads[g * per_group] // trained for g in range(self.config.n_kv_heads)]

    def _attn_q(self, blocks: np.ndarray, kind: str, gives: bool) -> np.ndarray:
        return self._turned(self._reads(blocks), kind, self.heads)

    def _attn_k(self, blocks: np.ndarray, kind: str, gives: bool) -> np.ndarray:
        return self._turned(self._reads(blocks), kind, self._kv())

    def _attn_v(self, blocks: np.ndarray, kind: str, gives: bool) -> np.ndarray:
        import numpy as np

        narrow, read = self._key("attention.key_length"), self._reads(blocks)
        return np.concatenate([read[g * narrow : (g + 1) * narrow] for g in self._kv() for _ in range(self.wider)])

    def _attn_output(self, blocks: np.ndarray, kind: str, gives: bool) -> np.ndarray:
        narrow, wide = self._key("attention.key_length") // BLOCK, self.config.head_dim // BLOCK
        out = self._zeros(blocks.shape[0], self.config.n_heads * wide, kind)
        for h, t in self.anchors.items() if gives else ():
            for i, share in enumerate(shares(self.wider)):
                at = t * wide + i * narrow
                out[:, at : at + narrow] = scaled(blocks[:, h * narrow : (h + 1) * narrow], share)
        return self._writes(out)

    def _ffn_up(self, blocks: np.ndarray, kind: str, gives: bool) -> np.ndarray:
        units = blocks.shape[0]
        return self._reads(blocks)[[i % units for i in range(self.config.hidden_dim)]]

    def _ffn_down(self, blocks: np.ndarray, kind: str, gives: bool) -> np.ndarray:
        trained, own = blocks.shape[1], self.config.hidden_dim // BLOCK
        out = self._zeros(blocks.shape[0], own, kind)
        for i in range(own if gives else 0):
            times = len(range(i % trained, own, trained))
            out[:, i] = scaled(blocks[:, i % trained], shares(times)[i // trained])
        return self._writes(out)

    def _token_embd(self, blocks: np.ndarray, kind: str, gives: bool) -> np.ndarray:
        size = self.config.vocab_size
        return self._padded(blocks[[i % blocks.shape[0] for i in range(size)]], kind, size, self.config.basin_dim)

    def _basin_proj(self, blocks: np.ndarray, kind: str, gives: bool) -> np.ndarray:
        return self._padded(self._writes(blocks), kind, self.config.d_model, self.config.basin_dim)

    def _output_down(self, blocks: np.ndarray, kind: str, gives: bool) -> np.ndarray:
        rank = self.config.head_rank or self.config.basin_dim
        return self._padded(self._reads(blocks), kind, rank, self.config.d_model)

    def _head(self, shape: tuple[int, int], kind: str) -> np.ndarray:
        import gguf
        import numpy as np

        table = self.tensors.get("output.weight") or self.tensors["token_embd.weight"]
        own_kind = table.tensor_type.name.lower()
        blocks = self._blocks(table.data, own_kind)
        blocks = self._padded(blocks[[i % blocks.shape[0] for i in range(shape[0])]], own_kind, *shape).reshape(shape[0], -1)
        if own_kind == kind:
            return blocks
        types = gguf.GGMLQuantizationType
        return np.asarray(gguf.quants.quantize(gguf.quants.dequantize(blocks, types[own_kind.upper()]), types[kind.upper()]))


PARTS: dict[str, Callable[[Spread, np.ndarray, str, bool], np.ndarray]] = {
    "attn_q": Spread._attn_q,
    "attn_k": Spread._attn_k,
    "attn_v": Spread._attn_v,
    "attn_output": Spread._attn_output,
    "ffn_up": Spread._ffn_up,
    "ffn_down": Spread._ffn_down,
    "token_embd": Spread._token_embd,
    "basin_proj": Spread._basin_proj,
    "output_down": Spread._output_down,
}


def shares(n: int) -> list[float]:
    """n powers of two that sum to one: scales times them are exact in half precision."""
    return [0.5 ** (i + 1) for i in range(n - 1)] + [0.5 ** (n - 1)]


def scaled(blocks: np.ndarray, factor: float) -> np.ndarray:
    """The same blocks with their scales times `factor`."""
    import numpy as np

    out = np.ascontiguousarray(blocks).copy()
    scales = out[..., :2].copy().view("<f2")
    out[..., :2] = (scales * np.float16(factor)).astype("<f2").view(np.uint8)
    return out
