/* speculate.h - what a session keeps for exact speculation; speculate.c has the method. */
#ifndef QIG_SPECULATE_H
#define QIG_SPECULATE_H

#include "../include/qig.h"
#include "draft_length.h"
#include "ops/ops.h"
#include "sampler.h"

/* Positions that a draft may look back at: those of a pass that comes to nothing must not take the place of any. */
enum { QIG_RECENT = 2 * QIG_MAX_DRAFT + 2 };

typedef struct {
    int32_t wanted; /* drafts a round, QIG_DRAFT_AUTO, or 0: off */
    int pauses;     /* the file wants a text to end at a token in breakdown */
    /* the token that sample() gives next, where a round found it out on its way, and the generator's state after that */
    int has_next;
    int32_t next;
    uint64_t next_rng;
    const float *draft; /* [words] the draft's logits after the last token, NULL: not made yet */
    /* what the draft looks at: [QIG_RECENT, D] of the token at position p in row p % QIG_RECENT */
    float *embedded, *states; /* before any block; after the last one that it ran */
    float *input, *z, *hidden; /* its vectors: [lag D], [D], [hidden] */
    qig_block_a8 *input_q, *hidden_q; /* the same, quantized */
    float *ones;        /* [D] */
    float *draft_rows;  /* [lag, words] */
    float *full_rows;   /* [lag + 2, V] */
    qig_candidate *candidates; /* [V] */
    uint8_t *bare_at;   /* [X + 1] whether the token at a position is drawn without a guess */
    double *shares;     /* [V] zero between calls */
    qig_speculation_stats stats;
    qig_draft_length length;
} qig_speculation;

/* Another pass took the place of what is known about the last token. */
static inline void qig_speculation_forget(qig_speculation *p) {
    p->has_next = 0;
    p->draft = NULL;
}

/* qig_session_sample of a session that speculates. */
int qig_speculation_sample(qig_session *s, int32_t *token, char *err, size_t errlen);

#endif
