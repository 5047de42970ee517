/* matmul_q6_k.c - Q6_K weights times int8 activations, AVX2.
 *
 *   Y[n, row] = sum over 32 weights of d_w d_a (scale_0 sum_i<16 (q_i - 32) a_i + scale_1 sum_i>=16 (q_i - 32) a_i)
 *
 * W: rows of k / 256 qig_block_q6_k, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: k % 256 == 0; no alignment. Features: AVX2, FMA, F16C. Tiles: 1 row x 2 columns, 1 x 1.
 * Integers: q stays unsigned for maddubs (two products <= 2 * 63 * 127), 32 a is subtracted in 16 bits, a scale is multiplied as pairs are added into
 * int32: exact.
 * Floats: per lane acc = fma(float(lane), d_w d_a, acc) over the groups of 32 in order, then one fixed horizontal sum.
 */
#include "../tiles.h"
#include "simd.h"

/* Weights 32 (4 half + j) .. + 32 of a block as 0..63; j is constant in every call. */
QIG_INLINE __m256i load_q(const qig_block_q6_k *w, int half, const int j) {
    const __m256i low = _mm256_loadu_si256((const __m256i *)(w->ql + 64 * half + 32 * (j % 2))), high = _mm256_loadu_si256((const __m256i *)(w->qh + 32 * half));
    const __m256i l = _mm256_and_si256(j < 2 ? low : _mm256_srli_epi16(low, 4), _mm256_set1_epi8(15));
    const __m256i h = _mm256_and_si256(j == 0 ? _mm256_slli_epi16(high, 4) : j == 1 ? _mm256_slli_epi16(high, 2) : j == 2 ? high : _mm256_srli_epi16(high, 2),
                                       _mm256_set1_epi8(0x30));
    return _mm256_or_si256(l, h);
}

/* The two scales of a group of 32, in the lanes of their weights. */
QIG_INLINE __m256i load_scales(const int8_t *s) { return _mm256_set_m128i(_mm_set1_epi16(s[1]), _mm_set1_epi16(s[0])); }

QIG_INLINE __m256 step(__m256i q, __m256i scales, float d, const qig_block_a8 *x, __m256 acc) {
    const __m256i a = _mm256_loadu_si256((const __m256i *)x->qs);
    const __m256i products = _mm256_sub_epi16(_mm256_maddubs_epi16(q, a), _mm256_maddubs_epi16(_mm256_set1_epi8(32), a));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_madd_epi16(products, scales)), _mm256_set1_ps(d * x->d), acc);
}

#define GROUP(j)                                                              \
    {                                                                         \
        const __m256i q = load_q(w, half, j), s = load_scales(w->scales + 8 * half + 2 * (j)); \
        acc0 = step(q, s, d, x0 + 4 * half + (j), acc0);                      \
        if (cols == 2) acc1 = step(q, s, d, x1 + 4 * half + (j), acc1);       \
    }

QIG_INLINE void tile(const int cols, const qig_block_q6_k *w, const qig_block_a8 *x0, const qig_block_a8 *x1, float *y0, float *y1, int blocks) {
    __m256 acc0 = _mm256_setzero_ps(), acc1 = acc0;
    for (; blocks; blocks--, w++, x0 += 8, x1 += 8) {
        const float d = _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(w->d)));
        for (int line = 0; cols == 1 && line < 4; line++) prefetch(w, 2048 + (size_t)line * 64); /* a block is 210 bytes */
        for (int half = 0; half < 2; half++) {
            GROUP(0)
            GROUP(1)
            GROUP(2)
            GROUP(3)
        }
    }
    *y0 = sum8(acc0);
    if (cols == 2) *y1 = sum8(acc1);
}

QIG_MATMUL_BY_ROWS(qig_matmul_q6_k__avx2, tile, k / 256)
