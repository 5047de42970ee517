/* test_draft_length.c - how many tokens to draft: on a made-up machine the length that is settled on is the one that gives most tokens a second. */
#include <stdint.h>
#include <stdio.h>

#include "../src/draft_length.h"

enum { ROUNDS = 4000 };

static int cases_run, cases_failed;

#define CHECK(ok, ...)                                     \
    do {                                                   \
        cases_run++;                                       \
        if (!(ok)) {                                       \
            cases_failed++;                                \
            fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
            fprintf(stderr, __VA_ARGS__);                  \
            fputc('\n', stderr);                           \
        }                                                  \
    } while (0)

typedef struct {
    double plain, draft, verify; /* seconds of a pass of one token, of a draft step, of one more token in a pass */
    double acceptance;
    int blind; /* greedy: a round without drafts tests no guess */
} machine;

static double round_seconds(const machine *m, int n) { return m->plain + n * (m->draft + m->verify); }

static double rate(const machine *m, int n) {
    double tokens = 0, chance = 1;
    for (int i = 0; i <= n; i++, chance *= m->acceptance) tokens += chance;
    return tokens / round_seconds(m, n);
}

/* A round on the machine with the length that is chosen, which is returned; u: a generator of evenly spread numbers. */
static int run(const machine *m, qig_draft_length *d, uint32_t *u, double noise) {
    const int n = qig_draft_length_choose(d, QIG_MAX_DRAFT);
    int right = 1;
    for (int i = 0; i < n + !m->blind && right; i++) {
        *u = *u * 1664525u + 1013904223u;
        right = *u / 4294967296.0 < m->acceptance;
        qig_draft_length_tested(d, right);
    }
    *u = *u * 1664525u + 1013904223u;
    const double slow = 1 + noise * (*u / 4294967296.0);
    qig_draft_length_took(d, n, slow * n * m->draft, slow * round_seconds(m, n));
    return n;
}

/* Share of the best rate that the last rounds reach. */
static double settle(const machine *m, qig_draft_length *d, int rounds, double noise, uint32_t seed) {
    double best = 0, tokens = 0, seconds = 0;
    for (int n = 0; n <= QIG_MAX_DRAFT; n++) best = rate(m, n) > best ? rate(m, n) : best;
    for (int i = 0; i < rounds; i++) {
        const int n = run(m, d, &seed, noise);
        if (i < rounds / 2) continue;
        tokens += rate(m, n) * round_seconds(m, n);
        seconds += round_seconds(m, n);
    }
    return tokens / seconds / best;
}

static void test_settles(void) {
    const machine machines[] = {
        { 1, 0.15, 0.05, 0.8, 0 }, { 1, 0.15, 0.05, 0.8, 1 }, { 1, 0.15, 0.05, 0.5, 0 }, { 1, 0.05, 0.01, 0.95, 1 },
        { 1, 0.2, 0.6, 0.6, 0 },   { 1, 0.2, 0.9, 0.9, 1 },   { 1, 0.3, 0.3, 0.3, 0 },   { 1e-4, 1e-5, 1e-5, 0.7, 1 }, { 1, 0.15, 0.05, 0, 1 },
    };
    for (size_t k = 0; k < sizeof machines / sizeof *machines; k++)
        for (int noise = 0; noise < 2; noise++) {
            qig_draft_length d = { 0 };
            const double share = settle(&machines[k], &d, ROUNDS, noise ? 0.5 : 0, 7 + (uint32_t)k);
            CHECK(share > (noise ? 0.9 : 0.94), "machine %d, noise %d: %.3f of the best rate", (int)k, noise, share);
        }
}

/* Drafting is given up where it stops paying and taken up again when it pays again; time lost once to something else does not end it. */
static void test_changes_its_mind(void) {
    const machine good = { 1, 0.1, 0.05, 0.85, 1 }, bad = { 1, 0.1, 0.9, 0.3, 1 };
    qig_draft_length d = { 0 };
    CHECK(settle(&good, &d, ROUNDS, 0.2, 1) > 0.9, "good at first");
    CHECK(settle(&bad, &d, ROUNDS, 0.2, 2) > 0.9, "bad after it");
    CHECK(settle(&good, &d, 2 * ROUNDS, 0.2, 3) > 0.9, "good again");
    for (int i = 0; i < 3; i++) qig_draft_length_took(&d, 3, 100, 1000);
    CHECK(settle(&good, &d, ROUNDS, 0.2, 4) > 0.9, "after an interruption");
}

static void test_limits(void) {
    const machine good = { 1, 0.05, 0.01, 0.95, 0 };
    qig_draft_length d = { 0 };
    uint32_t u = 5;
    CHECK(qig_draft_length_choose(&d, QIG_MAX_DRAFT) == 0, "nothing was measured: a round without drafts comes first");
    for (int i = 0; i < 500; i++) run(&good, &d, &u, 0);
    for (int most = 0; most <= QIG_MAX_DRAFT; most++) {
        const int n = qig_draft_length_choose(&d, most);
        CHECK(n >= 0 && n <= most, "%d of at most %d", n, most);
        CHECK(most > 2 || n == most, "%d of at most %d where more is better", n, most);
    }
    CHECK(qig_draft_length_acceptance(&d) > 0.85 && qig_draft_length_acceptance(&d) < 1, "acceptance %.3f", qig_draft_length_acceptance(&d));
}

int main(void) {
    test_settles();
    test_changes_its_mind();
    test_limits();
    printf("test_draft_length: %d cases, %d failed\n", cases_run, cases_failed);
    return cases_failed || cases_run < 40;
}
