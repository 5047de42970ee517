"""Tiny models for conversion: random weights of every kind of model that a file can hold, written by the converter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qig_edge.config import ModelConfig
from qig_edge.convert.gguf_writer import Written, write_gguf
from qig_edge.convert.recipe import load_recipe
from qig_edge.model.kernel import Kernel
from qig_edge.model.steer import Steered
from qig_edge.train.tokenizer import train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCAB = 300
TEXT = (
    "The fox ran over the hill and the hen ran after the fox, because the hen was brave.",
    "One day the rain fell on the hill, and the fox and the hen sat under one tree until the rain was over.",
    "“Ünïcode?” asked the hen. 123, 4567; 8_9! \t tabs\n\nand lines — 日本語 too.",
)

# name: (fields, recipe of widths). Between them: both states, phases, metrics, gates, decay, head kinds, ungrouped and grouped heads.
GGUF_RECIPES = ("f16", "f32", "q4", "q4-small", "q8")
KINDS: dict[str, dict[str, Any]] = {
    "pure": {},
    "pure, fisher-rao": {"metric": "fisher_rao"},
    "pure, gates": {"gate_margin": 2.0, "gate_threshold": 0.05},
    "pure, no decay": {"decay": False, "coupling_ref": 8.0},
    "diagonal, phases": {"state": "diagonal"},
    "diagonal, phases, gates": {"state": "diagonal", "gate_margin": 3.0, "gate_threshold": 0.1},
    "diagonal, no phases": {"state": "diagonal", "state_phases": False},
    "diagonal, fisher-rao": {"state": "diagonal", "metric": "fisher_rao", "gate_margin": 2.5},
    "own head": {"head_rank": 64},
    "no factors": {"basin_dim": 0, "code_rate": 0.85},
    "no factors, own head": {"basin_dim": 0, "head_rank": 64},
    "factors of the head alone": {"basin_dim": 0, "head_rank": 32},
    "one head a group": {"n_kv_heads": 4, "rope_base": 500.0},
    "learnt gates, code rate, roles": {
        "gate_learnt": True,
        "code_rate": 0.85,
        "symmetry_rank": 3,
        "coupling_learnt": True,
        "confidence_learnt": True,
    },
}
# Dense twins: grouped and ungrouped heads, heads wider and narrower than D / H, another base and epsilon.
DOT: dict[str, Any] = {"attention": "dot", "decay": False, "basin_dim": 0}
TWINS: dict[str, dict[str, Any]] = {
    "twin": DOT,
    "twin, one head a group": {**DOT, "n_kv_heads": 4, "rope_base": 500.0},
    "twin, one group": {**DOT, "n_heads": 6, "n_kv_heads": 1, "head_dim": 32, "norm_eps": 1e-6},
    "twin, narrow heads": {**DOT, "n_heads": 8, "n_kv_heads": 4, "head_dim": 4, "n_layers": 3},
}
ROUTED: dict[str, Any] = {"n_layers": 6, "shallow_dim": 32, "deep_share": 0.5}
REGIMES: dict[str, Any] = {
    "n_layers": 6,
    "regime": True,
    "regime_linear_share": 0.25,
    "regime_breakdown_share": 0.25,
    "regime_hysteresis": 0.001,
    "regime_curvature": 0.7,
    "regime_geometric_coupling": 1.25,
    "regime_breakdown_coupling": 0.5,
}
EXITS: dict[str, Any] = {"n_layers": 6, "exit_first": 2, "exit_every": 1, "exit_share": 0.25}
COLLAPSE: dict[str, Any] = {"decoherence_modes": 16, "collapse_share": 0.2}
LOOPS: dict[str, Any] = {"recursion_min_loops": 2, "recursion_max_loops": 4}
DRAFT: dict[str, Any] = {"draft_lag": 3, "draft_dim": 96, "draft_vocab": VOCAB - 20}
# Models whose tokens decide what they run. Between them: every decision alone, and all of them together with both rules of exits.
DEPTHS: dict[str, dict[str, Any]] = {
    "routing": ROUTED,
    "regimes": REGIMES,
    "exits": EXITS,
    "exits, probed": {**EXITS, "exit_rule": "probe"},
    "decoherence": {**EXITS, **COLLAPSE},
    "recursion": LOOPS,
    "everything": {
        **ROUTED,
        **REGIMES,
        **EXITS,
        **COLLAPSE,
        **LOOPS,
        **KINDS["learnt gates, code rate, roles"],
        "gate_margin": 4.0,
    },
    "everything, diagonal, probed": {
        **ROUTED,
        **REGIMES,
        **EXITS,
        **COLLAPSE,
        **LOOPS,
        "state": "diagonal",
        "exit_rule": "probe",
        "decay": False,
        **DRAFT,
    },
}


def tiny_config(**fields: Any) -> ModelConfig:
    shape = {
        "vocab_size": VOCAB,
        "d_model": 64,
        "n_layers": 2,
        "n_heads": 4,
        "n_kv_heads": 2,
        "head_dim": 32,
        "hidden_dim": 96,
        "basin_dim": 32,
        "context_length": 64,
        "coupling_beta": 0.43,
    }
    return ModelConfig(**{**shape, **fields})


def random_kernel(config: ModelConfig, seed: int) -> Kernel:
    """A model whose every weight matters: the zeros of a fresh model are drawn too, gains and temperatures differ by head."""
    torch.manual_seed(seed)
    model = Kernel(config)
    blocks = [*model.blocks, *([model.integrator.block] if model.integrator else [])]
    with torch.no_grad():
        for block in blocks:
            for module in (block.attn.o, block.ffn.down, *([block.router.shallow.down] if block.router else [])):
                module.weight.normal_(std=module.in_features**-0.5)
            if config.gate_learnt:
                block.attn.gate_threshold.uniform_(-0.05, 0.25)
            if block.router:
                block.router.phi_weight.uniform_(-0.5, 0.5)
            for norm in (block.attn_norm, block.ffn_norm, model.norm):
                norm.weight.uniform_(0.5, 1.5)
            if config.attention == "qfi":
                block.attn.log_temperature.uniform_(-2.5, -1.0)
            else:  # scores that spread over several nats
                block.attn.q.weight.mul_(2.0)
                block.attn.k.weight.mul_(2.0)
            if config.state == "diagonal":
                block.attn.q_gain.uniform_(0.5, 2.0)
                block.attn.k_gain.uniform_(0.5, 2.0)
        for leave in model.exits.values():
            if leave.probe is not None:
                leave.probe.weight.normal_(std=0.2)
        if model.draft is not None:
            for module in (model.draft.input, model.draft.down):
                module.weight.normal_(std=0.3 * module.in_features**-0.5)
            for norm in (model.draft.norm, model.draft.output_norm):
                norm.weight.uniform_(0.5, 1.5)
        if model.coupling_beta is not None:
            model.coupling_beta.fill_(0.3)
        if model.calibration is not None:
            model.calibration.log_scale.fill_(0.4)
            model.calibration.bias.fill_(-0.3)
    model.refresh()
    _place_thresholds(model)
    return model.eval()


def _place_thresholds(model: Kernel) -> None:
    """Thresholds where a text of this model's own divides into the shares that the configuration asks for, one decision after the other."""
    steered = [m for m in model.modules() if isinstance(m, Steered)]
    ids = torch.randint(5, model.config.vocab_size, (4, 48))
    for _ in range(len(steered)):  # each pass settles one more: what a token does later hangs on what it did before
        model.train()
        with torch.no_grad():
            model(ids)
        for s in steered:
            if s.goals:
                s.threshold.copy_(torch.stack(s.goals).mean())
                s.goals.clear()
    model.refresh()


def tiny_tokenizer(size: int = VOCAB) -> Tokenizer:
    return train_tokenizer(TEXT, size)


def write(path: Path, model: Kernel, recipe: str, tokenizer: Tokenizer | None = None) -> Written:
    """The file of a model by one recipe."""
    return write_gguf(path, model, tokenizer or tiny_tokenizer(), load_recipe(recipe), "tiny")
