"""The rows of an ablation: the full model of a preset, that model without each component in turn, and what it is compared with."""

from __future__ import annotations

import dataclasses
from typing import Any

from qig_edge.config import ModelConfig
from qig_edge.errors import ConfigError
from qig_edge.train.config import TrainConfig

FULL, TWIN, EQUAL = "full", "dense twin", "equal bytes"
PLAIN: dict[str, Any] = {
    "code_rate": 0.0,
    "gate_learnt": False,
    "gate_margin": 0.0,
    "gate_threshold": 0.0,
    "coupling_beta": 0.0,
    "coupling_learnt": False,
    "shallow_dim": 0,
    "regime": False,
    "exit_first": 0,
    "decoherence_modes": 0,
    "recursion_min_loops": 0,
    "recursion_max_loops": 0,
    "symmetry_rank": 0,
    "confidence_learnt": False,
    "draft_lag": 0,
    "draft_dim": 0,
    "draft_vocab": 0,
    "attention_grad": True,
}
# name: (what it is, fields of the model that change)
CHANGES: dict[str, tuple[str, dict[str, Any]]] = {
    FULL: ("every component of the preset", {}),
    "no code rate": ("embeddings without the code-rate ceiling", {"code_rate": 0.0}),
    "no basin geometry": ("basin table of independent normal rows", {"basin_init": "normal"}),
    "no coupling": (
        "attention's scale does not run with the context",
        {"coupling_beta": 0.0, "coupling_learnt": False},
    ),
    "no learnt gates": ("no threshold of each head's own", {"gate_learnt": False}),
    "no gates": ("every pair is let through", {"gate_learnt": False, "gate_margin": 0.0, "gate_threshold": 0.0}),
    "no regimes": ("no token stops for its regime", {"regime": False}),
    "no routing": ("every token takes the deep feed-forward", {"shallow_dim": 0}),
    "no decoherence": ("no state collapses", {"decoherence_modes": 0}),
    "no exits": ("no exits, and no collapse at them", {"exit_first": 0, "decoherence_modes": 0}),
    "no recursion": ("no integrator after the stack", {"recursion_min_loops": 0, "recursion_max_loops": 0}),
    "with recursion": (
        "an integrator after the stack, 3 to 4 loops",
        {"recursion_min_loops": 3, "recursion_max_loops": 4},
    ),
    "no symmetry": ("roles are not projected out", {"symmetry_rank": 0}),
    "no loss terms": ("cross entropy alone", {}),
    "no decay": ("no temporal decoherence", {"decay": False}),
    "diagonal state": ("amplitudes with phases in place of pure states", {"state": "diagonal", "state_phases": True}),
    "measured weights": ("no gradient through attention's weights", {"attention_grad": False}),
    "attention alone": ("QFI attention and nothing else", PLAIN),
    "fixed coupling": (
        "attention alone, its scale running with the context at the preset's slope",
        {k: v for k, v in PLAIN.items() if k != "coupling_beta"},
    ),
    "dot product": (
        "the same with dot-product attention and the same decay: isolates the metric",
        {**PLAIN, "attention": "dot"},
    ),
    TWIN: (
        "a standard transformer of equal parameters",
        {**PLAIN, "attention": "dot", "decay": False, "basin_dim": 0, "head_rank": 0},
    ),
    EQUAL: ("nothing skipped, smaller: as many block weight bytes a token as the full model", PLAIN),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One training of the table."""

    name: str
    what: str
    model: ModelConfig
    train: TrainConfig


def rows(model: ModelConfig, train: TrainConfig) -> list[Row]:
    """Every row that differs from those before it, but the equal-bytes one (it hangs on what the full model measured)."""
    out = [make(FULL, model, train)]
    for name in CHANGES:
        if name in (FULL, EQUAL):
            continue
        row = make(name, model, train)
        if all((row.model, row.train) != (o.model, o.train) for o in out):
            out.append(row)
    return out


def make(name: str, model: ModelConfig, train: TrainConfig) -> Row:
    """One row by name. Raises ConfigError for a name that there is not."""
    if name not in CHANGES:
        raise ConfigError(f"row '{name}' must be one of {', '.join(CHANGES)}")
    what, fields = CHANGES[name]
    changed = dataclasses.replace(model, **fields)
    if name == TWIN:
        changed = _sized(changed, model.param_counts()["total"])
    return Row(name, what, changed, _fitting(train, changed, alone=name == "no loss terms"))


def equal_bytes(model: ModelConfig, train: TrainConfig, target: float) -> Row:
    """The model that reads `target` block weights a token with nothing skipped: fewer blocks, then narrower feed-forwards."""
    what, fields = CHANGES[EQUAL]
    plain = dataclasses.replace(model, **fields)
    attention, deep = block_weights(plain)
    layers = max(1, min(plain.n_layers, round(target / (attention + deep))))
    left = target / layers - attention
    step = 32
    hidden = max(step, round(left / (2 * plain.d_model) / step) * step)
    smaller = dataclasses.replace(plain, n_layers=layers, hidden_dim=hidden)
    return Row(EQUAL, what, smaller, _fitting(train, smaller))


def block_weights(model: ModelConfig) -> tuple[int, int]:
    """Weights of one block: attention's, and the deep feed-forward's."""
    attention = 2 * model.d_model * model.head_dim * (model.n_heads + model.n_kv_heads)
    return attention, 2 * model.d_model * model.hidden_dim


def _sized(model: ModelConfig, total: int) -> ModelConfig:
    """That model with feed-forwards as wide as `total` parameters allow, in steps of 32."""
    rest = dataclasses.replace(model, hidden_dim=32).param_counts()["total"]
    each = 2 * model.d_model * model.n_layers
    return dataclasses.replace(model, hidden_dim=max(32, 32 + round((total - rest) / each / 32) * 32))


def _fitting(train: TrainConfig, model: ModelConfig, alone: bool = False) -> TrainConfig:
    """The settings without terms that this model has no part for; alone: without any."""
    there = {
        "weight_exits": bool(model.exit_first),
        "weight_draft": bool(model.draft_lag),
        "weight_calibration": model.confidence_learnt,
        "weight_budget": model.shallow_dim > 0,
        "weight_kappa": model.coupling_learnt,
        "weight_sparsity": model.gate_learnt,
        "weight_symmetry": model.attention == "qfi",
    }
    plain = model.attention == "dot" or not (model.adaptive or model.gate_learnt or model.confidence_learnt)
    off: dict[str, Any] = {
        f.name: 0.0
        for f in dataclasses.fields(train)
        if f.name.startswith("weight_") and (alone or plain or not there.get(f.name, True))
    }
    return dataclasses.replace(train, **off)
