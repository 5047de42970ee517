/* session.h - one timeline: its cache, records, and the buffers of a pass. Shared by session.c (bookkeeping) and the arithmetic of a pass (pass.h).
 *
 * Sizes: D d_model, H query heads, G key/value heads, C head_dim, S state_dim, b basin_dim, r head_width, V vocabulary, N n_batch, X n_ctx, L n_caches.
 * All of it lies in one anonymous map made when the session is; pages come to be when they are first used.
 */
#ifndef QIG_SESSION_H
#define QIG_SESSION_H

#include <math.h>

#include "model.h"
#include "pool.h"
#include "sampler.h"
#include "speculate.h"
#include "telemetry.h"
#include "thread_count.h"

typedef struct {
    qig_telemetry telemetry;
    float mean_surprise; /* m after this token */
    double phi_mean;     /* the regime detector's m after this token */
    qig_cache_reads reads;
} qig_record;

/* What one token of a pass notes. */
typedef struct {
    double phi, curvature; /* sums over heads and blocks; over blocks */
    double angle;          /* by which the last block turned the state */
    double drift;          /* of the readout, from the session's start */
    double phi_mean;       /* the regime detector's m */
    double weight_bytes;   /* its shares */
    uint64_t active, possible; /* pairs let through, pairs seen, over heads and blocks */
    uint64_t cache_bytes;
    qig_cache_reads reads;
    int32_t blocks, regime;
} qig_token_sums;

/* Passes of up to so many tokens, what a round of speculation evaluates at most, are decode; larger ones have a thread count of their own. */
enum { QIG_DECODE_TOKENS = QIG_MAX_DRAFT + 1 };
enum { QIG_EARLY = 16 }; /* tokens whose mean readout is a session's start */

struct qig_session {
    qig_model *model;
    qig_pool *pool;
    int32_t n_ctx, n_batch;
    int32_t most_threads;        /* of the pool */
    qig_thread_count threads[2]; /* for decode, for larger passes */
    int cache_i8, prompt_telemetry, sketched; /* sketched: keys have a sketch */
    int32_t pos;
    int32_t head_rows; /* rows of `rows` */
    int32_t n_caches, dense; /* one a block and one a loop of the integrator; those below dense hold every token's key */
    float margin;
    uint64_t embed_bytes, readout_bytes, head_bytes; /* read for a token, a set of readouts, a set of distributions */
    uint64_t guess_bytes; /* read for a guess of the draft: with the token's embedding and the draft's words */
    uint64_t cache_bytes;                            /* of the whole cache */

    qig_sampler_params sampler;
    uint64_t rng;

    void *arena;
    size_t arena_bytes;
    /* history */
    int32_t *tokens;     /* [X] */
    qig_record *records; /* [X] */
    uint64_t *rng_at;    /* [X + 1] the generator's state when the session came to a position */
    /* cache; int8 with scales, or float without; L = n_caches */
    void *keys, *values;             /* [L, G, X, S], [L, G, X, C]: the first counts[l] of X are filled */
    float *key_scales, *value_scales; /* [L, G, X] */
    uint32_t *sketch;                /* [L, G, blocks of X, words of a block] of the keys, or NULL: ops.h, qig_sift_i8_fn */
    int32_t *counts;                 /* [L] */
    int32_t *positions;              /* [L - dense, X] of the keys in caches that tokens may miss, rising */
    /* the model */
    uint64_t *block_bytes; /* [layers + 1] weights of a block but for its feed-forwards' matrices; the last one is the integrator's */
    float *max_distance;   /* [layers + 1, H] the absolute gate */
    /* a pass */
    float *x;            /* [N, D] the residual stream */
    int32_t *everyone, *alive; /* [N] 0, 1, ...; the tokens that still run */
    int32_t *order;      /* [2 N] those, the ones for the deep feed-forward first, and scratch */
    float *x_in;         /* [N, D] before the block; from here on row k is of token alive[k], but for what is marked */
    float *norm;         /* [N, norm_width] normed input of a product, result of one before it is added; z; the head's inner vector */
    float *wide;         /* [N, wide_width] q, k, v; or the hidden units */
    float *gate;         /* [N, hidden] what gates the hidden units; architectures llama and jarvis-quantum */
    float *mixed;        /* [N, H C] attention's output */
    qig_block_a8 *norm_q;  /* [N, norm_width / 32] rows of `norm`, quantized */
    qig_block_a8 *wide_q;  /* [N, max(H C, hidden) / 32] rows of `mixed` or of the hidden units, quantized */
    int32_t *units;      /* [N, hidden] numbers of a row's active hidden units; where a block has ffn_down_t */
    int32_t *n_units;    /* [N] */
    void *query;         /* [N, H, S] query states, as the cache's keys */
    float *query_scale;  /* [N, H] */
    float *early;        /* [min(X, QIG_EARLY), D] sums of the readouts' directions over the session's first 1, 2, ... tokens */
    float *turn;         /* [N, S] of token i: cosines, then sines, of the positions' angles */
    float *coupling;     /* [N] of token i: r(L), from the regime on times its factor */
    double *frequency;   /* [C] radians a position */
    float *head_phi;     /* [N, H] ln N_eff / ln n */
    int32_t *head_active;  /* [N, H] pairs let through */
    qig_sift_reads *head_reads; /* [N, H] */
    qig_token_sums *sums;  /* [N] of token i */
    double *exit_distance, *exit_confidence; /* [N] at an exit */
    float *exit_logits[2]; /* [N, V] of an exit and the one before it, by turns; rule bures */
    double *exit_lse;      /* [2 N] their ln sum exp: of row k now, of token i before */
    const float *ready;    /* logits of a token that was evaluated alone and stopped at an exit that has them (and left `parts`), else NULL */
    int32_t *exit_row;     /* [N] of token i: its row at the exit before */
    double *exit_parts;    /* [N, ceil(V / QIG_LOGIT_PART)] */
    float *scratch;      /* [threads, scratch_width] overlaps and weights of one query, with a sketch their keys' numbers and positions; one state; one x */
    /* distributions */
    float *logits;       /* [V] of the last token evaluated */
    float *rows;         /* [head_rows, V], with prompt_telemetry only */
    qig_logit_part *parts; /* [N, ceil(V / QIG_LOGIT_PART)] */
    double lse;            /* of logits */
    qig_candidate *candidates; /* [V] */
    qig_speculation spec;
    char *note;            /* of the file that was loaded last, or NULL */
    size_t note_len;
    size_t norm_width, wide_width, wide_q_width, scratch_width;
};

