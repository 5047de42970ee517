/* sift.c - the overlaps that a gate may let through, found by the keys' sketch, AVX-512 with VNNI. Contract: ops.h, qig_sift_i8_fn; bounds: sift.h, ref/sift.c.
 *
 * c % 8 == 0, any n >= 1; no alignment. Features: AVX512F, BW, VNNI. For bures the same keys as ref, bound by bound; for fisher_rao the highest score moves by
 * what asin does (score.c). A row of the sketch holds 4 bytes of each of 16 keys, so vpdpbusd with 4 of the query's entries, broadcast, adds to 16 sums at
 * once and none is left to do across lanes: half of the bytes of the keys and less than half of the work. A step's survivors are listed and then read
 * sixteen at a time, as a dense pass would: a branch a key or a block would be guessed wrong too often.
 */
#include "../sift.h"
#include "distance.h"
#include "dots.h"

#include <string.h>

enum { LANES = QIG_SKETCH_BLOCK, BLOCKS = QIG_SIFT_STEP / QIG_SKETCH_BLOCK };

typedef struct {
    const qig_sift_keys *in;
    const qig_score_params *p;
    float gate, inverse, unit; /* unit: qs / 32 */
    int32_t surplus;  /* 241 sum_i q[i] */
    __m512i start;    /* dots.h */
} query;

/* A line that may lie past the end of the sketch: a prefetch never faults. */
QIG_INLINE void prefetch(const uint32_t *p) { _mm_prefetch((const char *)p, _MM_HINT_T0); }

QIG_INLINE __m512i broadcast(const int8_t *q) {
    int32_t v;
    memcpy(&v, q, sizeof v);
    return _mm512_set1_epi32(v);
}

/* Ages of the keys of block b, none of them the query's own. */
QIG_INLINE __m512 ages(const query *x, int b) {
    const __m512i iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    if (!x->p->positions) return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_set1_epi32(x->in->n - 1 - b), iota));
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_set1_epi32(x->p->position), _mm512_loadu_si512(x->p->positions + b)));
}

/* Bounds from the sums of a block's nibbles and its last row. */
QIG_INLINE __m512 finish(const query *x, __m512i dot, const uint32_t *last_row) {
    const __m512i last = _mm512_loadu_si512(last_row);
    const __m512 sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_slli_epi32(dot, 5), _mm512_set1_epi32(x->surplus)));
    const __m512 step = _mm512_castsi512_ps(_mm512_and_si512(last, _mm512_set1_epi32((int32_t)0xffff0000u)));
    const __m512 slack = _mm512_castsi512_ps(_mm512_slli_epi32(last, 16));
    return _mm512_add_ps(_mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(x->unit), step), sum), slack);
}

/* Upper bounds of the overlaps of two blocks, which share the broadcasts of the query; words = c / 8. */
QIG_INLINE void bounds(const query *x, const uint32_t *even, const uint32_t *odd, int words, float *even_bounds, float *odd_bounds) {
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (int i = 0; i < words; i++) {
        const __m512i u = _mm512_loadu_si512(even + i * LANES), v = _mm512_loadu_si512(odd + i * LANES);
        const __m512i q = broadcast(x->in->q + 8 * i), r = broadcast(x->in->q + 8 * i + 4);
        a = _mm512_dpbusd_epi32(a, _mm512_and_si512(u, nibble), q);
        b = _mm512_dpbusd_epi32(b, _mm512_and_si512(v, nibble), q);
        c = _mm512_dpbusd_epi32(c, _mm512_and_si512(_mm512_srli_epi32(u, 4), nibble), r);
        d = _mm512_dpbusd_epi32(d, _mm512_and_si512(_mm512_srli_epi32(v, 4), nibble), r);
    }
    _mm512_storeu_ps(odd_bounds, finish(x, _mm512_add_epi32(b, d), odd + words * LANES));
    _mm512_storeu_ps(even_bounds, finish(x, _mm512_add_epi32(a, c), even + words * LANES));
}

