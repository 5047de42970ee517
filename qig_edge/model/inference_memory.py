"""Memory that a model takes at inference with 16-bit weights, from its configuration alone.

The runtime's session (kernels/src/session.c) holds the cache, one record a position, and the buffers of a pass, which is as long as fits into 8 MiB.
Cache entries are counted at 16 bit; the runtime's default for 16-bit files, int8, takes about half.
"""

from __future__ import annotations

from qig_edge.config import ModelConfig
from qig_edge.model.jarvis_config import JarvisConfig

PASS_BYTES = 8 << 20
LEAST_PASS, MOST_PASS = 8, 128  # tokens
RECORD_BYTES = 128  # telemetry, generator's state and token of a position


def fp16_bytes(config: ModelConfig | JarvisConfig) -> dict[str, int]:
    """Bytes by part, and their total: weights (vectors at 32 bit), cache at the full context, activations."""
    matrices, vectors = stored(config)
    d = config.d_model
    if isinstance(config, ModelConfig):
        # every loop of the integrator has keys and values of its own
        rows = (config.n_layers + config.recursion_max_loops) * config.n_kv_heads
        entries, queries, inner = (
            config.state_dim + config.head_dim,
            config.n_heads * config.state_dim,
            config.head_width,
        )
        wide = (config.n_heads + 2 * config.n_kv_heads) * config.head_dim
    else:
        rows, entries, queries, inner, wide = config.n_layers * config.n_heads, 2 * config.head_dim, d, d, 3 * d
    hidden = max(config.hidden_dim, inner)
    # the state before and after, a normed row, queries with keys and values or hidden units, attention's output, query states; rounded inputs
    token = 4 * (2 * d + max(d, inner) + max(wide, hidden) + 2 * queries) + 2 * max(queries, hidden)
    tokens = min(MOST_PASS, max(LEAST_PASS, PASS_BYTES // token), config.context_length)
    drafting = 0
    if isinstance(config, ModelConfig) and config.draft_lag:
        # logits of a round, of drafts and of the full depth; candidates and probabilities of the draft
        words = config.draft_vocab or config.vocab_size
        drafting = 4 * (config.draft_lag * words + (config.draft_lag + 2) * config.vocab_size) + 16 * config.vocab_size
    parts = {
        "weights": 2 * matrices + 4 * vectors,
        "cache": 2 * rows * entries * config.context_length,
        # of a pass; logits and the sampler's candidates; records
        "activations": tokens * token + 12 * config.vocab_size + drafting + RECORD_BYTES * config.context_length,
    }
    return {**parts, "total": sum(parts.values())}


def stored(config: ModelConfig | JarvisConfig) -> tuple[int, int]:
    """Numbers in a model's file: weights of matrices, which a recipe may round, and values that stay at 32 bit.

    Those are norms, temperatures, gains, thresholds, probes, role directions, and what is measured rather than trained: scales of tokens, modes.
    """
    counts = config.param_counts()
    if not isinstance(config, ModelConfig):
        return counts["total"] - counts["norms"], counts["norms"]
    blocks = config.n_layers + bool(config.recursion_max_loops)
    routed = sum(config.routed(n) for n in range(config.n_layers))
    probes = counts["routing"] - routed * (2 * config.d_model * config.shallow_dim + 1)
    heads = 0
    if config.attention == "qfi":
        heads = config.n_heads * (1 + config.gate_learnt)
        heads += config.n_heads + config.n_kv_heads if config.state == "diagonal" else 0
    norms = counts["norms"] + 2 * config.d_model * (bool(config.recursion_max_loops) + bool(config.draft_lag))
    trained = norms + blocks * heads + routed + probes + counts["symmetry"] + counts["confidence"] + counts["coupling"]
    matrices = counts["total"] - trained
    measured = routed + config.decoherence_modes * config.d_model + (config.vocab_size if config.code_rate else 0)
    return matrices, trained + measured
