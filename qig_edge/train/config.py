"""Settings of one training run: the [train] table of a preset, overridden by command-line options."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from qig_edge.config import ModelConfig, build, check_type
from qig_edge.errors import ConfigError
from qig_edge.model.jarvis_config import JarvisConfig

OPTIMIZERS = ("adamw", "rmsprop", "muon", "kfac", "shampoo", "soap")
SCHEDULES = ("wsd", "cosine", "curiosity")
CLIPS = ("norm", "fisher")
PRECISIONS = ("auto", "float32", "bfloat16")
CHECKPOINTING = ("none", "attention", "blocks")
STATES = ("float32", "bfloat16")
NARROW = ("adamw", "rmsprop", "muon")  # optimizers whose states may be bfloat16: the others' hold inverses


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Lengths are in tokens, shares in [0, 1] of the run.

    The last `decay_share` of the tokens is the final phase: it uses `final_context` and the final data; its own last
    `quantize_share` (of the whole run) is 4-bit aware.

    schedule "wsd": warm-up, stable, decay: the learning rate is constant until the final phase and falls linearly to
    zero there. "cosine": half a cosine from the end of the warm-up to zero. "curiosity": as wsd, times a factor that
    holds while the loss falls and shrinks where it stands still (qig_edge.train.pace, whose slow mean reaches over
    `curiosity_tokens`).

    optimizer "adamw" and "rmsprop" take every weight at `learning_rate`; "muon", "kfac", "shampoo" and "soap" take the
    matrices of the blocks at `matrix_learning_rate` and leave the rest to AdamW. Every `precondition_every` steps kfac,
    shampoo and soap renew their preconditioners; `kfac_damping` is in units of the mean eigenvalue.

    clip "norm" bounds the gradient's length by `clip_norm` (0: off), "fisher" the step's Fisher distance by
    `clip_fisher`. Between ramp_start and ramp_end of the run the budgets of depth rise from nothing to what the model's
    configuration asks for; learnt cuts and routers are soft (width soft_start) and sharpen until hard_share. weight_*
    are the weights of the terms in qig_edge.train.losses, whose targets are phi_target (of Phi) and kappa_target.

    only_draft: the draft of speculation (qig_edge.model.draft) learns to guess what a finished model says, and nothing else of the model moves.

    checkpointing trades time for memory: the squares of attention, or all inside blocks, are computed again in the backward pass instead of kept.
    optimizer_states "bfloat16" halves what the optimizer keeps between its steps.

    context 0 takes the correlation length of the data. group_by_regime puts windows of like integration into the same
    step.
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
    precondition_every: int = 10
    kfac_damping: float = 0.03
    schedule: str = "wsd"
    curiosity_tokens: int = 1_000_000
    clip: str = "norm"
    clip_norm: float = 1.0
    clip_fisher: float = 0.1
    group_by_regime: bool = False
    quantize_share: float = 0.0
    ramp_start: float = 0.3
    ramp_end: float = 0.7
    soft_start: float = 0.05
    hard_share: float = 0.8
    phi_target: float = 0.7
    kappa_target: float = 64.0
    weight_integration: float = 0.0
    weight_phi: float = 0.0
    weight_sparsity: float = 0.0
    weight_calibration: float = 0.0
    weight_basin: float = 0.0
    weight_kappa: float = 0.0
    weight_exits: float = 0.0
    weight_draft: float = 0.0
    only_draft: bool = False
    weight_budget: float = 0.0
    weight_symmetry: float = 0.0
    precision: str = "auto"
    checkpointing: str = "none"
    optimizer_states: str = "float32"
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
            "final_context",
            "eval_tokens",
            "save_tokens",
            "learning_rate",
            "matrix_learning_rate",
            "precondition_every",
            "kfac_damping",
            "kappa_target",
            "curiosity_tokens",
            "clip_fisher",
            "validation_bytes",
        ):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be a positive number")
        for name in (
            "decay_share",
            "quantize_share",
            "ramp_start",
            "ramp_end",
            "hard_share",
            "phi_target",
            "soft_start",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be in [0, 1]")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be in [0, 1)")
        for name in (f.name for f in dataclasses.fields(self) if f.name.startswith("weight_")):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be 0 (off) or a positive number")
        if self.ramp_end < self.ramp_start:
            raise ConfigError(f"ramp_end = {self.ramp_end} must be at least ramp_start = {self.ramp_start}")
        if self.context < 0:
            raise ConfigError(f"context = {self.context} must be a positive number, or 0 to measure it on the data")
        if self.quantize_share > self.decay_share:
            raise ConfigError(
                f"quantize_share = {self.quantize_share} must be at most decay_share = {self.decay_share}"
            )
        if not 1 <= self.validation_permille <= 500:
            raise ConfigError(f"validation_permille = {self.validation_permille} must be in [1, 500]")
        if self.warmup_tokens < 0 or self.weight_decay < 0 or self.clip_norm < 0:
            raise ConfigError("warmup_tokens, weight_decay and clip_norm must not be negative")
        for name, accepted in (
            ("optimizer", OPTIMIZERS),
            ("schedule", SCHEDULES),
            ("clip", CLIPS),
            ("precision", PRECISIONS),
            ("checkpointing", CHECKPOINTING),
            ("optimizer_states", STATES),
        ):
            if getattr(self, name) not in accepted:
                raise ConfigError(f"{name} = {getattr(self, name)!r} must be one of {', '.join(accepted)}")
        if self.optimizer_states != "float32" and self.optimizer not in NARROW:
            raise ConfigError(
                f"optimizer_states = 'bfloat16' needs optimizer {', '.join(NARROW)}, not {self.optimizer}"
            )
        for context in (self.context, self.final_context):
            if context and self.batch_tokens % context:
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
        """Factor of the learning rates at a step, in [0, 1]; the schedule "curiosity" has another factor besides, from
        the run's own losses.
        """
        warm = min(1.0, (step + 1) * self.batch_tokens / self.warmup_tokens) if self.warmup_tokens else 1.0
        if self.schedule == "cosine":
            done = (step * self.batch_tokens - self.warmup_tokens) / max(1, self.tokens - self.warmup_tokens)
            return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))
        if step < self.final_start:
            return warm
        return warm * (self.steps - step) / (self.steps - self.final_start + 1)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any], where: str = "train") -> TrainConfig:
        return build(cls, values, where)

    def check_model(self, model: ModelConfig | JarvisConfig) -> None:
        """Raises ConfigError where the run does not fit the model."""
        if isinstance(model, ModelConfig):
            self._check_parts(model)
        else:
            self._check_plain()
        for context in (self.context, self.final_context):
            if context > model.context_length:
                raise ConfigError(
                    f"context = {context} is longer than the model's context_length = {model.context_length}"
                )

    def _check_plain(self) -> None:
        """A Jarvis model learns from cross entropy alone."""
        terms = [f.name for f in dataclasses.fields(self) if f.name.startswith("weight_") and f.name != "weight_decay"]
        for name in (*terms, "only_draft", "group_by_regime"):
            if getattr(self, name):
                raise ConfigError(f"{name} = {getattr(self, name)!r} needs a model of architecture 'qig', not 'jarvis'")

    def _check_parts(self, model: ModelConfig) -> None:
        for term, part, there in (
            ("exits", "exits (exit_first)", bool(model.exit_first)),
            ("draft", "a draft (draft_lag)", bool(model.draft_lag)),
            ("calibration", "a learnt confidence (confidence_learnt)", model.confidence_learnt),
            ("budget", "a shallow feed-forward (shallow_dim)", model.shallow_dim > 0),
            ("kappa", "a learnt coupling (coupling_learnt)", model.coupling_learnt),
        ):
            if getattr(self, f"weight_{term}") and not there:
                raise ConfigError(f"weight_{term} = {getattr(self, f'weight_{term}')} needs a model with {part}")
        if self.only_draft and not self.weight_draft:
            raise ConfigError("only_draft = true needs a weight_draft: nothing else learns")
