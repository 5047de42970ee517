/* model.h - an opened model as the engine sees it: configuration, tensors in the mapped file, kernels, tokenizer.
 *
 * Everything here was checked when the file was opened (docs/formats.md): sizes are positive and within the limits below, every tensor is
 * present, has the shape written beside it, lies inside the map, and has whole blocks in a row. The engine may use it without a check.
 */
#ifndef QIG_MODEL_H
#define QIG_MODEL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "../include/qig.h"
#include "gguf.h"
#include "ops/ops.h"
#include "tokenizer.h"

/* Limits of this build; a file beyond them is refused with QIG_ERR_UNSUPPORTED. */
enum {
    QIG_MAX_VOCAB = 1 << 20,
    QIG_MAX_CONTEXT = 1 << 20,
    QIG_MAX_LAYERS = 512,
    QIG_MAX_HEAD_DIM = 512,
    QIG_MAX_HEADS = 1 << 12,
    QIG_MAX_WIDTH = 1 << 20, /* d_model, hidden_dim, shallow_dim, basin_dim, head_rank, H C */
    QIG_MAX_LOOPS = 64
};

typedef enum { QIG_STATE_PURE = 0, QIG_STATE_DIAGONAL = 1 } qig_state_kind;
typedef enum { QIG_EXIT_BURES = 0, QIG_EXIT_PROBE = 1 } qig_exit_rule;

/* A matrix [ne1 out, ne0 in] (a vector has ne1 = 1) in the mapped file; rows of row_bytes, one after another. */
typedef struct {
    const void *data;
    int type; /* qig_type of gguf.h */
    int64_t ne0, ne1;
    size_t row_bytes;
} qig_tensor;

typedef struct {
    qig_tensor attn_norm;                /* [D] F32 */
    qig_tensor attn_norm_bias, ffn_norm_bias; /* [D] F32; jarvis, else data == NULL */
    qig_tensor attn_q;                   /* [H C, D] */
    qig_tensor attn_k, attn_v;           /* [G C, D] */
    qig_tensor attn_output;              /* [D, H C]; jarvis: data == NULL, the heads' outputs are added as they stand */
    qig_tensor attn_temp;                /* [H] F32, finite, > 0; dense: data == NULL */
    qig_tensor attn_q_gain, attn_k_gain; /* [H], [G] F32, finite; diagonal state only, else data == NULL */
    qig_tensor ffn_norm;                 /* [D] F32 */
    qig_tensor ffn_up;                   /* [hidden, D] */
    qig_tensor ffn_gate;                 /* [hidden, D]; architecture llama, else data == NULL */
    qig_tensor ffn_down;                 /* [D, hidden], or data == NULL: */
    qig_tensor ffn_down_t;               /* [hidden, D] */
    qig_tensor attn_gate;                /* [H] F32 in [0, 1); with qig.gate.learnt, else data == NULL */
    /* data == NULL where the block does not choose its feed-forward */
    qig_tensor ffn_shallow_up, ffn_shallow_down; /* [shallow, D], [D, shallow] */
    qig_tensor ffn_route;                        /* [2] F32, finite */
    qig_tensor exit_probe;                       /* [D + 1] F32, finite; where an exit with a probe follows the block */
} qig_layer;

/* What a session may run less of, or more: docs/formats.md, Depth. */
typedef struct {
    int32_t mandatory; /* M, 1 to n_layers */
    int32_t shallow;   /* hidden units of the shallow feed-forward, 0: there is none */

    int regime; /* whether there is a detector */
    float low, high, smoothing, hysteresis, curvature;
    float factor[3]; /* of the coupling by regime, > 0; 1 without a detector */

    int32_t n_exits;
    int32_t *exit_blocks; /* [n_exits] rising, M to n_layers - 1 */
    float *exit_thresholds; /* [n_exits] in [0, 1] */
    qig_exit_rule exit_rule;

    float collapse;   /* rate of decoherence above which a state collapses, > 0; 0: off */
    qig_tensor modes; /* [modes, D] F32 */

    int32_t min_loops, max_loops; /* of the integrator; 0: there is none */
    float min_phi;
    qig_layer integrator;

    int32_t symmetry_rank; /* 0: off */
    qig_tensor symmetry;   /* [rank, D] F32 */
} qig_depth;

