/* draft_length.c - see draft_length.h. */
#include "draft_length.h"

enum {
    FIRST_DRAFTS = 2, /* the first round that drafts */
    PROBE_EVERY = 32, /* rounds between two tries of a length that was not tried for long */
    MEMORY = 64,      /* tested tokens after which one counts 1 / e */
    SMOOTHING = 8     /* rounds over which seconds are averaged */
};

void qig_draft_length_tested(qig_draft_length *d, int accepted) {
    const double keep = 1 - 1.0 / MEMORY;
    d->tested = keep * d->tested + 1;
    d->accepted = keep * d->accepted + (accepted ? 1 : 0);
}

/* A round that lost the processor for a while counts as one of twice the usual time. */
static void average(double *mean, double value) {
    if (*mean > 0) *mean += ((value < 2 * *mean ? value : 2 * *mean) - *mean) / SMOOTHING;
    else *mean = value;
}

void qig_draft_length_took(qig_draft_length *d, int32_t n, double draft_seconds, double seconds) {
    d->seen[n] = ++d->rounds;
    average(&d->round[n], seconds);
    if (n > 0) average(&d->draft, draft_seconds / (n + 1));
}

double qig_draft_length_acceptance(const qig_draft_length *d) { return (d->accepted + 2) / (d->tested + 3); }

/* Seconds of a round of n drafts. Between lengths that were seen a line; beyond the longest as if verification cost nothing more, so that a longer
 * one is tried where it might pay. */
static double expected_seconds(const qig_draft_length *d, int32_t n) {
    int32_t below = n, above = n;
    while (below > 0 && d->round[below] <= 0) below--;
    while (above < QIG_MAX_DRAFT && d->round[above] <= 0) above++;
    if (below == n) return d->round[n];
    if (d->round[above] <= 0) return d->round[below] + (n - below) * d->draft;
    return d->round[below] + (d->round[above] - d->round[below]) * (n - below) / (above - below);
}

int32_t qig_draft_length_choose(const qig_draft_length *d, int32_t most) {
    const double a = qig_draft_length_acceptance(d);
    if (most <= 0 || d->round[0] <= 0) return 0;
    if (d->draft <= 0) return most < FIRST_DRAFTS ? most : FIRST_DRAFTS;
    int32_t best = 0;
    double rate = 0, tokens = 0, chance = 1;
    for (int32_t n = 0; n <= most; n++, chance *= a) {
        tokens += chance; /* the token after n drafts comes when all of them were right */
        const double r = tokens / expected_seconds(d, n);
        if (r > rate) {
            rate = r;
            best = n;
        }
    }
    if (d->rounds % PROBE_EVERY) return best;
    int32_t oldest = best;
    for (int32_t n = 0; n <= most && n <= best + 1; n++)
        if (d->rounds - d->seen[n] > d->rounds - d->seen[oldest]) oldest = n;
    return oldest;
}
