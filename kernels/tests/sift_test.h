/* sift_test.h - the sift held to the dense path: the score of what it leaves is the score of all keys, to the last bit of the sums, whatever the keys and the
 * gate. Included by test_ops.c, which runs it for every ISA. */
#ifndef QIG_SIFT_TEST_H
#define QIG_SIFT_TEST_H

#include "../src/ops/sift.h"
#include "ops_test.h"

enum { SIFT_MAX = 2600 };

/* Kinds of caches. NEAR_TIES: copies of one key, each with one entry moved by one. TRAINED: as real keys are, in clusters that drift with time. */
typedef enum { SCATTERED, TIES, NEAR_TIES, OPPOSITE, ONE_NEAR, EXTREME, ZEROS, TRAINED, CACHE_KINDS } cache_kind;

/* c entries of a random direction about `centre`, quantized; returns the scale. */
static float random_key(int8_t *k, int c, const float centre[256], float spread) {
    float x[256];
    for (int e = 0; e < c; e++) x[e] = centre[e] + spread * (rng_float() + rng_float() + rng_float());
    return qig_quantize_i8(x, k, c, 1);
}

static void fill_cache(cache_kind kind, int8_t *q, float *qs, int8_t *k, size_t stride, float *ks, int c, int n) {
    float centre[256] = {0}, x[256];
    for (int e = 0; e < c && kind == TRAINED; e++) centre[e] = 0.6f * rng_float();
    *qs = random_key(q, c, centre, 1.0f);
    for (int j = 0; j < n; j++) {
        int8_t *row = k + (size_t)j * stride;
        if (kind == TRAINED && j % 64 == 0)
            for (int e = 0; e < c; e++) centre[e] = 0.7f * centre[e] + 0.5f * rng_float();
        if (kind == EXTREME) {
            int32_t norm2 = 0;
            for (int e = 0; e < c; e++) row[e] = (int8_t)(rng() & 1 ? 127 : -127), norm2 += row[e] * row[e];
            ks[j] = (float)(1.0 / sqrt(norm2));
        } else if (kind == OPPOSITE || kind == TIES || kind == NEAR_TIES) {
            for (int e = 0; e < c; e++) x[e] = (float)(kind == OPPOSITE ? -q[e] : q[(e + 1) % c]);
            if (kind == NEAR_TIES) x[rng_int(0, c - 1)] += rng() & 1 ? 1.0f : -1.0f;
            ks[j] = qig_quantize_i8(x, row, c, 1);
        } else {
            ks[j] = random_key(row, c, centre, 1.0f);
        }
        if (kind == ZEROS && rng_int(0, 2) == 0) memset(row, 0, (size_t)c), ks[j] = 0.0f;
    }
    if (kind == ONE_NEAR) {
        const int j = rng_int(0, n - 1);
        memcpy(k + (size_t)j * stride, q, (size_t)c);
        ks[j] = *qs;
    }
}

static long sift_left_out, sift_unsketched; /* keys not read; nor their sketch */

enum { NOTHING_BAD = -1, NAN_QUERY = -2, ZERO_QUERY = -3 };

