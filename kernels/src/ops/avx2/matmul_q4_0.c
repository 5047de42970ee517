/* matmul_q4_0.c - Q4_0 weights times int8 activations, AVX2.
 *
 *   Y[n, row] = sum_b d_w[row, b] d_a[n, b] sum_i (nibble[row, b, i] - 8) a[n, b, i]
 *
 * W: rows of k / 32 qig_block_q4_0, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: k % 32 == 0; no alignment. Features: AVX2, FMA, F16C. Tiles: 4 rows x 1 column (decode), 4 rows x 2 columns (prefill), 1 x 1 (rest).
 * Two blocks a step: the low lane of every register belongs to the first, the high lane to the second.
 * Integers: nibbles stay unsigned for maddubs (four products <= 4 * 15 * 127), 8 a is subtracted in 16 bits, pairs are added into int32: exact.
 * Floats: per lane acc = fma(float(lane), d_w d_a, acc) over the steps in order, then one fixed horizontal sum: the tile does not show in the result.
 */
#include "../tiles.h"
#include "simd.h"

typedef struct {
    __m256i lo, hi; /* entries 0..15 and 16..31 of both blocks */
    __m256i eight;  /* 8 a, summed as the products are */
    __m256 d;       /* scale of the lane's block */
} pair_a8;

typedef struct {
    __m256i lo, hi; /* nibbles 0..15 and 16..31 of both blocks */
} pair_q4;

/* `second` is constant in every call: 0 for the last block of an odd number, whose high lane is zero. */
QIG_INLINE pair_a8 load_a8(const qig_block_a8 *x, const int second) {
    const __m128i lo0 = _mm_loadu_si128((const __m128i *)x[0].qs), hi0 = _mm_loadu_si128((const __m128i *)(x[0].qs + 16));
    const __m128i lo1 = second ? _mm_loadu_si128((const __m128i *)x[1].qs) : _mm_setzero_si128();
    const __m128i hi1 = second ? _mm_loadu_si128((const __m128i *)(x[1].qs + 16)) : _mm_setzero_si128();
    const __m128 d1 = second ? _mm_broadcast_ss(&x[1].d) : _mm_setzero_ps();
    const __m256i k8 = _mm256_set1_epi8(8);
    pair_a8 p;
    p.lo = _mm256_set_m128i(lo1, lo0);
    p.hi = _mm256_set_m128i(hi1, hi0);
    p.eight = _mm256_add_epi16(_mm256_maddubs_epi16(k8, p.lo), _mm256_maddubs_epi16(k8, p.hi));
    p.d = _mm256_set_m128(d1, _mm_broadcast_ss(&x[0].d));
    return p;
}

QIG_INLINE pair_q4 load_q4(const qig_block_q4_0 *w, const int second) {
    const __m256i mask = _mm256_set1_epi8(15);
    const __m128i q0 = _mm_loadu_si128((const __m128i *)w[0].qs), q1 = second ? _mm_loadu_si128((const __m128i *)w[1].qs) : _mm_setzero_si128();
    const __m256i q = _mm256_set_m128i(q1, q0);
    return (pair_q4){_mm256_and_si256(q, mask), _mm256_and_si256(_mm256_srli_epi16(q, 4), mask)};
}

/* Scales of four rows: lane r of the low half is row r's first block, of the high half its second. Four loads and one conversion for both. */
QIG_INLINE __m256 load_scales(const qig_block_q4_0 *w0, const qig_block_q4_0 *w1, const qig_block_q4_0 *w2, const qig_block_q4_0 *w3, const int second) {
    const uint64_t a = w0[0].d | (uint64_t)w1[0].d << 16 | (uint64_t)w2[0].d << 32 | (uint64_t)w3[0].d << 48;
    const uint64_t b = second ? w0[1].d | (uint64_t)w1[1].d << 16 | (uint64_t)w2[1].d << 32 | (uint64_t)w3[1].d << 48 : 0;
    return _mm256_cvtph_ps(_mm_set_epi64x((long long)b, (long long)a));
}

