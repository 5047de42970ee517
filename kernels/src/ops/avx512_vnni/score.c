/* score.c - overlaps to gated, unnormalised attention weights, AVX-512.
 *
 *   d = sqrt(max(0, 2 (1 - o)) + 1e-6)        fisher_rao: d := 2 asin(min(d, 2) / 2)
 *   s = - scale d - slope age_j               nats;  age_j = n - 1 - j, or position - positions[j] where positions are given, 0 for the own pair
 *   a = exp(s - max s), or 0 where d > max_distance or s < max s - margin; the own pair j = n - 1 is never cut
 *
 * o: n overlaps, oldest first, replaced by a. Any n; no alignment. Features: AVX512F. Gates, counts, NaN and n = 0 as in ref (ref/score.c); bures cuts
 * exactly the pairs that ref cuts (d and s are the same bits), fisher_rao those within 2e-7 of its asin. exp: approx.h. Sums in 16 float lanes, lane j % 16
 * for pair j, added as the halves of what is left: they depend on n only.
 * The own pair is a lane like the others, which the gates' masks leave out; lanes past the end are masked out of everything.
 */
#include "distance.h"

#include <math.h>

#define QIG_INLINE static inline __attribute__((always_inline))

enum { LANES = 16 };

/* To whole numbers, half to even. */
#define NEAREST (_MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)

/* Sum of 16 lanes, always as halves added to each other: what a compiler makes of its reduction is its own affair. */
QIG_INLINE float sum16(__m512 v) {
    v = _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, 0x4e));
    const __m128 t = _mm_add_ps(_mm512_castps512_ps128(v), _mm512_extractf32x4_ps(v, 1)), u = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(u, _mm_shuffle_ps(u, u, 1)));
}

/* exp(x) in the lanes of keep, 0 in the others and where x is below QIG_EXP_LOWEST; NaN stays one. */
QIG_INLINE __m512 exp16(__mmask16 keep, __m512 x) {
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(QIG_LOG2_E)), NEAREST);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(QIG_LN2_HIGH), x);
    r = _mm512_fnmadd_ps(n, _mm512_set1_ps(QIG_LN2_LOW), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(QIG_EXP_E4), r, _mm512_set1_ps(QIG_EXP_E3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(QIG_EXP_E2));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(QIG_EXP_E1));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(QIG_EXP_E0));
    p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
    keep = _mm512_mask_cmp_ps_mask(keep, x, _mm512_set1_ps(QIG_EXP_LOWEST), _CMP_NLT_UQ);
    return _mm512_maskz_scalef_ps(keep, p, n); /* p 2^n */
}

/* o := s, -inf where the absolute gate cuts; returns max s. */
QIG_INLINE float scores(const qig_metric metric, float *o, int n, const qig_score_params *p) {
    const __m512i iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512 lowest = _mm512_set1_ps(-INFINITY), scale = _mm512_set1_ps(p->scale), slope = _mm512_set1_ps(p->slope);
    const __m512 max_distance = _mm512_set1_ps(p->max_distance);
    __m512 top = lowest;
    for (int j = 0; j < n; j += LANES) {
        const __m512i left = _mm512_sub_epi32(_mm512_set1_epi32(n - 1 - j), iota); /* 0 for the own pair, negative past it */
        const __mmask16 others = _mm512_cmpgt_epi32_mask(left, _mm512_setzero_si512()), all = _mm512_cmpge_epi32_mask(left, _mm512_setzero_si512());
        __m512i age = left;
        if (p->positions) age = _mm512_maskz_sub_epi32(others, _mm512_set1_epi32(p->position), _mm512_maskz_loadu_epi32(others, p->positions + j));
        const __m512 d = distance16(metric, _mm512_maskz_loadu_ps(all, o + j));
        const __m512 loss = _mm512_add_ps(_mm512_mul_ps(scale, d), _mm512_mul_ps(slope, _mm512_cvtepi32_ps(age)));
        const __mmask16 far = _mm512_mask_cmp_ps_mask(others, d, max_distance, _CMP_GT_OQ);
        const __m512i s = _mm512_xor_si512(_mm512_castps_si512(loss), _mm512_set1_epi32(INT32_MIN));
        const __m512 gated = _mm512_mask_mov_ps(_mm512_castsi512_ps(s), far, lowest);
        top = _mm512_mask_max_ps(top, all, gated, top); /* returns its second operand when one is NaN */
        _mm512_mask_storeu_ps(o + j, all, gated);
    }
    return _mm512_reduce_max_ps(top);
}

int qig_score__avx512_vnni(float *o, int n, const qig_score_params *p, float *sum, float *sum2) {
    *sum = *sum2 = 0.0f;
    if (n <= 0) return 0;
    const float highest = p->metric == QIG_METRIC_FISHER_RAO ? scores(QIG_METRIC_FISHER_RAO, o, n, p) : scores(QIG_METRIC_BURES, o, n, p);
    const __m512 top = _mm512_set1_ps(highest), floor = _mm512_set1_ps(highest - p->margin), lowest = _mm512_set1_ps(-INFINITY);
    __m512 total = _mm512_setzero_ps(), total2 = total;
    int passed = 0;
    for (int j = 0; j < n; j += LANES) {
        const int m = n - j;
        const __mmask16 all = (__mmask16)(m < LANES ? 0xffffu >> (LANES - m) : 0xffffu), own = (__mmask16)(m <= LANES ? 1u << (m - 1) : 0u);
        const __m512 s = _mm512_maskz_loadu_ps(all, o + j);
        const __mmask16 near = _mm512_mask_cmp_ps_mask(_mm512_mask_cmp_ps_mask(all, s, floor, _CMP_NLT_UQ), s, lowest, _CMP_NEQ_UQ) | own;
        if (!near) {
            _mm512_storeu_ps(o + j, _mm512_setzero_ps()); /* a whole step: the own pair's is never empty */
            continue;
        }
        const __m512 a = exp16(near, _mm512_sub_ps(s, top));
        total = _mm512_add_ps(total, a);
        total2 = _mm512_fmadd_ps(a, a, total2);
        passed += __builtin_popcount((unsigned)near);
        _mm512_mask_storeu_ps(o + j, all, a);
    }
    *sum = sum16(total);
    *sum2 = sum16(total2);
    return passed;
}
