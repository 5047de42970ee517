"""Random weights in the shape of well-known small models, in llama.cpp's layout: to hold two engines against each other on the same file where the
real one is not at hand. Sizes from the models' published configurations."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class LlamaShape:
    """Architecture `llama`: grouped heads, a gated feed-forward; tied: the head is the embedding."""

    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    hidden_dim: int
    context_length: int
    tied: bool
    rope_base: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    def keys(self) -> dict[str, int | float]:
        """Of docs/formats.md, without the architecture's name."""
        return {
            "context_length": self.context_length,
            "vocab_size": self.vocab_size,
            "embedding_length": self.d_model,
            "block_count": self.n_layers,
            "feed_forward_length": self.hidden_dim,
            "attention.head_count": self.n_heads,
            "attention.head_count_kv": self.n_kv_heads,
            "attention.layer_norm_rms_epsilon": self.norm_eps,
            "rope.freq_base": self.rope_base,
            "rope.dimension_count": self.head_dim,
        }

    def matrices(self) -> dict[str, tuple[int, int]]:
        """Name and [out, in] of every matrix."""
        d, kv = self.d_model, self.n_kv_heads * self.head_dim
        out = {"token_embd.weight": (self.vocab_size, d)}
        for n in range(self.n_layers):
            block = {"attn_q": (d, d), "attn_k": (kv, d), "attn_v": (kv, d), "attn_output": (d, d)}
            block |= {"ffn_gate": (self.hidden_dim, d), "ffn_up": (self.hidden_dim, d), "ffn_down": (d, self.hidden_dim)}
            out |= {f"blk.{n}.{name}.weight": shape for name, shape in block.items()}
        return out if self.tied else out | {"output.weight": (self.vocab_size, d)}

    def norms(self) -> list[str]:
        """Names of the vectors of d_model gains."""
        return [*(f"blk.{n}.{name}_norm.weight" for n in range(self.n_layers) for name in ("attn", "ffn")), "output_norm.weight"]


SHAPES = {
    "smollm-135m": LlamaShape(
        vocab_size=49152, d_model=576, n_layers=30, n_heads=9, n_kv_heads=3, hidden_dim=1536, context_length=2048, tied=True
    ),
    "tinyllama-1.1b": LlamaShape(
        vocab_size=32000, d_model=2048, n_layers=22, n_heads=32, n_kv_heads=4, hidden_dim=5632, context_length=2048, tied=False
    ),
}