QIG_INLINE __m256 block_sums(pair_q4 w, pair_a8 a) {
    const __m256i products = _mm256_add_epi16(_mm256_maddubs_epi16(w.lo, a.lo), _mm256_maddubs_epi16(w.hi, a.hi));
    return _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_sub_epi16(products, a.eight), _mm256_set1_epi16(1)));
}

/* Lane r of each half of s, in all lanes of that half. */
#define SPREAD(s, r) _mm256_shuffle_ps(s, s, (r) * 0x55)

#define ROW(i)                                                                                \
    {                                                                                         \
        const pair_q4 q = load_q4(w##i, second);                                              \
        acc0->r##i = _mm256_fmadd_ps(block_sums(q, a0), SPREAD(s0, i), acc0->r##i);           \
        if (acc1) acc1->r##i = _mm256_fmadd_ps(block_sums(q, a1), SPREAD(s1, i), acc1->r##i); \
    }

/* One step of four rows and one or two columns (acc1 NULL: one). */
QIG_INLINE void step4(quad *acc0, quad *acc1, const char *w, size_t w_stride, const char *x, size_t x_stride, const int second) {
    const qig_block_q4_0 *w0 = (const void *)w, *w1 = (const void *)(w + w_stride), *w2 = (const void *)(w + 2 * w_stride),
                         *w3 = (const void *)(w + 3 * w_stride);
    const pair_a8 a0 = load_a8((const void *)x, second), a1 = acc1 ? load_a8((const void *)(x + x_stride), second) : a0;
    const __m256 d = load_scales(w0, w1, w2, w3, second), s0 = _mm256_mul_ps(d, a0.d), s1 = _mm256_mul_ps(d, a1.d);
    ROW(0)
    ROW(1)
    ROW(2)
    ROW(3)
}

QIG_INLINE void tile4(const int cols, const size_t ahead, const char *w, size_t w_stride, const char *x, size_t x_stride, float *y, size_t y_stride,
                      int blocks) {
    quad acc0 = quad_zero(), acc1 = quad_zero();
    uintptr_t next = (uintptr_t)w;
    for (; blocks >= 2; blocks -= 2, w += 2 * sizeof(qig_block_q4_0), x += 2 * sizeof(qig_block_a8)) {
        if (ahead) { /* a step reads 4 * 36 bytes */
            prefetch((const void *)next, ahead);
            prefetch((const void *)next, ahead + 64);
            prefetch((const void *)next, ahead + 128);
            next += 8 * sizeof(qig_block_q4_0);
        }
        step4(&acc0, cols == 2 ? &acc1 : NULL, w, w_stride, x, x_stride, 1);
    }
    if (blocks) step4(&acc0, cols == 2 ? &acc1 : NULL, w, w_stride, x, x_stride, 0);
    _mm_storeu_ps(y, sum8x4(acc0));
    if (cols == 2) _mm_storeu_ps(y + y_stride, sum8x4(acc1));
}

static void tile1(const void *row, const void *column, float *y, int blocks) {
    const qig_block_q4_0 *w = row;
    const qig_block_a8 *x = column;
    __m256 acc = _mm256_setzero_ps();
    for (; blocks >= 2; blocks -= 2, w += 2, x += 2) {
        const pair_a8 a = load_a8(x, 1);
        const __m256 s = _mm256_mul_ps(load_scales(w, w, w, w, 1), a.d);
        acc = _mm256_fmadd_ps(block_sums(load_q4(w, 1), a), s, acc);
    }
    if (blocks) {
        const pair_a8 a = load_a8(x, 0);
        const __m256 s = _mm256_mul_ps(load_scales(w, w, w, w, 0), a.d);
        acc = _mm256_fmadd_ps(block_sums(load_q4(w, 0), a), s, acc);
    }
    *y = sum8(acc);
}

QIG_MATMUL_BY_FOURS(qig_matmul_q4_0__avx2, tile4, tile1, k / 32)
