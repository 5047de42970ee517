/* session.h - one timeline: its cache, records, and the buffers of a pass. Shared by session.c (bookkeeping) and forward.c (arithmetic).
 *
 * Sizes: D d_model, H query heads, G key/value heads, C head_dim, S state_dim, b basin_dim, r head_width, V vocabulary, N n_batch, X n_ctx.
 * All of it lies in one anonymous map made when the session is; pages come to be when they are first used.
 */
#ifndef QIG_SESSION_H
#define QIG_SESSION_H

#include "model.h"
#include "pool.h"
#include "sampler.h"
#include "telemetry.h"

typedef struct {
    qig_telemetry telemetry;
    float mean_surprise; /* m after this token */
} qig_record;

/* What the blocks add up for one token of a pass. */
typedef struct {
    double phi, curvature; /* sums over heads and blocks; over blocks */
    double drift;          /* of the readout, from the session's start */
    uint64_t active;       /* pairs let through, over heads and blocks */
    uint64_t cache_bytes;
} qig_token_sums;

enum { QIG_EARLY = 16 }; /* tokens whose mean readout is a session's start */

struct qig_session {
    qig_model *model;
    qig_pool *pool;
    int32_t n_ctx, n_batch, n_threads;
    int cache_i8, prompt_telemetry;
    int32_t pos;
    int32_t head_rows; /* rows of `rows` */
    float max_distance, margin;
    uint64_t embed_bytes, block_bytes, head_bytes, cache_bytes; /* read once for a token, a pass, the distributions; whole cache */

    qig_sampler_params sampler;
    uint64_t rng;

    void *arena;
    size_t arena_bytes;
    /* history */
    int32_t *tokens;     /* [X] */
    qig_record *records; /* [X] */
    uint64_t *rng_at;    /* [X + 1] the generator's state when the session came to a position */
    /* cache; int8 with scales, or float without */
    void *keys, *values;             /* [layers, G, X, S], [layers, G, X, C] */
    float *key_scales, *value_scales; /* [layers, G, X] */
    /* a pass */
    float *x;            /* [N, D] the residual stream */
    float *x_in;         /* [N, D] before the block */
    float *norm;         /* [N, norm_width] normed input of a product, result of one before it is added; z; the head's inner vector */
    float *wide;         /* [N, wide_width] q, k, v; or the hidden units */
    float *mixed;        /* [N, H C] attention's output */
    qig_block_a8 *norm_q;  /* [N, norm_width / 32] rows of `norm`, quantized */
    qig_block_a8 *wide_q;  /* [N, max(H C, hidden) / 32] rows of `mixed` or of the hidden units, quantized */
    void *query;         /* [N, H, S] query states, as the cache's keys */
    float *query_scale;  /* [N, H] */
    float *early;        /* [min(X, QIG_EARLY), D] sums of the readouts' directions over the session's first 1, 2, ... tokens */
    float *turn;         /* [N, S] cosines, then sines, of the positions' angles */
    float *coupling;     /* [N] r(L) */
    double *frequency;   /* [C] radians a position */
    float *head_phi;     /* [N, H] ln N_eff / ln n */
    int32_t *head_active;  /* [N, H] pairs let through */
    qig_token_sums *sums;  /* [N] */
    float *scratch;      /* [threads, scratch_width] overlaps and weights of one query; one state */
    /* distributions */
    float *logits;       /* [V] of the last token evaluated */
    float *rows;         /* [head_rows, V], with prompt_telemetry only */
    qig_logit_part *parts; /* [N, ceil(V / QIG_LOGIT_PART)] */
    double lse;            /* of logits */
    qig_candidate *candidates; /* [V] */
    size_t norm_width, wide_width, wide_q_width, scratch_width;
};

/* The blocks on tokens[pos0 .. pos0 + n), n <= n_batch: fills their cache rows, sums and normed readouts. */
void qig_forward_blocks(qig_session *s, int32_t pos0, int32_t n);
/* Logits of rows [row0, row0 + n) of the pass, n <= N, to out [n, V], and the parts of each. */
void qig_forward_head(qig_session *s, int32_t row0, int32_t n, float *out);

static inline int qig_logit_parts(int32_t vocab) { return (vocab + QIG_LOGIT_PART - 1) / QIG_LOGIT_PART; }

#endif
