/* draft_length.h - how many tokens to draft in a round of speculation, from what rounds took and how often drafts were right. */
#ifndef QIG_DRAFT_LENGTH_H
#define QIG_DRAFT_LENGTH_H

#include <stdint.h>

#include "../include/qig.h"

typedef struct {
    double tested, accepted;          /* draft tokens, older ones count less */
    double draft;                     /* seconds of one more draft step, 0: none was seen */
    double round[QIG_MAX_DRAFT + 1];  /* seconds of a round of that many drafts, 0: none was seen */
    uint32_t seen[QIG_MAX_DRAFT + 1]; /* the number of the last round of that many */
    uint32_t rounds;
} qig_draft_length;

/* A draft token was held against the full model. */
void qig_draft_length_tested(qig_draft_length *d, int accepted);
/* A round of n drafts took that many seconds, draft_seconds of them for drafting. */
void qig_draft_length_took(qig_draft_length *d, int32_t n, double draft_seconds, double seconds);
/* The share of draft tokens that are right, as far as it is known; towards 2 of 3 while it is not. */
double qig_draft_length_acceptance(const qig_draft_length *d);
/* Drafts of the next round, at most `most`: most tokens a second are expected of them; 0 where drafting does not pay. Now and then a length that
 * has not been tried for long. */
int32_t qig_draft_length_choose(const qig_draft_length *d, int32_t most);

#endif
