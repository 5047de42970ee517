/* logits.c - one part of a row of logits: its maximum and the sums of logits.h, whose 16 lanes are two registers here. The same floats: no fma. */
#include "simd.h"

#include "../logits.h"

QIG_INLINE __m256 exp_negative(__m256 x) {
    const __m256 round = _mm256_set1_ps(12582912.0f);
    const __m256 shifted = _mm256_add_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504f)), round), k = _mm256_sub_ps(shifted, round);
    const __m256 r = _mm256_add_ps(_mm256_sub_ps(x, _mm256_mul_ps(k, _mm256_set1_ps(0.693359375f))), _mm256_mul_ps(k, _mm256_set1_ps(2.12194440e-4f)));
    static const float terms[] = {0.00833333333f, 0.0416666667f, 0.166666667f, 0.5f, 1.0f, 1.0f};
    __m256 e = _mm256_set1_ps(0.00138888889f);
    for (int i = 0; i < 6; i++) e = _mm256_add_ps(_mm256_set1_ps(terms[i]), _mm256_mul_ps(r, e));
    const __m256i bits = _mm256_slli_epi32(_mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127)), 23);
    return _mm256_andnot_ps(_mm256_cmp_ps(x, _mm256_set1_ps(-87.0f), _CMP_LT_OQ), _mm256_mul_ps(e, _mm256_castsi256_ps(bits)));
}

void qig_logit_part__avx2(const float *logits, int n, qig_logit_part *part) {
    float top[QIG_LOGIT_LANES], sum[QIG_LOGIT_LANES], sum2[QIG_LOGIT_LANES];
    const int whole = n - n % QIG_LOGIT_LANES;
    __m256 t0 = _mm256_set1_ps(-INFINITY), t1 = t0, a0 = _mm256_setzero_ps(), a1 = a0, b0 = a0, b1 = a0;
    for (int j = 0; j < whole; j += QIG_LOGIT_LANES) { /* a NaN is passed by, as where it is compared */
        t0 = _mm256_max_ps(_mm256_loadu_ps(logits + j), t0);
        t1 = _mm256_max_ps(_mm256_loadu_ps(logits + j + 8), t1);
    }
    _mm256_storeu_ps(top, t0);
    _mm256_storeu_ps(top + 8, t1);
    for (int j = whole; j < n; j++) top[j - whole] = logits[j] > top[j - whole] ? logits[j] : top[j - whole];
    float max = top[0];
    for (int i = 1; i < QIG_LOGIT_LANES; i++) max = top[i] > max ? top[i] : max;
    const __m256 m = _mm256_set1_ps(max);
    for (int j = 0; j < whole; j += QIG_LOGIT_LANES) {
        const __m256 e0 = exp_negative(_mm256_sub_ps(_mm256_loadu_ps(logits + j), m)), e1 = exp_negative(_mm256_sub_ps(_mm256_loadu_ps(logits + j + 8), m));
        a0 = _mm256_add_ps(a0, e0);
        a1 = _mm256_add_ps(a1, e1);
        b0 = _mm256_add_ps(b0, _mm256_mul_ps(e0, e0));
        b1 = _mm256_add_ps(b1, _mm256_mul_ps(e1, e1));
    }
    _mm256_storeu_ps(sum, a0);
    _mm256_storeu_ps(sum + 8, a1);
    _mm256_storeu_ps(sum2, b0);
    _mm256_storeu_ps(sum2 + 8, b1);
    for (int j = whole; j < n; j++) {
        const float e = qig_exp_negative(logits[j] - max);
        sum[j - whole] += e;
        sum2[j - whole] += e * e;
    }
    *part = (qig_logit_part){ .max = max };
    for (int i = 0; i < QIG_LOGIT_LANES; i++) part->sum += sum[i], part->sum2 += sum2[i];
}
