"""Which part of the model a 4-bit file rounds to what: used by 4-bit-aware training and by the converter's q4 recipe."""

from __future__ import annotations

from qig_edge.config import ModelConfig


def quantized_parts(config: ModelConfig) -> dict[str, str]:
    """Module name of kernel.Kernel -> kind. Blocks are Q4_0; what every token passes (table, projections, head) is small and sensitive: Q8_0."""
    kinds = {}
    for i in range(config.n_layers):
        for name in ("attn.q", "attn.k", "attn.v", "attn.o", "ffn.up", "ffn.down"):
            kinds[f"blocks.{i}.{name}"] = "q4_0"
    kinds["embedding"] = "q8_0"
    if config.basin_dim:
        kinds["embedding.proj"] = "q8_0"
    if config.head_rank or config.basin_dim:
        kinds["head.down"] = "q8_0"
    if config.head_rank:
        kinds["head.out"] = "q8_0"
    return kinds