QIG_INLINE __m512 least_overlaps(const query *x, float budget, __m512 age) {
    __m512 d = _mm512_mul_ps(_mm512_sub_ps(_mm512_set1_ps(budget), _mm512_mul_ps(_mm512_set1_ps(x->p->slope), age)), _mm512_set1_ps(x->inverse));
    d = _mm512_max_ps(_mm512_setzero_ps(), d); /* keeps a NaN, as below: its second operand */
    const __m512 least = _mm512_sub_ps(_mm512_set1_ps(QIG_SIFT_NEAR), _mm512_mul_ps(_mm512_mul_ps(d, d), _mm512_set1_ps(QIG_SIFT_HALF)));
    return _mm512_max_ps(_mm512_set1_ps(x->gate), least);
}

/* top, or a higher score among the lanes of near; own: a lane that the absolute gate does not touch. */
QIG_INLINE __m512 highest(const query *x, __m512 top, __m512 o, __m512 age, __mmask16 near, __mmask16 own) {
    const __m512 d = x->p->metric == QIG_METRIC_BURES ? distance16(QIG_METRIC_BURES, o) : distance16(QIG_METRIC_FISHER_RAO, o);
    const __m512 loss = _mm512_add_ps(_mm512_mul_ps(_mm512_set1_ps(x->p->scale), d), _mm512_mul_ps(_mm512_set1_ps(x->p->slope), age));
    const __m512 s = _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(loss), _mm512_set1_epi32(INT32_MIN)));
    const __mmask16 far = _mm512_cmp_ps_mask(d, _mm512_set1_ps(x->p->max_distance), _CMP_GT_OQ);
    return _mm512_mask_max_ps(top, near & (__mmask16)(~far | own), s, top); /* returns its second operand when one is NaN */
}

#define ROW(r) (in->k + (size_t)(first + list[(r) < m ? (r) : m - 1]) * in->k_stride)
#define DOT(r) const __m512i s##r = dot(in->q, ROW(r), steps, rest, x->start);

/* v[list[t]] = the overlap of key first + list[t], m <= 16 of them; the list may be read to its 16th entry. */
QIG_INLINE void read_keys(const query *x, int first, const int32_t *list, int m, int steps, __mmask64 rest, float *v) {
    const qig_sift_keys *in = x->in;
    float o[KEYS];
    EACH_KEY(DOT)
    const __m512 sum = _mm512_cvtepi32_ps(SUM_KEYS());
    const __m512i at = _mm512_loadu_si512(list);
    const __m512 scale = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), (__mmask16)(0xffffu >> (KEYS - m)), at, in->ks + first, sizeof *in->ks);
    _mm512_storeu_ps(o, _mm512_min_ps(_mm512_set1_ps(1.0f), _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(in->qs), scale), sum)));
    for (int t = 0; t < m; t++) v[list[t]] = o[t];
}

