/* overlap.c - overlaps of one query state with the cached key states, AVX2.
 *
 *   i8:   o[j] = min(1, (qs * ks[j]) * sum_c q[c] k[j * k_stride + c])    integers exact, the same bits as ref
 *   f32:  o[j] = min(1, sum_c q[c] k[j * k_stride + c])                   8 float lanes, fma, fixed horizontal sum
 *
 * q: c entries;  k: n rows, k_stride entries apart (k_stride >= c);  ks: n scales;  o: n floats. Any c, n; no alignment; a NaN stays one.
 * Features: AVX2, FMA. Four keys at a time share the query's loads; a last partial group of keys repeats its last key and drops the result.
 */
#include "dots.h"

/* min(1, v) of the first m of four lanes; min returns its second operand when one is NaN. */
QIG_INLINE void store_overlaps(float *o, __m128 v, int m) {
    v = _mm_min_ps(_mm_set1_ps(1.0f), v);
    if (m >= 4) {
        _mm_storeu_ps(o, v);
        return;
    }
    float t[4];
    _mm_storeu_ps(t, v);
    memcpy(o, t, sizeof t[0] * (size_t)m);
}

void qig_overlap_i8__avx2(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int c, int n, float *o) {
    for (int j = 0; j < n; j += 4, k += 4 * k_stride) {
        const int m = n - j < 4 ? n - j : 4;
        const int8_t *k0 = k, *k1 = m > 1 ? k0 + k_stride : k0, *k2 = m > 2 ? k1 + k_stride : k1, *k3 = m > 3 ? k2 + k_stride : k2;
        const float *kj = ks + j;
        const __m128 scale = m == 4 ? _mm_loadu_ps(kj) : _mm_setr_ps(kj[0], m > 1 ? kj[1] : 0.0f, m > 2 ? kj[2] : 0.0f, 0.0f);
        store_overlaps(o + j, _mm_mul_ps(_mm_mul_ps(_mm_set1_ps(qs), scale), _mm_cvtepi32_ps(dots4(q, k0, k1, k2, k3, c))), m);
    }
}

void qig_overlap_f32__avx2(const float *q, const float *k, size_t k_stride, int c, int n, float *o) {
    for (int j = 0; j < n; j += 4, k += 4 * k_stride) {
        const int m = n - j < 4 ? n - j : 4;
        const float *k0 = k, *k1 = m > 1 ? k0 + k_stride : k0, *k2 = m > 2 ? k1 + k_stride : k1, *k3 = m > 3 ? k2 + k_stride : k2;
        quad s = quad_zero();
        int i = 0;
        for (; i + 8 <= c; i += 8) {
            const __m256 a = load_f32(q + i, 8);
            s.r0 = _mm256_fmadd_ps(a, load_f32(k0 + i, 8), s.r0);
            s.r1 = _mm256_fmadd_ps(a, load_f32(k1 + i, 8), s.r1);
            s.r2 = _mm256_fmadd_ps(a, load_f32(k2 + i, 8), s.r2);
            s.r3 = _mm256_fmadd_ps(a, load_f32(k3 + i, 8), s.r3);
        }
        if (i < c) {
            const __m256 a = load_f32(q + i, c - i);
            s.r0 = _mm256_fmadd_ps(a, load_f32(k0 + i, c - i), s.r0);
            s.r1 = _mm256_fmadd_ps(a, load_f32(k1 + i, c - i), s.r1);
            s.r2 = _mm256_fmadd_ps(a, load_f32(k2 + i, c - i), s.r2);
            s.r3 = _mm256_fmadd_ps(a, load_f32(k3 + i, c - i), s.r3);
        }
        store_overlaps(o + j, sum8x4(s), m);
    }
}
