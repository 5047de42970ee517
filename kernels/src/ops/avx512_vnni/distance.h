/* distance.h - distances of 16 overlaps, AVX-512. asin: approx.h. */
#ifndef QIG_OPS_AVX512_DISTANCE_H
#define QIG_OPS_AVX512_DISTANCE_H

#include "../approx.h"
#include "../kernels.h"

#include <immintrin.h>

static inline __attribute__((always_inline)) __m512 asin16(__m512 h) {
    const __m512 one = _mm512_set1_ps(1.0f), half = _mm512_set1_ps(0.5f);
    const __mmask16 far = _mm512_cmp_ps_mask(h, half, _CMP_GT_OQ);
    const __m512 zf = _mm512_mul_ps(_mm512_sub_ps(one, h), half);
    const __m512 z = _mm512_mask_mov_ps(_mm512_mul_ps(h, h), far, zf), t = _mm512_mask_sqrt_ps(h, far, zf);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(QIG_ASIN_A4), z, _mm512_set1_ps(QIG_ASIN_A3));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(QIG_ASIN_A2));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(QIG_ASIN_A1));
    p = _mm512_fmadd_ps(p, z, _mm512_set1_ps(QIG_ASIN_A0));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(z, t), t);
    return _mm512_mask_fnmadd_ps(p, far, _mm512_set1_ps(2.0f), _mm512_set1_ps(QIG_HALF_PI));
}

/* Distances of 16 overlaps. No fused operations up to s, so bures equals ref bit for bit. */
static inline __attribute__((always_inline)) __m512 distance16(const qig_metric metric, __m512 o) {
    const __m512 t = _mm512_mul_ps(_mm512_set1_ps(2.0f), _mm512_sub_ps(_mm512_set1_ps(1.0f), o));
    const __m512 d = _mm512_sqrt_ps(_mm512_add_ps(_mm512_max_ps(_mm512_setzero_ps(), t), _mm512_set1_ps(1e-6f))); /* max keeps a NaN: its second operand */
    if (metric == QIG_METRIC_BURES) return d;
    return _mm512_mul_ps(_mm512_set1_ps(2.0f), asin16(_mm512_mul_ps(_mm512_min_ps(_mm512_set1_ps(2.0f), d), _mm512_set1_ps(0.5f))));
}

#endif
