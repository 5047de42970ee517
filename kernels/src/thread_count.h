/* thread_count.h - how many threads evaluate, where nobody said: tried out on a session's own first tokens.
 *
 * Decode is bound by memory, which few threads saturate: more of them may be slower (two against four on a Raspberry Pi 5), and which count is the
 * fastest depends on machine, model and what else runs. So blocks of the model that have to be evaluated anyway are timed, some of them with a rival count;
 * no token is evaluated for it, and floats do not depend on it. What is held against each other are seconds by work (weight bytes) of two blocks that ran
 * one after the other, a rival's over that of the count in use; the median of such ratios decides. A rival must be clearly faster, else the count stays as it is.
 *
 * The cost is bounded twice: what rivals lost never exceeds a share of all seconds so far, and they run for half a second at most together.
 */
#ifndef QIG_THREAD_COUNT_H
#define QIG_THREAD_COUNT_H

#include <stdint.h>

enum { QIG_THREAD_RATIOS = 15 };

typedef struct {
    int32_t count;  /* in use */
    int32_t rival;  /* the one on trial; 0: the count stands */
    uint32_t left;  /* bit c: count c is still to be tried */
    int32_t before; /* what ran before the next block */
    int trying;     /* the next block is the rival's */
    int32_t n;
    double ratios[QIG_THREAD_RATIOS]; /* [n] seconds by work with the rival over those with the count in use */
    double last, last_seconds;        /* the last block that counts: seconds by work, 0: there is none; seconds */
    double total, lost, tried;        /* seconds of all blocks; those that rivals took longer; those of rivals */
} qig_thread_count;

/* count: to begin with; most: the highest on trial, up to 8; where that is 1 there is nothing to try. */
void qig_thread_count_begin(qig_thread_count *t, int32_t count, int32_t most);
/* A count that was given, or settled elsewhere. */
void qig_thread_count_set(qig_thread_count *t, int32_t count);
static inline int qig_thread_count_stands(const qig_thread_count *t) { return t->rival == 0; }
/* A pass begins, with the count in use; what ran before it is no neighbour of its first block. */
void qig_thread_count_pass(qig_thread_count *t);
/* The count for the next block of the pass, which is to have that many more with this one. */
int32_t qig_thread_count_next(qig_thread_count *t, int32_t blocks);
/* What that block took, and its work in a unit that stays the same. */
void qig_thread_count_took(qig_thread_count *t, double seconds, double work);

#endif
