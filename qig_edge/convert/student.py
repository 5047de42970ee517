"""A student of a QIG model in llama.cpp's layout (architecture arcee): what it takes over as it is, and where its queries and keys begin.

    taken over       embedding (table times projection), values, outputs, feed-forward, norms, head (both factors multiplied)
    begins as        queries and keys: the teacher's, scaled so that a dot product has the slope that the teacher's score has at overlap 0, where
                     most pairs are: d = sqrt(2 - 2 o), so -d / tau rises by 1 / (tau sqrt 2) for each unit of o
    has no form      decay, the coupling's growth with the context, gates, and everything of Depth: the student runs every block on every token

EXTRA channels are added to the residual stream, in which every token's embedding holds CONSTANT. Queries and keys have no bias in this layout; from
a channel that is the same for all tokens they can make one, and two constant vectors that rotate against each other give a score that depends on the
distance of two tokens alone. That is what decay can become.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from qig_edge.config import ModelConfig
from qig_edge.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

    from qig_edge.model.attention import Attention
    from qig_edge.model.kernel import Kernel
    from qig_edge.model.quant import Linear

EXTRA, CONSTANT = 32, 0.3  # a block of Q4_0; small beside a state's mean square of 1
OFF: dict[str, object] = {
    "regime": False,
    "shallow_dim": 0,
    "exit_first": 0,
    "decoherence_modes": 0,
    "recursion_min_loops": 0,
    "recursion_max_loops": 0,
    "confidence_learnt": False,
    "draft_lag": 0,
    "draft_dim": 0,
    "draft_vocab": 0,
}


def full_depth(teacher: Kernel) -> Kernel:
    """The teacher with every block, and the integrator's least number of loops as blocks after them, run on every token; weights are shared.

    Raises CheckpointError for a dense twin.
    """
    from qig_edge.model.kernel import Kernel

    config = teacher.config
    if config.attention != "qfi":
        raise CheckpointError("a dense twin is of the llama layout already: it is converted without --distil")
    loops = config.recursion_min_loops
    plain = Kernel(dataclasses.replace(config, n_layers=config.n_layers + loops, **OFF))  # type: ignore[arg-type]
    weights = dict(teacher.state_dict())
    for loop in range(loops):
        for name, value in teacher.state_dict().items():
            if name.startswith("integrator.block."):
                weights[f"blocks.{config.n_layers + loop}.{name.removeprefix('integrator.block.')}"] = value
    plain.load_state_dict({name: weights[name] for name in plain.state_dict()})
    return plain.eval().requires_grad_(False)


def student_config(plain: ModelConfig) -> ModelConfig:
    """The student's shape."""
    return ModelConfig(
        vocab_size=plain.vocab_size,
        d_model=plain.d_model + EXTRA,
        n_layers=plain.n_layers,
        n_heads=plain.n_heads,
        n_kv_heads=plain.n_kv_heads,
        head_dim=plain.head_dim,
        hidden_dim=plain.hidden_dim,
        basin_dim=0,
        head_rank=plain.d_model + EXTRA,
        context_length=plain.context_length,
        attention="dot",
        decay=False,
        rope_base=plain.rope_base,
        norm_eps=plain.norm_eps,
    )


def begin(plain: Kernel, ids: Tensor) -> Kernel:
    """The student before it learns; plain is the teacher's full_depth, ids [B, T] tokens on which the lengths of queries and keys are measured."""
    from qig_edge.model.kernel import Kernel

    config, d = plain.config, plain.config.d_model
    student = Kernel(student_config(config)).requires_grad_(False)
    norm = (1 - EXTRA / (d + EXTRA)) ** 0.5  # of the mean square over more channels, the new ones nearly empty
    for parameter in student.parameters():
        parameter.zero_()
    student.embedding.table[:, :d] = _embedding(plain)
    student.embedding.table[:, d:] = CONSTANT
    ours: Any
    theirs: Any
    for ours, theirs, states in zip(student.blocks, plain.blocks, inputs(plain, ids), strict=True):
        for name in ("attn_norm", "ffn_norm"):
            getattr(ours, name).weight.fill_(1.0)
            getattr(ours, name).weight[:d] = getattr(theirs, name).weight * norm
        ours.attn.v.weight[:, :d] = theirs.attn.v.weight
        ours.attn.o.weight[:d] = theirs.attn.o.weight
        ours.ffn.up.weight[:, :d] = theirs.ffn.up.weight
        ours.ffn.down.weight[:d] = theirs.ffn.down.weight
        _queries_and_keys(ours.attn, theirs.attn, theirs.attn_norm(states), config)
    student.norm.weight.fill_(1.0)
    student.norm.weight[:d] = plain.norm.weight * norm
    assert student.head.out is not None
    student.head.out.weight[:, :d] = _head(plain)
    return student.requires_grad_(True)


def inputs(plain: Kernel, ids: Tensor) -> list[Tensor]:
    """The state [B, T, D] before each block."""
    import torch

    from qig_edge.model.attention import Look

    with torch.no_grad():
        positions = torch.arange(ids.shape[1])
        look, turned = Look(plain.coupling(positions)), torch.zeros(ids.shape)
        states = [plain.embedding(ids).float()]
        for block in plain.blocks:
            states.append(block(states[-1], positions, None, look, turned)[0])
    return states[:-1]


def widened(states: Tensor) -> Tensor:
    """The teacher's states with the student's constant channels."""
    import torch

    return torch.cat((states, torch.full((*states.shape[:-1], EXTRA), CONSTANT)), -1)


def _embedding(plain: Kernel) -> Tensor:
    table: Tensor = plain.embedding.table
    if plain.embedding.token_scale is not None:
        table = table * plain.embedding.token_scale[:, None]
    return table if plain.embedding.proj is None else table @ plain.embedding.proj.weight.T


def _head(plain: Kernel) -> Tensor:
    """[V, D]; what symmetry takes out of a state before the norm is taken out of the rows, which leaves only the norm as it was."""
    out = plain.embedding.table if plain.head.out is None else plain.head.out.weight
    rows = out if plain.head.down is None else out @ plain.head.down.weight
    if plain.symmetry is None:
        return rows
    gains = plain.norm.weight.clamp_min(1e-6)
    rows = rows * gains
    return (rows - (rows @ plain.symmetry.weight.T) @ plain.symmetry.weight) / gains


def _queries_and_keys(ours: Attention, theirs: Attention, h: Tensor, config: ModelConfig) -> None:
    """The teacher's rows, scaled so that |q| |k| / sqrt C is the slope of its score on average over h; keys take what their heads share."""
    heads, groups, width, d = config.n_heads, config.n_kv_heads, config.head_dim, config.d_model

    def length(product: Linear, count: int) -> Tensor:
        return product(h).view(-1, count, width).norm(dim=-1).mean(0).clamp_min(1e-6)

    both = theirs.log_temperature.neg().exp() * (width / 2) ** 0.5  # |q| |k|
    keys = both.sqrt().view(groups, -1).mean(1)
    q = both / keys.repeat_interleave(heads // groups) / length(theirs.q, heads)
    k = keys / length(theirs.k, groups)
    ours.q.weight[:, :d] = theirs.q.weight * q.repeat_interleave(width)[:, None]
    ours.k.weight[:, :d] = theirs.k.weight * k.repeat_interleave(width)[:, None]