/* One query; bad: a key whose scale is NaN, or one of the above. */
static void sift_case(qig_sift_i8_fn *sift, cache_kind kind, int c, int n, qig_score_params p, int gaps, int bad) {
    const qig_ops *ops = qig_ops_get(strstr(current, "__") + 2);
    const size_t stride = (size_t)c + (size_t)rng_int(0, 1) * 8, whole = (size_t)n / QIG_SKETCH_BLOCK * qig_sketch_words(c);
    begin_case();
    int8_t *q = guarded((size_t)c), *k = guarded((size_t)(n - 1) * stride + (size_t)c);
    float *ks = guarded((size_t)n * sizeof *ks), *all = guarded((size_t)n * sizeof *all), *o = guarded((size_t)n * sizeof *o);
    float *o_ref = guarded((size_t)n * sizeof *o), qs;
    int32_t *rows = guarded((size_t)n * sizeof *rows), *rows_ref = guarded((size_t)n * sizeof *rows), *at = guarded((size_t)n * sizeof *at);
    int32_t *positions = guarded((size_t)(n - 1) * sizeof *positions); /* of the others only */
    uint32_t *words = guarded(whole * sizeof *words), last[QIG_SKETCH_BLOCK * (256 / 8 + 1)];
    uint32_t *sketch = n < QIG_SKETCH_BLOCK ? words : words + whole - qig_sketch_words(c); /* block 0 */
    fill_cache(kind, q, &qs, k, stride, ks, c, n);
    if (bad >= 0) ks[bad] = NAN;
    if (bad == NAN_QUERY || bad == ZERO_QUERY) memset(q, 0, (size_t)c), qs = bad == NAN_QUERY ? NAN : 0.0f; /* what qig_quantize_i8 makes of such vectors */
    for (int j = 0; j < n; j++) { /* the last block, which is not whole, has no sketch here */
        if (j < n / QIG_SKETCH_BLOCK * QIG_SKETCH_BLOCK) qig_sketch_key(k + (size_t)j * stride, ks[j], c, sketch, j);
        else qig_sketch_key(k + (size_t)j * stride, ks[j], c, last, j % QIG_SKETCH_BLOCK);
    }
    p.position = 3;
    for (int j = 0; j < n - 1; j++) positions[j] = p.position, p.position += gaps ? rng_int(1, 9) : 1;
    p.positions = gaps ? positions : NULL;

    const qig_sift_keys in = {.q = q, .qs = qs, .k = k, .k_stride = stride, .ks = ks, .sketch = sketch, .c = c, .n = n};
    qig_sift_reads reads, reads_ref;
    const int m = sift(&in, &p, o, rows, &reads), m_ref = qig_sift_i8__ref(&in, &p, o_ref, rows_ref, &reads_ref);
    CHECK(m >= 1 && m <= n && (m - n % QIG_SKETCH_BLOCK) % QIG_SKETCH_BLOCK == 0 && rows[n - 1] == n - 1, "n %d: %d came", n, m);
    CHECK(reads.reached <= n && reads.sketched <= reads.reached && reads.read <= reads.reached && reads.read >= 1 && m <= reads.reached, "n %d: reached %d, sketched %d, read %d",
          n, reads.reached, reads.sketched, reads.read);
    if (p.metric == QIG_METRIC_BURES) {
        CHECK(m == m_ref && !memcmp(&reads, &reads_ref, sizeof reads), "c %d n %d: %d came (%d read), ref %d (%d)", c, n, m, reads.read, m_ref, reads_ref.read);
        for (int j = n - m; j < n && m == m_ref; j++)
            CHECK(rows[j] == rows_ref[j] && same_bits(o[j], o_ref[j]), "c %d n %d: overlap of %d is %.9g, ref has %.9g of %d", c, n, rows[j], (double)o[j], (double)o_ref[j], rows_ref[j]);
    }
    sift_left_out += n - reads.read;
    sift_unsketched += n - reads.reached;

    float sum, sum2, sifted, sifted2;
    ops->overlap_i8(q, qs, k, stride, ks, c, n, all);
    const int passed = ops->score(all, n, &p, &sum, &sum2);
    qig_score_params left = p;
    for (int j = n - m; j < n; j++) at[j] = gaps && rows[j] < n - 1 ? positions[rows[j]] : gaps ? p.position : rows[j];
    left.positions = at + n - m;
    if (!gaps) left.position = n - 1;
    const int kept = ops->score(o + n - m, m, &left, &sifted, &sifted2);
    CHECK(kept == passed && same_bits(sum, sifted) && same_bits(sum2, sifted2), "c %d n %d kind %d margin %g: %d of %d pairs, sums %.9g and %.9g", c, n, (int)kind, (double)p.margin, kept, passed,
          (double)sifted, (double)sum);
    for (int j = 0, next = n - m; j < n; j++) {
        const int came = next < n && rows[next] == j;
        CHECK(came ? same_bits(all[j], o[next]) : all[j] == 0.0f, "c %d n %d kind %d: weight %d is %g, was %g", c, n, (int)kind, j, came ? (double)o[next] : 0.0, (double)all[j]);
        next += came;
    }
    end_case();
    release_buffers();
}

