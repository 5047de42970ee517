/* sift.c - the overlaps that a gate may let through, found by the keys' sketch, scalar. Contract: ops.h, qig_sift_i8_fn; bounds: sift.h.
 *
 *   bound_j = ((qs / 32) step_j) (32 sum_i q[i] nibble_ji - 241 sum_i q[i]) + slack_j       the integers exact, four float roundings
 *   kept:    not bound_j < max(absolute gate, NEAR - HALF D^2), D = max(0, (budget - slope age_j) (1 / scale))
 *
 * Every float operation is one rounding, in this order, so that for bures every ISA keeps the same keys.
 */
#include "../kernels.h"
#include "../sift.h"

#include <string.h>

static float upper_half(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The score of a pair, -inf where the absolute gate cuts it. */
static float score(const qig_score_params *p, float o, int age, int own) {
    const float t = 2.0f * (1.0f - o);
    float d = sqrtf((t < 0.0f ? 0.0f : t) + 1e-6f);
    if (p->metric == QIG_METRIC_FISHER_RAO) d = 2.0f * asinf((d > 2.0f ? 2.0f : d) * 0.5f);
    return d > p->max_distance && !own ? -INFINITY : -(p->scale * d) - p->slope * (float)age;
}

static float least_overlap(const qig_score_params *p, float gate, float budget, float inverse, int age) {
    float d = (budget - p->slope * (float)age) * inverse;
    d = 0.0f > d ? 0.0f : d;
    const float least = QIG_SIFT_NEAR - d * d * QIG_SIFT_HALF;
    return gate > least ? gate : least;
}

static float bound(const qig_sift_keys *in, int j, float unit, int32_t surplus) {
    const uint32_t *word = in->sketch - (size_t)(j / QIG_SKETCH_BLOCK) * qig_sketch_words(in->c) + j % QIG_SKETCH_BLOCK;
    int32_t dot = 0;
    for (int i = 0; i < in->c; i += 8, word += QIG_SKETCH_BLOCK)
        for (int b = 0; b < 4; b++)
            dot += in->q[i + b] * (int32_t)(*word >> 8 * b & 15) + in->q[i + 4 + b] * (int32_t)(*word >> (8 * b + 4) & 15);
    return unit * upper_half(*word & 0xffff0000u) * (float)(32 * dot - surplus) + upper_half(*word << 16);
}

int qig_sift_i8__ref(const qig_sift_keys *in, const qig_score_params *p, float *o, int32_t *rows, qig_sift_reads *reads) {
    const int n = in->n, tail = qig_sift_tail(n);
    const float gate = qig_sift_overlap(p), inverse = 1.0f / p->scale, unit = in->qs / 32.0f;
    int32_t surplus = 0;
    for (int i = 0; i < in->c; i++) surplus += QIG_SKETCH_MIDDLE * in->q[i];
    *reads = (qig_sift_reads){.reached = tail, .read = tail};
    qig_overlap_i8__ref(in->q, in->qs, in->k + (size_t)(n - tail) * in->k_stride, in->k_stride, in->ks + n - tail, in->c, tail, o + n - tail);
    float top = -INFINITY;
    for (int j = n - tail; j < n; j++) {
        const float s = score(p, o[j], j < n - 1 ? qig_sift_age(p, n, j) : 0, j == n - 1);
        if (s > top) top = s;
        rows[j] = j;
    }
    int at = n - tail;
    for (int high = n - tail, low, whole = 0; high > 0; high = low) {
        const float budget = qig_sift_budget(top, p->margin);
        if (p->slope * (float)qig_sift_age(p, n, high - 1) > budget) break;
        low = high > QIG_SIFT_STEP ? high - QIG_SIFT_STEP : 0;
        reads->reached += high - low;
        const int sketched = whole == 0, read_before = reads->read;
        whole -= !sketched;
        reads->sketched += sketched ? high - low : 0;
        for (int b = high - QIG_SKETCH_BLOCK; b >= low; b -= QIG_SKETCH_BLOCK) {
            float v[QIG_SKETCH_BLOCK];
            int near[QIG_SKETCH_BLOCK], any = 0;
            for (int i = 0; i < QIG_SKETCH_BLOCK; i++) {
                const float least = least_overlap(p, gate, budget, inverse, qig_sift_age(p, n, b + i));
                v[i] = sketched ? bound(in, b + i, unit, surplus) : 1.0f;
                near[i] = !sketched || !(v[i] < least);
                if (!near[i]) continue;
                qig_overlap_i8__ref(in->q, in->qs, in->k + (size_t)(b + i) * in->k_stride, in->k_stride, in->ks + b + i, in->c, 1, &v[i]);
                reads->read++;
                near[i] = !(v[i] < least);
                any |= near[i];
            }
            if (!any) continue;
            at -= QIG_SKETCH_BLOCK;
            for (int i = 0; i < QIG_SKETCH_BLOCK; i++) {
                const float s = near[i] ? score(p, v[i], qig_sift_age(p, n, b + i), 0) : -INFINITY;
                if (s > top) top = s;
                o[at + i] = v[i];
                rows[at + i] = b + i;
            }
        }
        if (sketched && reads->read - read_before > QIG_SIFT_MANY) whole = QIG_SIFT_WHOLE;
    }
    return n - at;
}