/* The draft of speculation. */
typedef struct {
    int32_t lag;   /* tokens in a row that it can guess, 1 to QIG_MAX_DRAFT; 0: there is none */
    int32_t hidden;
    int32_t words; /* first words of the vocabulary that it guesses */
    qig_tensor input; /* [D, lag D] */
    qig_tensor norm;  /* [D] F32 */
    qig_tensor up;    /* [hidden, D] */
    qig_tensor down;  /* [D, hidden] */
    qig_tensor output_norm; /* [D] F32 */
    uint64_t bytes;   /* of its tensors */
} qig_draft;

struct qig_model {
    const char *architecture; /* "qig", "llama", "arcee", "jarvis-quantum" */
    int dense;              /* all but the first: dot-product attention, an embedding and a head without factors, no part of `depth` and no draft */
    int jarvis;             /* the last: norms take the mean off and have biases, positions are added and turn nothing, hidden units go through GELU */
    double *position_frequency; /* [D / 2] radians a position; jarvis, else NULL */
    int32_t vocab_size, d_model, n_layers, n_heads, n_kv_heads, head_dim, hidden_dim;
    int32_t basin_dim;      /* 0: the embedding has no factors, as where dense */
    int32_t head_rank;      /* qig.head_rank as it stands in the file: 0 when the head is tied, and where dense */
    int32_t head_width;     /* columns of output: head_rank, basin_dim when the head is tied, d_model when it has no factors */
    int32_t state_dim;      /* real entries of one state: head_dim, or 2 head_dim for diagonal with phases */
    int32_t context_length;
    qig_state_kind state;
    int state_phases;       /* 0 unless diagonal */
    qig_metric metric;
    int all_f32;            /* every tensor is F32: the cache defaults to F32 */
    float norm_eps;         /* > 0 */
    float rope_base;        /* > 0 */
    float coupling_beta, coupling_ref, coupling_min, coupling_max, kappa_0;
    float gate_threshold;   /* [0, 1), 0: off */
    float gate_margin;      /* >= 0 nats, 0: off */
    int gate_learnt;        /* every head has its own threshold: attn_gate of the layers */
    int calibrated;         /* confidence: sigmoid(scale logit(c) + bias) */
    float confidence_scale, confidence_bias;
    float *decay_slopes;    /* [H] nats a position, finite, >= 0; NULL: off */

    const qig_ops *ops;
    qig_depth depth;
    qig_draft draft;
    qig_tensor token_embd;  /* [V, b], or [V, D] where basin_dim is 0 */
    qig_tensor token_scale; /* [V] F32, finite, >= 1; data == NULL: rows are as they are */
    qig_tensor basin_proj;  /* [D, b]; data == NULL where basin_dim is 0 */
    qig_layer *layers;      /* [n_layers] */
    qig_tensor output_norm; /* [D] F32; jarvis: data == NULL where no norm stands before the head */
    qig_tensor output_norm_bias; /* [D] F32; jarvis with that norm, else data == NULL */
    qig_tensor output_down; /* [head_width, D]; data == NULL where the head has no factors */
    qig_tensor output;      /* [V, head_width]; token_embd itself when the head is tied */

    uint64_t n_params, weight_bytes;
    atomic_int in_use;      /* a session was opened: settings stay as they are */
    atomic_int threads[2];  /* for decode, for larger passes: what a session settled on by trial, 0: none did yet */
    const char *file_type;  /* dominant type of the 2-D tensors */
    char *name;             /* general.name, or "" */

    qig_gguf *gguf;         /* owns the map */
    qig_tokenizer *tokenizer;
};

/* The matrix of the head that reads a normed state. */
static inline const qig_tensor *qig_head_reads(const qig_model *m) { return m->output_down.data ? &m->output_down : &m->output; }

/* qig_model_open over a file that was read already; takes g over, also when it fails. file is only used in errors. */
int qig_model_from_gguf(qig_gguf *g, const char *file, const char *isa, qig_model **out, char *err, size_t errlen);

#endif