QIG_INLINE int sift(const query *x, float *o, int32_t *rows, qig_sift_reads *reads, const int words, const int steps, const __mmask64 rest) {
    const qig_sift_keys *in = x->in;
    const qig_score_params *p = x->p;
    const int n = in->n, tail = qig_sift_tail(n);
    const __m512i iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __mmask16 all = (__mmask16)(0xffffu >> (LANES - tail)), own = (__mmask16)(1u << (tail - 1));
    const size_t block_words = (size_t)(words + 1) * LANES;
    int at = n - tail;
    qig_overlap_i8__avx512_vnni(in->q, in->qs, in->k + (size_t)at * in->k_stride, in->k_stride, in->ks + at, in->c, tail, o + at);
    __m512i age = _mm512_sub_epi32(_mm512_set1_epi32(tail - 1), iota);
    if (p->positions) age = _mm512_maskz_sub_epi32(all & ~own, _mm512_set1_epi32(p->position), _mm512_maskz_loadu_epi32(all & ~own, p->positions + at));
    __m512 top = highest(x, _mm512_set1_ps(-INFINITY), _mm512_maskz_loadu_ps(all, o + at), _mm512_cvtepi32_ps(age), all, own);
    _mm512_mask_storeu_epi32(rows + at, all, _mm512_add_epi32(_mm512_set1_epi32(at), iota));
    *reads = (qig_sift_reads){.reached = tail, .read = tail};
    for (int end = at, low, whole = 0; end > 0; end = low) {
        const float budget = qig_sift_budget(_mm512_reduce_max_ps(top), p->margin);
        if (p->slope * (float)qig_sift_age(p, n, end - 1) > budget) break;
        low = end > QIG_SIFT_STEP ? end - QIG_SIFT_STEP : 0;
        const int blocks = (end - low) / LANES;
        reads->reached += end - low;
        float v[QIG_SIFT_STEP], least[QIG_SIFT_STEP];
        __mmask16 near[BLOCKS];
        for (int b = 0; b < blocks; b++) {
            _mm512_storeu_ps(least + b * LANES, least_overlaps(x, budget, ages(x, low + b * LANES)));
            near[b] = 0xffffu;
        }
        if (whole > 0) {
            whole--;
            qig_overlap_i8__avx512_vnni(in->q, in->qs, in->k + (size_t)low * in->k_stride, in->k_stride, in->ks + low, in->c, end - low, v);
            reads->read += end - low;
        } else {
            int32_t list[QIG_SIFT_STEP + LANES];
            int m = 0;
            const uint32_t *block = in->sketch - (size_t)(end / LANES - 1) * block_words;
            for (int b = blocks - 1; b >= 0; b -= 2, block += 2 * block_words) {
                const int other = b > 0 ? b - 1 : b;
                for (int i = 0; i < 2 * (words + 1); i++) prefetch(block + BLOCKS * block_words + i * LANES); /* of the next step */
                bounds(x, block, block + (b - other) * (ptrdiff_t)block_words, words, v + b * LANES, v + other * LANES);
            }
            for (int b = 0; b < blocks; b++) {
                near[b] = _mm512_cmp_ps_mask(_mm512_loadu_ps(v + b * LANES), _mm512_loadu_ps(least + b * LANES), _CMP_NLT_UQ);
                _mm512_storeu_si512(list + m, _mm512_maskz_compress_epi32(near[b], _mm512_add_epi32(_mm512_set1_epi32(b * LANES), iota)));
                m += __builtin_popcount((unsigned)near[b]);
            }
            reads->sketched += end - low;
            reads->read += m;
            for (int t = 0; t < m; t += KEYS) read_keys(x, low, list + t, m - t < KEYS ? m - t : KEYS, steps, rest, v);
            if (m > QIG_SIFT_MANY) whole = QIG_SIFT_WHOLE;
        }
        for (int b = blocks - 1; b >= 0; b--) {
            const __m512 overlap = _mm512_loadu_ps(v + b * LANES);
            const __mmask16 passed = _mm512_mask_cmp_ps_mask(near[b], overlap, _mm512_loadu_ps(least + b * LANES), _CMP_NLT_UQ);
            if (!passed) continue;
            at -= LANES;
            _mm512_storeu_ps(o + at, overlap);
            _mm512_storeu_si512(rows + at, _mm512_add_epi32(_mm512_set1_epi32(low + b * LANES), iota));
            top = highest(x, top, overlap, ages(x, low + b * LANES), passed, 0);
        }
    }
    return n - at;
}

/* Common widths are compiled apart, as in overlap.c. */
int qig_sift_i8__avx512_vnni(const qig_sift_keys *in, const qig_score_params *p, float *o, int32_t *rows, qig_sift_reads *reads) {
    const int c = in->c, steps = c / STEP;
    const __mmask64 rest = ~(~0ull << c % STEP);
    query x = {.in = in, .p = p, .gate = qig_sift_overlap(p), .inverse = 1.0f / p->scale, .unit = in->qs / 32.0f, .start = dots_start(in->q, steps, rest)};
    for (int i = 0; i < c; i++) x.surplus += QIG_SKETCH_MIDDLE * in->q[i];
    if (c == 2 * STEP) return sift(&x, o, rows, reads, 2 * STEP / 8, 2, 0);
    if (c == STEP) return sift(&x, o, rows, reads, STEP / 8, 1, 0);
    return sift(&x, o, rows, reads, c / 8, steps, rest);
}