/* |<q, key> - <q, copy>| <= slack, for queries that differ most from what the copy keeps too. */
static void sketch_case(int c, cache_kind kind) {
    begin_case();
    int8_t q[256], k[QIG_SKETCH_BLOCK * 256];
    float qs, ks[QIG_SKETCH_BLOCK];
    uint32_t sketch[QIG_SKETCH_BLOCK * (256 / 8 + 1)];
    fill_cache(kind, q, &qs, k, (size_t)c, ks, c, QIG_SKETCH_BLOCK);
    for (int j = 0; j < QIG_SKETCH_BLOCK; j++) qig_sketch_key(k + j * c, ks[j], c, sketch, j);
    for (int j = 0; j < QIG_SKETCH_BLOCK; j++) {
        const uint32_t *word = sketch + j, *row = word + (size_t)c / 8 * QIG_SKETCH_BLOCK, bits[2] = {*row & 0xffff0000u, *row << 16};
        float step, slack;
        memcpy(&step, &bits[0], sizeof step), memcpy(&slack, &bits[1], sizeof slack);
        double left[256], left2 = 0.0, along = 0.0;
        for (int e = 0; e < c; e++) {
            const int shift = 8 * (e % 4) + (e % 8 < 4 ? 0 : 4), nibble = (int)(word[(size_t)e / 8 * QIG_SKETCH_BLOCK] >> shift & 15);
            CHECK(ks[j] == 0.0f || nibble == (k[j * c + e] >> 4) + 8, "c %d: nibble %d of %d", c, nibble, k[j * c + e]);
            left[e] = (double)ks[j] * k[j * c + e] - (double)step * (nibble - QIG_SKETCH_MIDDLE / 32.0);
            left2 += left[e] * left[e], along += left[e] * (double)qs * q[e];
        }
        CHECK(!!(sqrt(left2) <= (double)slack) && !!(fabs(along) <= (double)slack), "c %d key %d: %g off, slack %g", c, j, sqrt(left2), (double)slack);
        CHECK(!!((double)slack <= 1.01 * sqrt(left2) + 2e-5), "c %d key %d: slack %g for %g", c, j, (double)slack, sqrt(left2)); /* no wider than it must be */
    }
    end_case();
}

static void test_sketch(void) {
    static const int cs[] = {8, 16, 64, 72, 128, 256};
    current = "qig_sketch_key";
    for (size_t i = 0; i < sizeof cs / sizeof *cs; i++)
        for (int kind = 0; kind < CACHE_KINDS; kind++) sketch_case(cs[i], (cache_kind)kind);
}

static void test_sift_i8(void (*f)(void)) {
    static const int ns[] = {1, 2, 15, 16, 17, 32, 33, 143, 144, 145, 161, 290, 700, 1300, SIFT_MAX}, cs[] = {8, 24, 32, 64, 72, 128, 200, 256};
    static const float margins[] = {INFINITY, 1e-6f, 0.5f, 4.0f, 30.0f}, slopes[] = {0.0f, 1.0f / 256, 0.05f, 3.0f}, scales[] = {0.3f, 12.0f, 60.0f}, far[] = {INFINITY, 1.3f, 0.4f, 1e-3f};
    qig_sift_i8_fn *sift = (qig_sift_i8_fn *)f;
    sift_left_out = sift_unsketched = 0;
    for (int i = 0; i < (int)(sizeof ns / sizeof *ns); i++)
        for (int v = 0; v < (ns[i] > 300 ? 24 : 60); v++) {
            const qig_score_params p = {.metric = (qig_metric)(rng_int(0, 3) == 0), .scale = scales[rng_int(0, 2)], .slope = slopes[rng_int(0, 3)],
                                        .max_distance = far[rng_int(0, 1) * rng_int(0, 3)], .margin = margins[rng_int(0, 4)]};
            sift_case(sift, (cache_kind)(v % CACHE_KINDS), cs[rng_int(0, 7)], ns[i], p, rng_int(0, 1), NOTHING_BAD);
        }
    begin_case();
    CHECK(sift_left_out > 1000 && sift_unsketched > 1000, "only %ld keys were left out, %ld with their sketch", sift_left_out, sift_unsketched);
    end_case();
}

#endif
