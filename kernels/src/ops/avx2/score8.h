/* score8.h - scores of 8 overlaps, AVX2. asin: approx.h. */
#ifndef QIG_OPS_AVX2_SCORE8_H
#define QIG_OPS_AVX2_SCORE8_H

#include "../approx.h"
#include "simd.h"

QIG_INLINE __m256 asin8(__m256 h) {
    const __m256 one = _mm256_set1_ps(1.0f), half = _mm256_set1_ps(0.5f);
    const __m256 far = _mm256_cmp_ps(h, half, _CMP_GT_OQ);
    const __m256 zf = _mm256_mul_ps(_mm256_sub_ps(one, h), half);
    const __m256 z = _mm256_blendv_ps(_mm256_mul_ps(h, h), zf, far), t = _mm256_blendv_ps(h, _mm256_sqrt_ps(zf), far);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(QIG_ASIN_A4), z, _mm256_set1_ps(QIG_ASIN_A3));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(QIG_ASIN_A2));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(QIG_ASIN_A1));
    p = _mm256_fmadd_ps(p, z, _mm256_set1_ps(QIG_ASIN_A0));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(z, t), t);
    return _mm256_blendv_ps(p, _mm256_fnmadd_ps(_mm256_set1_ps(2.0f), p, _mm256_set1_ps(QIG_HALF_PI)), far);
}

/* Scores of 8 overlaps `age` positions before the query; far: the absolute gate's verdict. No fused operations up to s, so bures equals ref bit for bit. */
QIG_INLINE __m256 score8(__m256 o, __m256 age, const qig_score_params *p, __m256 *far) {
    const __m256 t = _mm256_mul_ps(_mm256_set1_ps(2.0f), _mm256_sub_ps(_mm256_set1_ps(1.0f), o));
    __m256 d = _mm256_sqrt_ps(_mm256_add_ps(_mm256_max_ps(_mm256_setzero_ps(), t), _mm256_set1_ps(1e-6f)));
    if (p->metric == QIG_METRIC_FISHER_RAO) {
        const __m256 h = _mm256_mul_ps(_mm256_min_ps(_mm256_set1_ps(2.0f), d), _mm256_set1_ps(0.5f));
        d = _mm256_mul_ps(_mm256_set1_ps(2.0f), asin8(h));
    }
    *far = _mm256_cmp_ps(d, _mm256_set1_ps(p->max_distance), _CMP_GT_OQ);
    const __m256 loss = _mm256_add_ps(_mm256_mul_ps(_mm256_set1_ps(p->scale), d), _mm256_mul_ps(_mm256_set1_ps(p->slope), age));
    return _mm256_xor_ps(loss, _mm256_set1_ps(-0.0f));
}

#endif
