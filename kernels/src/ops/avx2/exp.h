/* exp.h - exp of eight floats at most 0, and the ends of rows that do not fill a register. */
#ifndef QIG_OPS_AVX2_EXP_H
#define QIG_OPS_AVX2_EXP_H

#include "../approx.h"
#include "simd.h"

#include <math.h>
#include <string.h>

/* exp(x) for x <= 0, 0 below QIG_EXP_LOWEST; NaN stays one. Accuracy: approx.h. */
QIG_INLINE __m256 exp8(__m256 x) {
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(QIG_LOG2_E)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(QIG_LN2_HIGH), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(QIG_LN2_LOW), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(QIG_EXP_E4), r, _mm256_set1_ps(QIG_EXP_E3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QIG_EXP_E2));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QIG_EXP_E1));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(QIG_EXP_E0));
    p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
    const __m256 power = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
    const __m256 low = _mm256_cmp_ps(x, _mm256_set1_ps(QIG_EXP_LOWEST), _CMP_LT_OQ); /* false for NaN, which p carries on */
    return _mm256_andnot_ps(low, _mm256_mul_ps(p, power));
}

/* m <= 8 floats, the rest -inf, which as a score is cut. */
QIG_INLINE __m256 load_part(const float *p, int m) {
    if (m >= 8) return _mm256_loadu_ps(p);
    float v[8] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY, -INFINITY};
    memcpy(v, p, sizeof v[0] * (size_t)m);
    return _mm256_loadu_ps(v);
}

QIG_INLINE void store_part(float *p, __m256 v, int m) {
    if (m >= 8) {
        _mm256_storeu_ps(p, v);
        return;
    }
    float t[8];
    _mm256_storeu_ps(t, v);
    memcpy(p, t, sizeof t[0] * (size_t)m);
}

#endif
