/* sampler.c - selection by heap instead of a sort of the whole vocabulary: a draw looks at every logit once, then only at the candidates. */
#include "sampler.h"

#include <math.h>

#include "error.h"

/* PCG32, XSH RR output over a 64-bit linear congruential state. */
#define PCG_MULTIPLIER 6364136223846793005u
#define PCG_INCREMENT 1442695040888963407u

static uint32_t pcg_next(uint64_t *state) {
    uint64_t s = *state;
    *state = s * PCG_MULTIPLIER + PCG_INCREMENT;
    uint32_t x = (uint32_t)(((s >> 18) ^ s) >> 27), rot = (uint32_t)(s >> 59);
    return (x >> rot) | (x << ((32 - rot) & 31));
}

uint64_t qig_rng_seed(uint64_t seed) {
    uint64_t state = seed + PCG_INCREMENT;
    pcg_next(&state);
    return state;
}

double qig_rng_uniform(uint64_t *state) {
    uint64_t hi = pcg_next(state) >> 5, lo = pcg_next(state) >> 6; /* 27 and 26 bits */
    return (double)((hi << 26) | lo) * 0x1p-53;
}

int qig_sampler_check(const qig_sampler_params *p, char *err, size_t errlen) {
    if (!(p->temperature >= 0 && p->temperature <= 100))
        return qig_fail(err, errlen, QIG_ERR_ARG, "temperature = %g must be in [0, 100], 0 being greedy", (double)p->temperature);
    if (p->top_k < 0) return qig_fail(err, errlen, QIG_ERR_ARG, "top_k = %d must be at least 0, 0 being off", (int)p->top_k);
    if (!(p->top_p > 0 && p->top_p <= 1))
        return qig_fail(err, errlen, QIG_ERR_ARG, "top_p = %g must be in (0, 1], 1 being off", (double)p->top_p);
    if (!(p->min_p >= 0 && p->min_p <= 1))
        return qig_fail(err, errlen, QIG_ERR_ARG, "min_p = %g must be in [0, 1], 0 being off", (double)p->min_p);
    if (!(p->repeat_penalty > 0 && p->repeat_penalty <= 100))
        return qig_fail(err, errlen, QIG_ERR_ARG, "repeat_penalty = %g must be in (0, 100], 1 being off", (double)p->repeat_penalty);
    if (p->repeat_last_n < 0) return qig_fail(err, errlen, QIG_ERR_ARG, "repeat_last_n = %d must be at least 0", (int)p->repeat_last_n);
    return QIG_OK;
}

enum { FEW = 256 }; /* penalized tokens that are looked for one by one */

/* The order of candidates: higher logit first, then lower id. */
static inline int before(qig_candidate a, qig_candidate b) { return a.logit > b.logit || (a.logit == b.logit && a.id < b.id); }

/* Heaps of n with the best (sign 1) or the worst (sign 0) candidate at the root. */
static void sift_down(qig_candidate *c, int32_t n, int32_t i, int best_first) {
    qig_candidate moved = c[i];
    for (;;) {
        int32_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && before(c[child + 1], c[child]) == best_first) child++;
        if (before(c[child], moved) != best_first) break;
        c[i] = c[child];
        i = child;
    }
    c[i] = moved;
}

static void make_heap(qig_candidate *c, int32_t n, int best_first) {
    for (int32_t i = n / 2; i-- > 0;) sift_down(c, n, i, best_first);
}

/* The k best of n at the front of c, in no order: a heap with the worst at its root lets most candidates pass by with one comparison. */
static void keep_best(qig_candidate *c, int32_t n, int32_t k) {
    make_heap(c, k, 0);
    for (int32_t i = k; i < n; i++)
        if (before(c[i], c[0])) {
            c[0] = c[i];
            sift_down(c, k, 0, 0);
        }
}

static float penalized(const qig_sampler_params *p, float l) { return l > 0 ? l / p->repeat_penalty : l * p->repeat_penalty; }

static int is_among(const int32_t *tokens, int32_t n, int32_t id) {
    for (int32_t i = 0; i < n; i++)
        if (tokens[i] == id) return 1;
    return 0;
}

/* Of k places at c, `filled` are taken: by the best so far, from the moment they all are as keep_best's heap. */
static void offer(qig_candidate *c, int32_t *filled, int32_t k, qig_candidate x) {
    if (*filled < k) {
        c[(*filled)++] = x;
        if (*filled == k) make_heap(c, k, 0);
    } else if (before(x, c[0])) {
        c[0] = x;
        sift_down(c, k, 0, 0);
    }
}

/* The k best of a vocabulary larger than that, in no order, with penalties for the n last tokens: one comparison a logit, and nothing is copied. */
static int select_best(const qig_sampler_params *p, const float *logits, int32_t vocab, const int32_t *last, int32_t n, int32_t k, qig_candidate *c,
                       char *err, size_t errlen) {
    int32_t filled = 0;
    for (int32_t i = 0; i < vocab; i++) {
        if (filled == k && logits[i] <= c[0].logit) continue; /* as good as the worst is not enough: its id is higher */
        if (isnan(logits[i])) return qig_fail(err, errlen, QIG_ERR_ARG, "the logit of token %d is not a number", (int)i);
        if (!is_among(last, n, i)) offer(c, &filled, k, (qig_candidate){ logits[i], i });
    }
    for (int32_t i = 0; i < n; i++)
        if (last[i] >= 0 && last[i] < vocab && !is_among(last + i + 1, n - i - 1, last[i]))
            offer(c, &filled, k, (qig_candidate){ penalized(p, logits[last[i]]), last[i] });
    return QIG_OK;
}

