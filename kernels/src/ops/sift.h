/* sift.h - what certifies that a key is cut, for every ISA's sift: the same bounds, in the same float operations.
 *
 * A key is let through only if its loss scale d + slope age is at most the least loss plus the margin; the highest score found so far stands in for the
 * maximum, which it bounds from below. What that leaves for the distance at a given age, as an overlap: d^2 = 2 (1 - o) + 1e-6. For fisher_rao d is the
 * arc over the chord that stands here, and longer, so that the chord's verdict holds for it too. Scores are computed in float32, with an error below 4 units in
 * the last place of the loss, overlaps with one below 3 of 1; each bound leaves room for several times that.
 */
#ifndef QIG_OPS_SIFT_H
#define QIG_OPS_SIFT_H

#include "ops.h"

#include <math.h>
#include <string.h>

/* least overlap = QIG_SIFT_NEAR - QIG_SIFT_HALF D^2, D the distance that is left: 1 + 1e-6 / 2, less 4e-6; and 1/2, more 4e-6 of it */
#define QIG_SIFT_NEAR 0.9999965f
#define QIG_SIFT_HALF 0.500002f

/* Where the sketch leaves more than this many keys of a step, it costs more than it saves: the next steps are read whole, then the sketch is tried again. */
enum { QIG_SIFT_MANY = QIG_SIFT_STEP * 3 / 8, QIG_SIFT_WHOLE = 3 };

/* The loss that a pair may have where one pair has the score `top`; infinite without a margin or a pair. */
static inline float qig_sift_budget(float top, float margin) { return (margin - top) * 1.000002f + 1e-30f; }

/* Pairs with less overlap are cut by the absolute gate. */
static inline float qig_sift_overlap(const qig_score_params *p) {
    const double far = (double)p->max_distance, chord = p->metric == QIG_METRIC_FISHER_RAO ? 2.0 * sin(0.5 * far) : far;
    if (far >= (p->metric == QIG_METRIC_FISHER_RAO ? 3.14159 : 2.1)) return -INFINITY;
    return (float)((double)QIG_SIFT_NEAR - (double)QIG_SIFT_HALF * chord * chord);
}

/* Keys of the last block, which may be part of one: they are read in any case. */
static inline int qig_sift_tail(int n) { return (n - 1) % QIG_SKETCH_BLOCK + 1; }

/* Age of key j < n - 1. */
static inline int qig_sift_age(const qig_score_params *p, int n, int j) { return p->positions ? p->position - p->positions[j] : n - 1 - j; }

/* Reads the last `tail` keys, overlaps and numbers of which go to o and rows; overlaps and ages also to overlap and age, 0 past the tail. */
static inline void qig_sift_read_tail(const qig_sift_keys *in, const qig_score_params *p, qig_overlap_i8_fn *overlap_i8, int tail, float *o, int32_t *rows,
                                      float overlap[QIG_SKETCH_BLOCK], float age[QIG_SKETCH_BLOCK]) {
    const int first = in->n - tail;
    memset(overlap, 0, QIG_SKETCH_BLOCK * sizeof *overlap);
    memset(age, 0, QIG_SKETCH_BLOCK * sizeof *age);
    overlap_i8(in->q, in->qs, in->k + (size_t)first * in->k_stride, in->k_stride, in->ks + first, in->c, tail, overlap);
    memcpy(o + first, overlap, (size_t)tail * sizeof *o);
    for (int j = 0; j < tail; j++) {
        rows[first + j] = first + j;
        if (j < tail - 1) age[j] = (float)qig_sift_age(p, in->n, first + j);
    }
}

#endif
