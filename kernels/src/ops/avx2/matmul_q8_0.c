/* matmul_q8_0.c - Q8_0 weights times int8 activations, AVX2.
 *
 *   Y[n, row] = sum_b d_w[row, b] d_a[n, b] sum_i w[row, b, i] a[n, b, i]
 *
 * W: rows of k / 32 qig_block_q8_0, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: k % 32 == 0; activations in -127..127, weights any int8; no alignment. Features: AVX2, FMA, F16C. Tiles: 4 x 1, 4 x 2, 1 x 1.
 * Integers: |w| times a with w's sign (two products <= 2 * 128 * 127 < 2^15), pairs added into int32: exact, -128 too.
 * Floats: per lane acc = fma(float(lane), d_w d_a, acc) over the blocks in order, then one fixed horizontal sum: the tile does not show in the result.
 */
#include "../tiles.h"
#include "simd.h"

/* d_w d_a of four rows, in both halves. */
QIG_INLINE __m256 load_scales(const qig_block_q8_0 *w0, const qig_block_q8_0 *w1, const qig_block_q8_0 *w2, const qig_block_q8_0 *w3, float da) {
    const uint64_t d = w0->d | (uint64_t)w1->d << 16 | (uint64_t)w2->d << 32 | (uint64_t)w3->d << 48;
    const __m128 s = _mm_mul_ps(_mm_cvtph_ps(_mm_cvtsi64_si128((long long)d)), _mm_set1_ps(da));
    return _mm256_set_m128(s, s);
}

QIG_INLINE __m256 block_sums(__m256i w, __m256i a) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

#define SPREAD(s, r) _mm256_shuffle_ps(s, s, (r) * 0x55)

#define ROW(i)                                                                                \
    {                                                                                         \
        const __m256i q = _mm256_loadu_si256((const __m256i *)w##i->qs);                      \
        acc0->r##i = _mm256_fmadd_ps(block_sums(q, a0), SPREAD(s0, i), acc0->r##i);           \
        if (acc1) acc1->r##i = _mm256_fmadd_ps(block_sums(q, a1), SPREAD(s1, i), acc1->r##i); \
    }

/* One block of four rows and one or two columns (acc1 NULL: one). */
QIG_INLINE void step4(quad *acc0, quad *acc1, const char *w, size_t w_stride, const char *x, size_t x_stride) {
    const qig_block_q8_0 *w0 = (const void *)w, *w1 = (const void *)(w + w_stride), *w2 = (const void *)(w + 2 * w_stride),
                         *w3 = (const void *)(w + 3 * w_stride);
    const qig_block_a8 *x0 = (const void *)x, *x1 = acc1 ? (const void *)(x + x_stride) : x0;
    const __m256i a0 = _mm256_loadu_si256((const __m256i *)x0->qs), a1 = _mm256_loadu_si256((const __m256i *)x1->qs);
    const __m256 s0 = load_scales(w0, w1, w2, w3, x0->d), s1 = load_scales(w0, w1, w2, w3, x1->d);
    ROW(0)
    ROW(1)
    ROW(2)
    ROW(3)
}

QIG_INLINE void tile4(const int cols, const size_t ahead, const char *w, size_t w_stride, const char *x, size_t x_stride, float *y, size_t y_stride,
                      int blocks) {
    quad acc0 = quad_zero(), acc1 = quad_zero();
    uintptr_t next = (uintptr_t)w;
    for (; blocks; blocks--, w += sizeof(qig_block_q8_0), x += sizeof(qig_block_a8)) {
        if (ahead) { /* a step reads 4 * 34 bytes */
            prefetch((const void *)next, ahead);
            prefetch((const void *)next, ahead + 64);
            prefetch((const void *)next, ahead + 128);
            next += 4 * sizeof(qig_block_q8_0);
        }
        step4(&acc0, cols == 2 ? &acc1 : NULL, w, w_stride, x, x_stride);
    }
    _mm_storeu_ps(y, sum8x4(acc0));
    if (cols == 2) _mm_storeu_ps(y + y_stride, sum8x4(acc1));
}

static void tile1(const void *row, const void *column, float *y, int blocks) {
    const qig_block_q8_0 *w = row;
    const qig_block_a8 *x = column;
    __m256 acc = _mm256_setzero_ps();
    for (; blocks; blocks--, w++, x++) {
        const __m256i q = _mm256_loadu_si256((const __m256i *)w->qs), a = _mm256_loadu_si256((const __m256i *)x->qs);
        acc = _mm256_fmadd_ps(block_sums(q, a), load_scales(w, w, w, w, x->d), acc);
    }
    *y = sum8(acc);
}

QIG_MATMUL_BY_FOURS(qig_matmul_q8_0__avx2, tile4, tile1, k / 32)
