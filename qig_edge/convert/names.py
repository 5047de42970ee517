"""Names of a model's tensors in torch and in GGUF, with their shapes: one table for the writer, the recipes and the tests.

kernel.Kernel                      GGUF (docs/formats.md)
embedding.table                    token_embd.weight
blocks.3.attn.q.weight             blk.3.attn_q.weight
blocks.3.attn.log_temperature      blk.3.attn_temp.weight      stored as exp(log_temperature)
blocks.3.ffn.down.weight           blk.3.ffn_down.weight       or, where it is read by active units, blk.3.ffn_down_t.weight, the transpose

A dense twin has a part of them, in the layout of llama.cpp's architecture arcee: that turns the pairs (2c, 2c + 1) of a head where torch turns
(c, c + C/2), so the rows of attn_q and attn_k are stored in that order.
"""

from __future__ import annotations

import dataclasses

from qig_edge.config import ModelConfig
from qig_edge.errors import CheckpointError

GATE_RANGE = (0.0, 0.9999)  # no coupling is below 0, so a lower threshold is none


@dataclasses.dataclass(frozen=True)
class TensorName:
    """One tensor: its name in GGUF, in Kernel.state_dict(), and the name that Kernel.fake_quantize knows it by (None: F32 always).

    shape is the file's, [out, in] or [n], and torch's but where transposed; exponential: the file holds exp of what torch holds; then: a second
    tensor whose values follow the first one's in a vector of the file; within: the range that the file's values are held to; interleaved: heads of
    whose rows the file holds row c + C/2 after row c (0: the rows stand as in torch).
    """

    gguf: str
    torch: str
    shape: tuple[int, ...]
    part: str | None = None
    exponential: bool = False
    then: str | None = None
    transposed: bool = False
    within: tuple[float, float] | None = None
    interleaved: int = 0


def architecture(config: ModelConfig) -> str:
    """general.architecture of the model's file: "qig", or of a dense twin "arcee"."""
    return "qig" if config.attention == "qfi" else "arcee"


def check_format(config: ModelConfig) -> None:
    """Raises CheckpointError for a model that no GGUF layout describes: one with dot-product attention that has more than a dense twin."""
    if config.attention != "qfi":
        more = {
            "decay": config.decay,
            "basin_dim": config.basin_dim,
            "head_rank": 0 if config.whole_head else config.head_rank,
            "code_rate": config.code_rate,
            "shallow_dim": config.shallow_dim,
            "regime": config.regime,
            "exit_first": config.exit_first,
            "recursion_max_loops": config.recursion_max_loops,
            "symmetry_rank": config.symmetry_rank,
            "confidence_learnt": config.confidence_learnt,
            "draft_lag": config.draft_lag,
        }
        has = next((name for name, value in more.items() if value), None)
        if has:
            raise CheckpointError(
                f"attention = '{config.attention}' with {has} = {more[has]} has no GGUF form: the llama layout describes dense twins, with none of "
                + ", ".join(more)
            )


