/* score.c - overlaps to gated, unnormalised attention weights, AVX2.
 *
 *   d = sqrt(max(0, 2 (1 - o)) + 1e-6)        fisher_rao: d := 2 asin(min(d, 2) / 2)
 *   s = - scale d - slope age_j               nats;  age_j = n - 1 - j, or position - positions[j] where positions are given, 0 for the own pair
 *   a = exp(s - max s), or 0 where d > max_distance or s < max s - margin; the own pair j = n - 1 is never cut
 *
 * o: n overlaps, oldest first, replaced by a. Any n; no alignment. Features: AVX2, FMA. Gates, counts, NaN and n = 0 as in ref (ref/score.c); bures cuts
 * exactly the pairs that ref cuts (d and s are the same bits), fisher_rao those within 2e-7 of its asin. exp: approx.h. Sums in 8 float lanes.
 */
#include "exp.h"
#include "score8.h"

#include <math.h>
#include <string.h>

/* Ages of the pairs from j on, m of which are not the query's own (garbage in the lanes past them); left: m, less the lane's index. */
QIG_INLINE __m256 ages(const qig_score_params *p, int j, __m256i left, int m) {
    if (!p->positions) return _mm256_cvtepi32_ps(left);
    __m256i at;
    if (m >= 8) at = _mm256_loadu_si256((const __m256i *)(const void *)(p->positions + j));
    else {
        int32_t v[8] = {0};
        memcpy(v, p->positions + j, sizeof v[0] * (size_t)m);
        at = _mm256_loadu_si256((const __m256i *)(const void *)v);
    }
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_set1_epi32(p->position), at));
}

int qig_score__avx2(float *o, int n, const qig_score_params *p, float *sum, float *sum2) {
    *sum = *sum2 = 0.0f;
    if (n <= 0) return 0;
    const __m256 lowest = _mm256_set1_ps(-INFINITY);
    const __m256i iota = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int others = n - 1; /* the own pair is scored apart: no gate touches it */
    __m256 far, top8 = lowest;
    for (int j = 0; j < others; j += 8) {
        const __m256i left = _mm256_sub_epi32(_mm256_set1_epi32(others - j), iota); /* pairs from this lane on, but for the own */
        __m256 s = score8(load_part(o + j, others - j), ages(p, j, left, others - j), p, &far);
        const __m256i beyond = _mm256_cmpgt_epi32(_mm256_set1_epi32(1), left); /* lanes past the end of a last partial step */
        s = _mm256_blendv_ps(s, lowest, _mm256_or_ps(far, _mm256_castsi256_ps(beyond)));
        top8 = _mm256_max_ps(s, top8); /* returns its second operand when one is NaN */
        store_part(o + j, s, others - j);
    }
    const __m256 own = score8(_mm256_set1_ps(o[others]), _mm256_setzero_ps(), p, &far);
    top8 = _mm256_max_ps(own, top8);
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(top8), _mm256_extractf128_ps(top8, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    t = _mm_max_ss(t, _mm_shuffle_ps(t, t, 1));
    const __m256 top = _mm256_set1_ps(_mm_cvtss_f32(t)), floor = _mm256_sub_ps(top, _mm256_set1_ps(p->margin));

    __m256 total = _mm256_setzero_ps(), total2 = total;
    int passed = 1;
    for (int j = 0; j < others; j += 8) {
        const __m256 s = load_part(o + j, others - j);
        const __m256 cut = _mm256_or_ps(_mm256_cmp_ps(s, floor, _CMP_LT_OQ), _mm256_cmp_ps(s, lowest, _CMP_EQ_OQ));
        const int mask = _mm256_movemask_ps(cut);
        if (mask == 0xff) {
            store_part(o + j, _mm256_setzero_ps(), others - j);
            continue;
        }
        const __m256 a = _mm256_andnot_ps(cut, exp8(_mm256_sub_ps(s, top)));
        total = _mm256_add_ps(total, a);
        total2 = _mm256_fmadd_ps(a, a, total2);
        passed += 8 - __builtin_popcount((unsigned)mask);
        store_part(o + j, a, others - j);
    }
    const float a = _mm256_cvtss_f32(exp8(_mm256_sub_ps(own, top)));
    o[others] = a;
    *sum = sum8(total) + a;
    *sum2 = sum8(total2) + a * a;
    return passed;
}