/* The blocks on tokens[pos0 .. pos0 + n), n <= n_batch: fills their cache rows, sums and normed readouts. */
void qig_forward_blocks(qig_session *s, int32_t pos0, int32_t n);
/* Logits of rows [row0, row0 + n) of the pass, n <= N, to out [n, V], and the parts of each. */
void qig_forward_head(qig_session *s, int32_t row0, int32_t n, float *out);

/* The embedding alone of the token at pos, for the draft to look at. */
void qig_forward_embed(qig_session *s, int32_t pos);
/* What the draft makes of the token at pos, to row `row` of `norm`, for a head. draft.c */
void qig_draft_look(qig_session *s, int32_t pos, int32_t row);
/* Logits of the words that the draft guesses, of that row, to out [words]. */
void qig_forward_draft_head(qig_session *s, int32_t row, float *out);
/* The row of a position in spec.embedded or spec.states. */
const float *qig_recent(const qig_session *s, const float *ring, int32_t pos);

/* The first `kept` of the n tokens of a pass at s->pos become the session's, as if evaluated one by one; the others are forgotten. rows [n, vocab]:
 * their logits, of which qig_forward_head left the parts; bytes: read for the pass beside what its sums and embeddings say. */
void qig_session_keep(qig_session *s, int32_t n, int32_t kept, const float *rows, double bytes);

/* Positions of the keys in cache l, NULL where every token has one. */
static inline int32_t *qig_layer_positions(const qig_session *s, int32_t l) {
    return l < s->dense ? NULL : s->positions + (size_t)(l - s->dense) * (size_t)s->n_ctx;
}

/* The sketch of key/value head g in cache l: its block 0, the last in memory. */
static inline uint32_t *qig_layer_sketch(const qig_session *s, int32_t l, int32_t g) {
    const size_t blocks = ((size_t)s->n_ctx + QIG_SKETCH_BLOCK - 1) / QIG_SKETCH_BLOCK;
    return s->sketch + (((size_t)l * (size_t)s->model->n_kv_heads + (size_t)g + 1) * blocks - 1) * qig_sketch_words(s->model->state_dim);
}

/* Whether a head with that slope may leave keys out where a token sees n of them, at a gain: it takes a cut by the score, and nats of decay before a sketch is
 * worth its bytes. Follows from measurements on trained keys (docs/LOG.md); the floats are the same either way. */
static inline int qig_sifts(float margin, float slope, int32_t n) { return margin < INFINITY && slope > 0 && (slope * (float)n >= 64 || n >= 2048); }

/* The thread count that a pass of n tokens goes by. */
static inline qig_thread_count *qig_pass_threads(qig_session *s, int32_t n) { return &s->threads[n > QIG_DECODE_TOKENS]; }

static inline int qig_logit_parts(int32_t vocab) { return (vocab + QIG_LOGIT_PART - 1) / QIG_LOGIT_PART; }

#endif
