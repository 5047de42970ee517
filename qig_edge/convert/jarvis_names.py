"""Names of a Jarvis model's tensors: in its own layout (architecture jarvis-quantum), as the recipes know them."""

from __future__ import annotations

from qig_edge.convert.names import TensorName
from qig_edge.model.jarvis_config import JarvisConfig


def jarvis_tensors(config: JarvisConfig) -> list[TensorName]:
    """Every tensor in the order of the file; norms have a weight and a bias."""
    d, hidden = config.d_model, config.hidden_dim
    names = [TensorName("token_embd.weight", "table", (config.vocab_size, d), "table")]
    for n in range(config.n_layers):
        ours, theirs = f"blk.{n}", f"blocks.{n}"
        names += [
            *_norm(f"{ours}.attn_norm", f"{theirs}.attn_norm", d),
            *(_matrix(f"{ours}.attn_{p}", f"{theirs}.attn.{p}", (d, d)) for p in "qkv"),
            *_norm(f"{ours}.ffn_norm", f"{theirs}.ffn_norm", d),
            _matrix(f"{ours}.ffn_up", f"{theirs}.up", (hidden, d)),
            _matrix(f"{ours}.ffn_down", f"{theirs}.down", (d, hidden)),
        ]
    if config.final_norm:
        names += _norm("output_norm", "norm", d)
    return [*names, _matrix("output", "head", (config.vocab_size, d))]


def _matrix(ours: str, part: str, shape: tuple[int, int]) -> TensorName:
    return TensorName(f"{ours}.weight", f"{part}.weight", shape, part)


def _norm(ours: str, theirs: str, d: int) -> list[TensorName]:
    return [TensorName(f"{ours}.{kind}", f"{theirs}.{kind}", (d,)) for kind in ("weight", "bias")]
