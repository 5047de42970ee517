/* sampler.h - one token from a row of logits; docs/formats.md has the order of the steps. */
#ifndef QIG_SAMPLER_H
#define QIG_SAMPLER_H

#include <stdint.h>

#include "../include/qig.h"

/* The generator's whole state: a number, so that a session can keep one for every position. */
uint64_t qig_rng_seed(uint64_t seed);
double qig_rng_uniform(uint64_t *state); /* [0, 1), 53 bits */

typedef struct { float logit; int32_t id; } qig_candidate;

/* QIG_OK, or QIG_ERR_ARG with a line that names the bad value and the accepted ones. */
int qig_sampler_check(const qig_sampler_params *p, char *err, size_t errlen);

/* A distribution as the sampler's parameters make it from logits: candidates [first, end) of c, the others have none of it. */
typedef struct {
    const qig_candidate *c;
    int32_t first, end;
    qig_candidate best;
    double inv_t, kept; /* probability of a candidate: exp((logit - best.logit) inv_t) / kept */
} qig_choice;

/* Whether a draw takes the best candidate and no random number. */
int qig_sampler_greedy(const qig_sampler_params *p);
/* The distribution of the next token. history: the tokens so far, oldest first; scratch: [vocab], overwritten, what *out points into.
 * QIG_ERR_ARG when a logit is NaN or none is finite. Allocates nothing. */
int qig_sampler_shape(const qig_sampler_params *p, const float *logits, int32_t vocab, const int32_t *history, int32_t n_history,
                      qig_candidate *scratch, qig_choice *out, char *err, size_t errlen);
/* The candidate at u in [0, 1) of the mass. */
const qig_candidate *qig_choice_take(const qig_choice *c, double u);
double qig_choice_probability(const qig_choice *c, const qig_candidate *of);
/* One token drawn from qig_sampler_shape's distribution; *rng moves on (not when greedy). */
int qig_sampler_draw(const qig_sampler_params *p, const float *logits, int32_t vocab, const int32_t *history, int32_t n_history,
                     qig_candidate *scratch, uint64_t *rng, int32_t *token, char *err, size_t errlen);

#endif
