"""Settings of one training run: the [train] table of a preset, overridden by command-line options."""

from __future__ import annotations

import dataclasses
from typing import Any

from qig_edge.config import ModelConfig, build, check_type
from qig_edge.errors import ConfigError

OPTIMIZERS = ("adamw", "muon")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Lengths are in tokens, shares in [0, 1] of the run.

    The schedule is warm-up, stable, decay: the learning rate is constant until the last `decay_share` of the tokens
    and falls linearly to zero there. That last part
    is the final phase: it uses `final_context` and the final data; its own last `quantize_share` (of the whole run) is 4-bit aware.
    """

    tokens: int = 20_000_000
    batch_tokens: int = 8192
    micro_tokens: int = 4096
    context: int = 256
    final_context: int = 1024
    decay_share: float = 0.2
    warmup_tokens: int = 400_000
    optimizer: str = "muon"
    learning_rate: float = 3e-3
    matrix_learning_rate: float = 1e-2
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip_norm: float = 1.0
    quantize_share: float = 0.0
    precision: str = "auto"
    compile: bool = False
    seed: int = 1
    eval_tokens: int = 1_000_000
    save_tokens: int = 500_000
    validation_permille: int = 10
    validation_bytes: int = 200_000

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_type(field.name, getattr(self, field.name), str(field.type))
        for name in (
            "tokens",
            "batch_tokens",
            "micro_tokens",
            "context",
            "final_context",
            "eval_tokens",
            "save_tokens",
            "learning_rate",
            "matrix_learning_rate",
            "validation_bytes",
        ):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be a positive number")
        for name in ("decay_share", "quantize_share", "beta1", "beta2"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be in [0, 1]")
        if self.quantize_share > self.decay_share:
            raise ConfigError(
                f"quantize_share = {self.quantize_share} must be at most decay_share = {self.decay_share}"
            )
        if not 1 <= self.validation_permille <= 500:
            raise ConfigError(f"validation_permille = {self.validation_permille} must be in [1, 500]")
        if self.warmup_tokens < 0 or self.weight_decay < 0 or self.clip_norm < 0:
            raise ConfigError("warmup_tokens, weight_decay and clip_norm must not be negative")
        for name, accepted in (("optimizer", OPTIMIZERS), ("precision", PRECISIONS)):
            if getattr(self, name) not in accepted:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be one of {', '.join(accepted)}")
        for context in (self.context, self.final_context):
            if self.batch_tokens % context:
                raise ConfigError(
                    f"batch_tokens = {self.batch_tokens} must be a multiple of the contexts {self.context} and {self.final_context}"
                )

    @property
    def steps(self) -> int:
        return max(1, self.tokens // self.batch_tokens)

    @property
    def final_start(self) -> int:
        """First step of the final phase."""
        return self.steps - round(self.steps * self.decay_share)

    @property
    def quantize_start(self) -> int:
        """First step that is 4-bit aware."""
        return self.steps - round(self.steps * self.quantize_share)

    def context_at(self, step: int) -> int:
        return self.final_context if step >= self.final_start else self.context

    def rate_at(self, step: int) -> float:
        """Factor of the learning rates at a step, in [0, 1]."""
        warm = min(1.0, (step + 1) * self.batch_tokens / self.warmup_tokens) if self.warmup_tokens else 1.0
        if step < self.final_start:
            return warm
        return warm * (self.steps - step) / (self.steps - self.final_start + 1)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "train") -> TrainConfig:
        return build(cls, values, where)

    def check_model(self, model: ModelConfig) -> None:
        """Raises ConfigError where the run does not fit the model."""
        for context in (self.context, self.final_context):
            if context > model.context_length:
                raise ConfigError(
                    f"context = {context} is longer than the model's context_length = {model.context_length}"
                )
