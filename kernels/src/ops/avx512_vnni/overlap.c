/* overlap.c - overlaps of one query state with the cached int8 key states, AVX-512 with VNNI.
 *
 *   o[j] = min(1, (qs * ks[j]) * sum_i q[i] k[j * k_stride + i])      integers exact, the same bits as ref
 *
 * q: c entries;  k: n rows, k_stride entries apart (k_stride >= c), any int8;  ks: n scales;  o: n floats. Any c, n; no alignment; a NaN stays one.
 * Features: AVX512F, BW, VNNI. Sums as in dots.h; a last partial sixteen keys repeat the last key and drop the result.
 */
#include "../kernels.h"
#include "dots.h"

/* Row r of a group of m, the last one for those past the end. */
QIG_INLINE const int8_t *row(const int8_t *k, size_t stride, int r, int m) { return k + (size_t)(r < m ? r : m - 1) * stride; }

#define DOT(r) const __m512i s##r = dot(q, row(k, k_stride, r, m), steps, rest, start);

/* Sums of m <= 16 keys from k on; m == 16 is constant where it counts, as are steps and rest. */
QIG_INLINE __m512i dots(const int8_t *q, const int8_t *k, size_t k_stride, int m, int steps, __mmask64 rest, __m512i start) {
    EACH_KEY(DOT)
    return SUM_KEYS();
}

QIG_INLINE void overlaps(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int steps, __mmask64 rest, int n, float *o) {
    const __m512i start = dots_start(q, steps, rest);
    for (int j = 0; j < n; j += KEYS, k += KEYS * k_stride) {
        const int m = n - j < KEYS ? n - j : KEYS;
        const __mmask16 keep = (__mmask16)(0xffffu >> (KEYS - m));
        const __m512 sum = _mm512_cvtepi32_ps(m == KEYS ? dots(q, k, k_stride, KEYS, steps, rest, start) : dots(q, k, k_stride, m, steps, rest, start));
        const __m512 v = _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(qs), _mm512_maskz_loadu_ps(keep, ks + j)), sum);
        _mm512_mask_storeu_ps(o + j, keep, _mm512_min_ps(_mm512_set1_ps(1.0f), v)); /* min returns its second operand when one is NaN */
    }
}

/* Common widths are compiled apart: their query stays in registers and no loop is left. */
void qig_overlap_i8__avx512_vnni(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int c, int n, float *o) {
    if (c == 2 * STEP) overlaps(q, qs, k, k_stride, ks, 2, 0, n, o);
    else if (c == STEP) overlaps(q, qs, k, k_stride, ks, 1, 0, n, o);
    else if (c == STEP / 2) overlaps(q, qs, k, k_stride, ks, 0, 0xffffffffu, n, o);
    else if (c == 4 * STEP) overlaps(q, qs, k, k_stride, ks, 4, 0, n, o);
    else overlaps(q, qs, k, k_stride, ks, c / STEP, ~(~0ull << c % STEP), n, o);
}
