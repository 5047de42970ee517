/* mix.c - the weighted sum of cached values, AVX2.
 *
 *   i8:   out[c] = sum_j (a[j] vs[r]) v[r * v_stride + c], r = rows[j], or j without rows        f32: out[c] = sum_j a[j] v[j * v_stride + c]
 *
 * a: n weights;  rows: n numbers of rows, or NULL;  v: rows, v_stride entries apart (v_stride >= c);  vs: their scales;  out: c floats, all written (0 for n = 0). Any c, n; no alignment.
 * Features: AVX2, FMA. Per channel acc = fma(weight, value, acc) over j in order, whatever c. a[j] == 0 skips its row unread.
 * 64 channels at a time (a cache line of int8) in eight registers, then 8 at a time, the last partial 8 through a zero-filled copy.
 */
#include "simd.h"

#include <string.h>

/* m <= 8 values as floats; m == 8 is constant where it counts. */
QIG_INLINE __m256 load_i8(const int8_t *p, int m) {
    int64_t v = 0;
    memcpy(&v, p, (size_t)m);
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(v)));
}

#define FMA4(load, acc, row)                                  \
    acc.r0 = _mm256_fmadd_ps(w, load((row), 8), acc.r0);      \
    acc.r1 = _mm256_fmadd_ps(w, load((row) + 8, 8), acc.r1);  \
    acc.r2 = _mm256_fmadd_ps(w, load((row) + 16, 8), acc.r2); \
    acc.r3 = _mm256_fmadd_ps(w, load((row) + 24, 8), acc.r3);

#define STORE4(out, acc)               \
    _mm256_storeu_ps((out), acc.r0);      \
    _mm256_storeu_ps((out) + 8, acc.r1);  \
    _mm256_storeu_ps((out) + 16, acc.r2); \
    _mm256_storeu_ps((out) + 24, acc.r3);

/* row, weight: expressions in j. */
#define MIX(load, row, weight)                                                           \
    int i = 0;                                                                      \
    for (; i + 64 <= c; i += 64) {                                                  \
        quad lower = quad_zero(), upper = quad_zero();                              \
        for (int j = 0; j < n; j++) {                                               \
            if (a[j] == 0.0f) continue;                                             \
            const __m256 w = _mm256_set1_ps(weight);                                \
            FMA4(load, lower, v + (size_t)(row) * v_stride + i)                         \
            FMA4(load, upper, v + (size_t)(row) * v_stride + i + 32)                    \
        }                                                                           \
        STORE4(out + i, lower)                                                      \
        STORE4(out + i + 32, upper)                                                 \
    }                                                                               \
    for (; i + 32 <= c; i += 32) {                                                  \
        quad acc = quad_zero();                                                     \
        for (int j = 0; j < n; j++) {                                               \
            if (a[j] == 0.0f) continue;                                             \
            const __m256 w = _mm256_set1_ps(weight);                                \
            FMA4(load, acc, v + (size_t)(row) * v_stride + i)                           \
        }                                                                           \
        STORE4(out + i, acc)                                                        \
    }                                                                               \
    for (; i < c; i += 8) {                                                         \
        const int m = c - i < 8 ? c - i : 8;                                        \
        __m256 acc = _mm256_setzero_ps();                                           \
        for (int j = 0; j < n; j++) {                                               \
            if (a[j] == 0.0f) continue;                                             \
            acc = _mm256_fmadd_ps(_mm256_set1_ps(weight), load(v + (size_t)(row) * v_stride + i, m), acc); \
        }                                                                           \
        float t[8];                                                                 \
        _mm256_storeu_ps(t, acc);                                                   \
        memcpy(out + i, t, sizeof t[0] * (size_t)m);                                \
    }

void qig_mix_i8__avx2(const float *a, const int32_t *rows, const int8_t *v, size_t v_stride, const float *vs, int c, int n, float *out) {
    if (rows) {
        MIX(load_i8, rows[j], a[j] * vs[rows[j]])
    } else {
        MIX(load_i8, j, a[j] * vs[j])
    }
}

void qig_mix_f32__avx2(const float *a, const float *v, size_t v_stride, int c, int n, float *out) { MIX(load_f32, j, a[j]) }
