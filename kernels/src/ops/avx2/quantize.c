/* quantize.c - activations to int8, AVX2.
 *
 *   d = amax / 127,  q[i] = half-to-even(x[i] * (127 / amax)),  amax = max |x[i]| over 32 values
 *
 * x: k floats, k % 32 == 0;  y: k / 32 blocks; no alignment. Features: AVX2. The same bytes as ref, block by block: too small for 127 / amax to be
 * finite: d = 0, q = 0; a NaN or an infinity inside: d = NaN, q = 0.
 */
#include "simd.h"

#include <float.h>
#include <math.h>
#include <string.h>

QIG_INLINE __m256i magnitude(__m256 v) { return _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7fffffff)); }

void qig_quantize_a8__avx2(const float *x, qig_block_a8 *y, int k) {
    for (int b = 0; b < k / 32; b++, x += 32, y++) {
        const __m256 x0 = _mm256_loadu_ps(x), x1 = _mm256_loadu_ps(x + 8), x2 = _mm256_loadu_ps(x + 16), x3 = _mm256_loadu_ps(x + 24);
        /* as integers, magnitudes order like the floats, with infinity and NaN on top: the maximum cannot lose one */
        const __m256i top = _mm256_max_epi32(_mm256_max_epi32(magnitude(x0), magnitude(x1)), _mm256_max_epi32(magnitude(x2), magnitude(x3)));
        __m128i m = _mm_max_epi32(_mm256_castsi256_si128(top), _mm256_extracti128_si256(top, 1));
        m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
        m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
        const float amax = _mm_cvtss_f32(_mm_castsi128_ps(m)), inverse = 127.0f / amax;
        const int finite = amax <= FLT_MAX;
        if (!finite || !(inverse <= FLT_MAX)) {
            y->d = finite ? 0.0f : NAN;
            memset(y->qs, 0, sizeof y->qs);
            continue;
        }
        y->d = amax / 127.0f;
        const __m256 s = _mm256_set1_ps(inverse);
        const __m256i q01 = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(x0, s)), _mm256_cvtps_epi32(_mm256_mul_ps(x1, s)));
        const __m256i q23 = _mm256_packs_epi32(_mm256_cvtps_epi32(_mm256_mul_ps(x2, s)), _mm256_cvtps_epi32(_mm256_mul_ps(x3, s)));
        /* packing works within lanes: groups of four come out as 0 2 4 6 1 3 5 7 */
        const __m256i q = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(q01, q23), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm256_storeu_si256((__m256i *)y->qs, q);
    }
}
