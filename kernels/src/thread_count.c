/* thread_count.c - see thread_count.h. */
#include "thread_count.h"

#include <stddef.h>

static const double
    CLEARLY = 0.95,     /* a rival takes over below this share of the seconds */
    HOPELESS = 1.1,     /* the first ratios, all above it, end the trial */
    SHARE = 0.05,       /* of all seconds so far that rivals may have lost */
    MOST_SECONDS = 0.5, /* that rivals run, together */
    LONG = 0.01;        /* a block of so many seconds counts at once: beside it the waking of threads is nothing */

enum { FIRST = 3 };

/* Powers of two first: they tell most about the rest. */
static const int32_t order[] = { 4, 2, 1, 3, 8, 6, 5, 7 };

static void next_rival(qig_thread_count *t) {
    t->rival = t->n = t->trying = 0;
    t->last = 0;
    for (size_t i = 0; i < sizeof order / sizeof *order && !t->rival && t->tried < MOST_SECONDS; i++)
        if (t->left >> order[i] & 1) t->rival = order[i];
}

void qig_thread_count_begin(qig_thread_count *t, int32_t count, int32_t most) {
    *t = (qig_thread_count){ .count = count };
    for (int32_t c = 1; c <= most; c++) t->left |= (uint32_t)(c != count) << c;
    next_rival(t);
}

void qig_thread_count_set(qig_thread_count *t, int32_t count) { *t = (qig_thread_count){ .count = count }; }

void qig_thread_count_pass(qig_thread_count *t) {
    t->before = t->count;
    t->trying = 0;
    t->last = 0;
}

/* Whether a turn of the rival keeps the share. One that is not known yet is expected to be as much slower as it has fewer threads. */
static int affordable(const qig_thread_count *t, int32_t blocks) {
    double ratio = t->rival < t->count ? (double)t->count / t->rival : 1;
    for (int32_t i = 0; i < t->n; i++) ratio = (i ? ratio * i + t->ratios[i] : t->ratios[i]) / (i + 1);
    const int turn = ratio * t->last_seconds < LONG ? 2 : 1;
    const double loss = (ratio - 1) * t->last_seconds * turn;
    return blocks >= turn && t->tried < MOST_SECONDS && t->lost + (loss > 0 ? loss : 0) <= SHARE * t->total;
}

int32_t qig_thread_count_next(qig_thread_count *t, int32_t blocks) {
    if (t->rival && !t->trying && t->last > 0) t->trying = affordable(t, blocks);
    return t->trying ? t->rival : t->count;
}

/* The counts that lie behind `beyond` as seen from `from`, itself among them. */
static uint32_t behind(int32_t from, int32_t beyond) { return beyond < from ? (2u << beyond) - 1 : ~((1u << beyond) - 1); }

/* Time falls with the count until something is saturated and then rises: behind a count that is worse there is nothing better. */
static void judge(qig_thread_count *t) {
    int32_t faster = 0, slower = 0;
    for (int32_t i = 0; i < t->n; i++) {
        faster += t->ratios[i] < CLEARLY;
        slower += t->ratios[i] > HOPELESS;
    }
    const int hopeless = t->n == FIRST && slower == FIRST;
    if (t->n < QIG_THREAD_RATIOS && !hopeless && t->tried < MOST_SECONDS) return;
    if (2 * faster > QIG_THREAD_RATIOS) { /* so is the median, were all ratios there */
        t->left &= ~behind(t->rival, t->count);
        t->left &= ~(1u << t->rival);
        t->count = t->rival;
    } else {
        t->left &= ~behind(t->count, t->rival);
    }
    next_rival(t);
}

void qig_thread_count_took(qig_thread_count *t, double seconds, double work) {
    if (!t->rival || !(work > 0) || !(seconds > 0)) return;
    const int32_t ran = t->trying ? t->rival : t->count;
    const int counts = t->before == ran || seconds >= LONG; /* the first block with another count wakes threads */
    t->before = ran;
    t->total += seconds;
    if (!t->trying) {
        t->last = counts ? seconds / work : 0;
        t->last_seconds = seconds;
        return;
    }
    t->tried += seconds;
    t->lost += seconds - t->last * work;
    if (!counts) return;
    t->ratios[t->n++] = seconds / work / t->last;
    t->trying = 0;
    t->last = 0;
    judge(t);
}
