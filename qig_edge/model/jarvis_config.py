"""Shape of a Jarvis model (qig_edge/model/jarvis.py), apart from it so that it can be read without torch."""

from __future__ import annotations

import dataclasses
from typing import Any

from qig_edge.config import build, check_type
from qig_edge.errors import ConfigError

EMBEDDING_SPREAD = 1.0  # standard deviation of a fresh embedding, beside sines and cosines of 0.7
SIZES = ("vocab_size", "d_model", "n_layers", "n_heads", "hidden_dim", "context_length")


@dataclasses.dataclass(frozen=True)
class JarvisConfig:
    """A small transformer of the classic kind: dot-product attention without output projection, GELU, LayerNorm, sinusoidal positions.

    Widths are in units. The embedding and the head are two tables, V x D each. final_norm: whether a norm stands before the head; files of other
    origin may have none.
    """

    vocab_size: int = 15000
    d_model: int = 256
    n_layers: int = 6
    n_heads: int = 8
    hidden_dim: int = 1024
    context_length: int = 512
    norm_eps: float = 1e-5
    final_norm: bool = True

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_type(field.name, getattr(self, field.name), str(field.type))
        for name in (*SIZES, "norm_eps"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be a positive number")
        if self.d_model % 2:
            raise ConfigError(f"d_model = {self.d_model} must be an even number")
        if self.d_model % self.n_heads:
            raise ConfigError(f"n_heads = {self.n_heads} must be a divisor of d_model = {self.d_model}")

    @property
    def head_dim(self) -> int:
        return self.d_model // self.n_heads

    # What training asks of a configuration, besides: kinds of depth and gates, of which there are none, and the width of the head's input.
    adaptive = gate_learnt = False

    @property
    def exit_blocks(self) -> list[int]:
        return []

    @property
    def head_width(self) -> int:
        return self.d_model

    def param_counts(self) -> dict[str, int]:
        """Number of trained weights by part, and their total."""
        d = self.d_model
        parts = {
            "embedding": self.vocab_size * d,
            "attention": self.n_layers * 3 * d * d,
            "feed_forward": self.n_layers * 2 * d * self.hidden_dim,
            "norms": (2 * self.n_layers + self.final_norm) * 2 * d,
            "head": self.vocab_size * d,
        }
        return {**parts, "total": sum(parts.values())}

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "model") -> JarvisConfig:
        """Builds a config from a table; unknown fields and values out of range raise ConfigError naming `where`."""
        return build(cls, values, where)