/* Logits of distinct tokens among the last repeat_last_n, penalized in place; a token counts where it stands first from the end. */
static void penalize(const qig_sampler_params *p, qig_candidate *c, int32_t vocab, const int32_t *history, int32_t n_history) {
    int32_t n = p->repeat_last_n < n_history ? p->repeat_last_n : n_history;
    const int32_t *last = history + (n_history - n);
    for (int32_t i = 0; i < n; i++) {
        if (last[i] < 0 || last[i] >= vocab || c[last[i]].id < 0) continue;
        c[last[i]].logit = penalized(p, c[last[i]].logit);
        c[last[i]].id = -1; /* marked: done */
    }
    for (int32_t i = 0; i < n; i++)
        if (last[i] >= 0 && last[i] < vocab) c[last[i]].id = last[i];
}

/* Probability relative to the best candidate's. */
static inline double weight(qig_candidate c, qig_candidate best, double inv_t) { return exp((c.logit - best.logit) * inv_t); }

int qig_sampler_greedy(const qig_sampler_params *p) { return p->temperature == 0 || p->top_k == 1; }

int qig_sampler_shape(const qig_sampler_params *p, const float *logits, int32_t vocab, const int32_t *history, int32_t n_history,
                      qig_candidate *scratch, qig_choice *out, char *err, size_t errlen) {
    qig_candidate *c = scratch;
    const int32_t k = qig_sampler_greedy(p) ? 1 : p->top_k;
    const int32_t last = p->repeat_penalty == 1.0f ? 0 : p->repeat_last_n < n_history ? p->repeat_last_n : n_history;
    int32_t n = vocab;
    if (k > 0 && k < vocab && last <= FEW) {
        const int rc = select_best(p, logits, vocab, history + (n_history - last), last, k, c, err, errlen);
        if (rc != QIG_OK) return rc;
        n = k;
    } else {
        for (int32_t i = 0; i < vocab; i++) {
            if (isnan(logits[i])) return qig_fail(err, errlen, QIG_ERR_ARG, "the logit of token %d is not a number", (int)i);
            c[i] = (qig_candidate){ logits[i], i };
        }
        if (last > 0) penalize(p, c, vocab, history, n_history);
    }

    qig_candidate best = c[0];
    for (int32_t i = 1; i < n; i++)
        if (before(c[i], best)) best = c[i];
    if (!isfinite(best.logit)) return qig_fail(err, errlen, QIG_ERR_ARG, "the highest logit is infinite");
    if (qig_sampler_greedy(p)) {
        c[0] = best;
        *out = (qig_choice){ .c = c, .end = 1, .best = best, .kept = 1 };
        return QIG_OK;
    }

    if (p->top_k > 0 && p->top_k < n) {
        keep_best(c, n, p->top_k);
        n = p->top_k;
    }
    /* What is left, as [first, end) of c: in order of probability where top-p needs the order, else in any. */
    int32_t first = 0, end = n;
    double kept = 0;
    const double inv_t = 1.0 / p->temperature;
    if (p->top_p < 1) {
        double mass = 0;
        for (int32_t i = 0; i < n; i++) mass += weight(c[i], best, inv_t);
        make_heap(c, n, 1);
        /* candidates leave the heap best first and gather, from the end down, in the room it gives up */
        for (first = n; first > 0 && kept < p->top_p * mass;) {
            qig_candidate top = c[0];
            double w = weight(top, best, inv_t);
            if (w < p->min_p) break; /* the best one has weight 1 */
            kept += w;
            c[0] = c[--first];
            if (first > 0) sift_down(c, first, 0, 1);
            c[first] = top;
        }
    } else {
        end = 0;
        for (int32_t i = 0; i < n; i++) {
            double w = weight(c[i], best, inv_t);
            if (w < p->min_p) continue;
            kept += w;
            c[end++] = c[i];
        }
    }
    *out = (qig_choice){ .c = c, .first = first, .end = end, .best = best, .inv_t = inv_t, .kept = kept };
    return QIG_OK;
}

const qig_candidate *qig_choice_take(const qig_choice *c, double u) {
    const double at = u * c->kept;
    double sum = 0;
    int32_t i = c->end - 1;
    for (;; i--) {
        sum += weight(c->c[i], c->best, c->inv_t);
        if (at < sum || i == c->first) return &c->c[i];
    }
}

double qig_choice_probability(const qig_choice *c, const qig_candidate *of) { return weight(*of, c->best, c->inv_t) / c->kept; }

int qig_sampler_draw(const qig_sampler_params *p, const float *logits, int32_t vocab, const int32_t *history, int32_t n_history,
                     qig_candidate *scratch, uint64_t *rng, int32_t *token, char *err, size_t errlen) {
    qig_choice choice;
    int rc = qig_sampler_shape(p, logits, vocab, history, n_history, scratch, &choice, err, errlen);
    if (rc != QIG_OK) return rc;
    *token = qig_sampler_greedy(p) ? choice.best.id : qig_choice_take(&choice, qig_rng_uniform(rng))->id;
    return QIG_OK;
}
