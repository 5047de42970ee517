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

/* Draws one of vocab ids. history: the tokens so far, oldest first; scratch: [vocab], overwritten; *rng moves on (not when greedy).
 * QIG_ERR_ARG when a logit is NaN or none is finite. Allocates nothing. */
int qig_sampler_draw(const qig_sampler_params *p, const float *logits, int32_t vocab, const int32_t *history, int32_t n_history,
                     qig_candidate *scratch, uint64_t *rng, int32_t *token, char *err, size_t errlen);

#endif
