/* matmul_q4_1.c - Q4_1 weights times int8 activations, AVX2.
 *
 *   Y[n, row] = sum_b d_a[n, b] (d_w[row, b] sum_i nibble[row, b, i] a[n, b, i] + m_w[row, b] sum_i a[n, b, i])
 *
 * W: rows of k / 32 qig_block_q4_1, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: k % 32 == 0; no alignment. Features: AVX2, FMA, F16C. Tiles: 1 row x 2 columns, 1 x 1.
 * Integers: nibbles stay unsigned for maddubs (two products <= 2 * 15 * 127), pairs are added into int32: exact.
 * Floats: per lane acc = fma(float(products), d_w d_a, acc), then fma(float(activations), m_w d_a, acc), block after block; one fixed horizontal sum.
 */
#include "../tiles.h"
#include "simd.h"

typedef struct {
    __m256i q;
    __m256 d, m;
} row_q4_1;

QIG_INLINE row_q4_1 load_row(const qig_block_q4_1 *w) {
    const __m128i q = _mm_loadu_si128((const __m128i *)w->qs);
    const __m128 dm = _mm_cvtph_ps(_mm_cvtsi32_si128((int)(w->d | (uint32_t)w->m << 16)));
    row_q4_1 r;
    r.q = _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(q, 4), q), _mm256_set1_epi8(15));
    r.d = _mm256_broadcastss_ps(dm);
    r.m = _mm256_broadcastss_ps(_mm_movehdup_ps(dm));
    return r;
}

QIG_INLINE __m256 step(row_q4_1 w, const qig_block_a8 *x, __m256 acc) {
    const __m256i a = _mm256_loadu_si256((const __m256i *)x->qs), one = _mm256_set1_epi16(1);
    const __m256 da = _mm256_set1_ps(x->d);
    const __m256 products = _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_maddubs_epi16(w.q, a), one));
    const __m256 all = _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_set1_epi8(1), a), one));
    return _mm256_fmadd_ps(all, _mm256_mul_ps(w.m, da), _mm256_fmadd_ps(products, _mm256_mul_ps(w.d, da), acc));
}

QIG_INLINE void tile(const int cols, const qig_block_q4_1 *w, const qig_block_a8 *x0, const qig_block_a8 *x1, float *y0, float *y1, int blocks) {
    __m256 acc0 = _mm256_setzero_ps(), acc1 = acc0;
    for (; blocks; blocks--, w++, x0++, x1++) {
        if (cols == 1) prefetch(w, 2048);
        const row_q4_1 row = load_row(w);
        acc0 = step(row, x0, acc0);
        if (cols == 2) acc1 = step(row, x1, acc1);
    }
    *y0 = sum8(acc0);
    if (cols == 2) *y1 = sum8(acc1);
}

QIG_MATMUL_BY_ROWS(qig_matmul_q4_1__avx2, tile, k / 32)