def tensor_names(config: ModelConfig, sparse_down: bool = False) -> list[TensorName]:
    """Every tensor of a model in the order of the file; recipes ask for them of models too that no file can hold (check_format).

    sparse_down: the deep feed-forwards' second matrices are stored transposed, for products that read the rows of active units only; the llama
    layout has no such form.
    """
    d = config.d_model
    names = [_matrix("token_embd", "embedding", (config.vocab_size, config.embed_dim), "embedding.table")]
    if config.basin_dim:
        names.append(_matrix("basin_proj", "embedding.proj", (d, config.basin_dim)))
    if config.code_rate:
        names.append(TensorName("token_scale.weight", "embedding.token_scale", (config.vocab_size,)))
    for n in range(config.n_layers):
        names += _block(config, f"blk.{n}", f"blocks.{n}", sparse_down)
        if config.routed(n):
            router, hidden = f"blocks.{n}.router", config.shallow_dim
            names += [
                _matrix(f"blk.{n}.ffn_shallow_up", f"{router}.shallow.up", (hidden, d)),
                _matrix(f"blk.{n}.ffn_shallow_down", f"{router}.shallow.down", (d, hidden)),
                TensorName(f"blk.{n}.ffn_route.weight", f"{router}.phi_weight", (2,), then=f"{router}.steer.threshold"),
            ]
        if config.exit_rule == "probe" and n + 1 in config.exit_blocks:
            probe = f"exits.{n + 1}.probe"
            names.append(TensorName(f"blk.{n}.exit_probe.weight", f"{probe}.weight", (d + 1,), then=f"{probe}.bias"))
    if config.recursion_max_loops:
        names += _block(config, "integrator", "integrator.block", sparse_down)
    if config.decoherence_modes:
        names.append(_rows("decoherence_modes", "decoherence.modes", (config.decoherence_modes, d)))
    if config.symmetry_rank:
        names.append(_rows("symmetry", "symmetry.weight", (config.symmetry_rank, d)))
    names.append(TensorName("output_norm.weight", "norm.weight", (d,)))
    if (config.head_rank or config.basin_dim) and not config.whole_head:
        names.append(_matrix("output_down", "head.down", (config.head_width, d)))
    if config.head_rank:
        names.append(_matrix("output", "head.out", (config.vocab_size, config.head_rank)))
    if config.draft_lag:
        names += [
            _matrix("draft_input", "draft.input", (d, config.draft_lag * d)),
            TensorName("draft_norm.weight", "draft.norm.weight", (d,)),
            _matrix("draft_up", "draft.up", (config.draft_dim, d)),
            _matrix("draft_down", "draft.down", (d, config.draft_dim)),
            TensorName("draft_output_norm.weight", "draft.output_norm.weight", (d,)),
        ]
    return names


def _block(config: ModelConfig, ours: str, theirs: str, sparse_down: bool) -> list[TensorName]:
    """The tensors of one block, or of the integrator."""
    d, c, qfi = config.d_model, config.head_dim, config.attention == "qfi"
    q, kv = config.n_heads * c, config.n_kv_heads * c
    names = [
        TensorName(f"{ours}.attn_norm.weight", f"{theirs}.attn_norm.weight", (d,)),
        _matrix(f"{ours}.attn_q", f"{theirs}.attn.q", (q, d), interleaved=0 if qfi else config.n_heads),
        _matrix(f"{ours}.attn_k", f"{theirs}.attn.k", (kv, d), interleaved=0 if qfi else config.n_kv_heads),
        _matrix(f"{ours}.attn_v", f"{theirs}.attn.v", (kv, d)),
    ]
    if qfi:
        names.append(
            TensorName(
                f"{ours}.attn_temp.weight", f"{theirs}.attn.log_temperature", (config.n_heads,), exponential=True
            )
        )
    if config.gate_learnt:
        names.append(
            TensorName(
                f"{ours}.attn_gate.weight", f"{theirs}.attn.gate_threshold", (config.n_heads,), within=GATE_RANGE
            )
        )
    if qfi and config.state == "diagonal":
        names += [
            TensorName(f"{ours}.attn_q_gain.weight", f"{theirs}.attn.q_gain", (config.n_heads,)),
            TensorName(f"{ours}.attn_k_gain.weight", f"{theirs}.attn.k_gain", (config.n_kv_heads,)),
        ]
    return [
        *names,
        _matrix(f"{ours}.attn_output", f"{theirs}.attn.o", (d, q)),
        TensorName(f"{ours}.ffn_norm.weight", f"{theirs}.ffn_norm.weight", (d,)),
        _matrix(f"{ours}.ffn_up", f"{theirs}.ffn.up", (config.hidden_dim, d)),
        _down(f"{ours}.ffn_down_t", f"{theirs}.ffn.down", (config.hidden_dim, d))
        if sparse_down
        else _matrix(f"{ours}.ffn_down", f"{theirs}.ffn.down", (d, config.hidden_dim)),
    ]


def _down(ours: str, part: str, shape: tuple[int, int]) -> TensorName:
    return TensorName(f"{ours}.weight", f"{part}.weight", shape, part, transposed=True)


def _rows(ours: str, torch: str, shape: tuple[int, int]) -> TensorName:
    """A matrix that is F32 in every file: few rows, whose orthonormality a coarser type would lose."""
    return TensorName(f"{ours}.weight", torch, shape)


def _matrix(ours: str, part: str, shape: tuple[int, int], torch: str | None = None, interleaved: int = 0) -> TensorName:
    return TensorName(f"{ours}.weight", torch or f"{part}.weight", shape, part, interleaved=interleaved)
