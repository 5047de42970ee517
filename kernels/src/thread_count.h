/* thread_count.h - how many threads evaluate, where nobody said: tried out on a session's own first tokens.
 *
 * Decode is bound by memory, which few threads saturate: more of them may be slower (two against four on a Raspberry Pi 5), and which count is the
 * fastest depends on machine, model and what else runs. So the blocks of the model that are evaluated anyway are timed, by turns of some milliseconds with
 * the count in use and with a rival; no token is evaluated for it, and floats do not depend on it. The mean seconds by work (weight bytes) of the turns
 * decide: where a busy machine stalls one of many threads now and then, that counts. A rival must be clearly faster, else the count stays as it is.
 *
 * The cost is bounded twice: what rivals lost stays below a share of all seconds so far and one turn, and they run for half a second at most together.
 */
#ifndef QIG_THREAD_COUNT_H
#define QIG_THREAD_COUNT_H

#include <stdint.h>

typedef struct { /* turns of one count: their seconds by work */
    int32_t n;
    double sum, low, high;
} qig_thread_turns;

typedef struct {
    int32_t count; /* in use */
    int32_t rival; /* the one on trial; 0: the count stands */
    uint32_t left; /* bit c: count c is still to be tried */
    int trying;    /* this turn is the rival's */
    int fresh;     /* no block of this turn was timed: the first one wakes threads */
    int warm;      /* a first turn, which may read the file, has passed */
    int32_t blocks; /* timed in this turn */
    double seconds, work; /* of those */
    double block;  /* seconds of a block in the last turn of the count in use */
    qig_thread_turns mine, its; /* since the rival's trial began: of the count in use, of the rival */
    double total, lost, tried; /* seconds of all blocks; those that rivals took longer; those of rivals */
} qig_thread_count;

/* count: to begin with; most: the highest on trial, up to 8; where that is 1 there is nothing to try. */
void qig_thread_count_begin(qig_thread_count *t, int32_t count, int32_t most);
/* A count that was given, or settled elsewhere. */
void qig_thread_count_set(qig_thread_count *t, int32_t count);
static inline int qig_thread_count_stands(const qig_thread_count *t) { return t->rival == 0; }
/* What runs now. */
static inline int32_t qig_thread_count_now(const qig_thread_count *t) { return t->trying ? t->rival : t->count; }
/* What a block took with that, and its work in a unit that stays the same. */
void qig_thread_count_took(qig_thread_count *t, double seconds, double work);

#endif
