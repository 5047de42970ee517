/* thread_count.c - see thread_count.h. */
#include "thread_count.h"

#include <stddef.h>

static const double
    TURN = 0.005,       /* seconds of a turn: long enough to meet what else runs on the machine */
    LONG = 0.01,        /* a block of so many seconds is timed also where it is the first: beside it the waking of threads is nothing */
    CLEARLY = 0.95,     /* a rival takes over where its mean is below this share of the other one's */
    EARLY = 0.9,        /* or its slowest of the first turns below this one */
    HOPELESS = 1.1,     /* its trial ends where its fastest of the first turns is above this one */
    OUTLIER = 4,        /* a turn counts as at most so many times the fastest */
    SHARE = 0.05,       /* of all seconds so far that rivals may have lost, */
    START = 0.005,      /* and seconds beside */
    MOST_SECONDS = 0.5; /* that rivals run, together */

enum { FIRST = 5, TURNS = 15 }; /* turns of a rival */

/* Powers of two first: they tell most about the rest. */
static const int32_t order[] = { 4, 2, 1, 3, 8, 6, 5, 7 };

static void next_turn(qig_thread_count *t, int trying) {
    t->fresh = trying != t->trying;
    t->trying = trying;
    t->blocks = 0;
    t->seconds = t->work = 0;
}

static void next_rival(qig_thread_count *t) {
    t->rival = 0;
    t->mine = t->its = (qig_thread_turns){ 0 };
    for (size_t i = 0; i < sizeof order / sizeof *order && !t->rival && t->tried < MOST_SECONDS; i++)
        if (t->left >> order[i] & 1) t->rival = order[i];
}

void qig_thread_count_begin(qig_thread_count *t, int32_t count, int32_t most) {
    *t = (qig_thread_count){ .count = count };
    for (int32_t c = 1; c <= most; c++) t->left |= (uint32_t)(c != count) << c;
    next_rival(t);
}

void qig_thread_count_set(qig_thread_count *t, int32_t count) { *t = (qig_thread_count){ .count = count }; }

/* Without the slowest: one long interruption decides nothing. */
static double mean(const qig_thread_turns *u) { return u->n > 1 ? (u->sum - u->high) / (u->n - 1) : u->sum; }

static void add_turn(qig_thread_turns *u, double rate) {
    if (u->n == 0 || rate < u->low) u->low = rate;
    if (rate > OUTLIER * u->low) rate = OUTLIER * u->low;
    if (rate > u->high) u->high = rate;
    u->sum += rate;
    u->n++;
}

/* Whether a turn of the rival keeps the share. One that is not known yet is expected to be as much slower as it has fewer threads. */
static int affordable(const qig_thread_count *t) {
    const double ratio = t->its.n ? mean(&t->its) / mean(&t->mine) : t->rival < t->count ? (double)t->count / t->rival : 1;
    const double turn = ratio * t->block > TURN ? ratio * t->block : TURN, loss = turn * (1 - 1 / ratio);
    return t->lost + (loss > 0 ? loss : 0) <= START + SHARE * t->total;
}

/* The counts that lie behind `beyond` as seen from `from`, itself among them. */
static uint32_t behind(int32_t from, int32_t beyond) { return beyond < from ? (2u << beyond) - 1 : ~((1u << beyond) - 1); }

/* Time falls with the count until something is saturated and then rises: behind a count that is worse there is nothing better. */
static void judge(qig_thread_count *t) {
    const double other = mean(&t->mine);
    const int ended = t->its.n == TURNS || t->tried >= MOST_SECONDS;
    if (t->its.n >= FIRST && (t->its.high < EARLY * other || (t->its.n == TURNS && mean(&t->its) < CLEARLY * other))) {
        t->left &= ~(behind(t->rival, t->count) | 1u << t->rival);
        t->count = t->rival;
        next_rival(t);
    } else if (ended || (t->its.n >= FIRST && t->its.low > HOPELESS * other)) {
        t->left &= ~behind(t->count, t->rival);
        next_rival(t);
    }
}

void qig_thread_count_took(qig_thread_count *t, double seconds, double work) {
    if (!t->rival || !(work > 0) || !(seconds > 0)) return;
    const int trying = t->trying, fresh = t->fresh;
    t->fresh = 0;
    t->total += seconds;
    if (trying) {
        t->tried += seconds;
        t->lost += seconds - mean(&t->mine) * work;
    }
    if (fresh && seconds < LONG) return;
    t->blocks++;
    t->seconds += seconds;
    t->work += work;
    if (t->seconds < TURN) return;
    if (trying) {
        const int32_t rival = t->rival;
        add_turn(&t->its, t->seconds / t->work);
        judge(t);
        next_turn(t, 0);
        t->fresh = t->count != rival;
        return;
    }
    if (t->warm) add_turn(&t->mine, t->seconds / t->work);
    t->warm = 1;
    t->block = t->seconds / t->blocks;
    next_turn(t, t->mine.n > 0 && affordable(t));
}
