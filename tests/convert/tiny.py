"""Tiny models for conversion: random weights of every kind of model that a file can hold, written by the converter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from qig_edge.config import ModelConfig
from qig_edge.convert.gguf_writer import Written, write_gguf
from qig_edge.convert.recipe import load_recipe
from qig_edge.model.kernel import Kernel
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
    "one head a group": {"n_kv_heads": 4, "rope_base": 500.0},
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
    }
    return ModelConfig(**{**shape, **fields})


def random_kernel(config: ModelConfig, seed: int) -> Kernel:
    """A model whose every weight matters: the zeros of a fresh model are drawn too, gains and temperatures differ by head."""
    torch.manual_seed(seed)
    model = Kernel(config)
    with torch.no_grad():
        for block in model.blocks:
            for module in (block.attn.o, block.ffn.down):
                module.weight.normal_(std=module.in_features**-0.5)
            for norm in (block.attn_norm, block.ffn_norm, model.norm):
                norm.weight.uniform_(0.5, 1.5)
            block.attn.log_temperature.uniform_(-2.5, -1.0)
            if config.state == "diagonal":
                block.attn.q_gain.uniform_(0.5, 2.0)
                block.attn.k_gain.uniform_(0.5, 2.0)
    return model.eval()


def tiny_tokenizer(size: int = VOCAB) -> Tokenizer:
    return train_tokenizer(TEXT, size)


def write(path: Path, model: Kernel, recipe: str, tokenizer: Tokenizer | None = None) -> Written:
    """The file of a model by one recipe."""
    return write_gguf(path, model, tokenizer or tiny_tokenizer(), load_recipe(recipe), "tiny")
