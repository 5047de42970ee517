/* sum_rows.c - the weighted sum of some rows of a matrix, AVX2.
 *
 *   y[c] = sum_i a[i] W[units[i], c]      c in [col0, col1), i in order
 *
 * W: rows of w_stride bytes;  units, a: n row numbers and weights;  y: floats, all of [col0, col1) written (0 for n = 0). q4_0, q8_0: col0 and col1 are
 * multiples of 32; f16, f32: any. No alignment. Features: AVX2, FMA, F16C. Tile: 4 rows, or 1 for the last ones, over all columns; y is the accumulator.
 * Floats: per column acc = fma(W, a, acc), quantized acc = fma(q, a d, acc), over i in order: neither the tile nor the range shows in the result.
 * Rows lie apart, so no hardware prefetcher finds the next: the list does. Q4_0 takes nibbles from 32-bit lanes, without shuffles; that leaves the
 * columns of a block in another order, in which y is kept until the last row.
 */
#include "../sum_rows.h"
#include "simd.h"

QIG_INLINE void prefetch4(rows4 next, size_t at) {
    prefetch(next.r0, at);
    prefetch(next.r1, at);
    prefetch(next.r2, at);
    prefetch(next.r3, at);
}

/* a d of four rows, in both halves. */
QIG_INLINE __m256 scales4(rows4 r, size_t at, __m128 a) {
    uint16_t d0, d1, d2, d3;
    memcpy(&d0, r.r0 + at, 2);
    memcpy(&d1, r.r1 + at, 2);
    memcpy(&d2, r.r2 + at, 2);
    memcpy(&d3, r.r3 + at, 2);
    const uint64_t d = d0 | (uint64_t)d1 << 16 | (uint64_t)d2 << 32 | (uint64_t)d3 << 48;
    const __m128 s = _mm_mul_ps(_mm_cvtph_ps(_mm_cvtsi64_si128((long long)d)), a);
    return _mm256_set_m128(s, s);
}

/* Lane r of each half of s, in all lanes of that half. */
#define SPREAD(s, r) _mm256_shuffle_ps(s, s, (r) * 0x55)

/* --- q4_0: two blocks a step, the low half of every register belongs to the first ------------------------------------------------------ */

enum { Q4 = sizeof(qig_block_q4_0), Q8 = sizeof(qig_block_q8_0) };

/* 64 nibbles as two's complement; `second` is constant in every call: 0 for a last single block, whose high half is zero. */
QIG_INLINE __m256i load_q4(const char *block, const int second) {
    const __m128i first = _mm_loadu_si128((const __m128i *)(const void *)(block + 2));
    const __m128i other = second ? _mm_loadu_si128((const __m128i *)(const void *)(block + Q4 + 2)) : _mm_setzero_si128();
    return _mm256_xor_si256(_mm256_set_m128i(other, first), _mm256_set1_epi8((char)0x88));
}

/* Nibble k of the eight 32-bit lanes. */
#define NIBBLE(x, k) _mm256_cvtepi32_ps(_mm256_srai_epi32(_mm256_slli_epi32(x, 28 - 4 * (k)), 28))

#define ADD_NIBBLES(k)                                                                                             \
    {                                                                                                              \
        __m256 acc = second ? _mm256_loadu_ps(y + 8 * (k)) : _mm256_castps128_ps256(_mm_loadu_ps(y + 4 * (k)));    \
        acc = _mm256_fmadd_ps(NIBBLE(x0, k), s0, acc);                                                             \
        if (four) {                                                                                                \
            acc = _mm256_fmadd_ps(NIBBLE(x1, k), s1, acc);                                                         \
            acc = _mm256_fmadd_ps(NIBBLE(x2, k), s2, acc);                                                         \
            acc = _mm256_fmadd_ps(NIBBLE(x3, k), s3, acc);                                                         \
        }                                                                                                          \
        if (second) _mm256_storeu_ps(y + 8 * (k), acc);                                                            \
        else _mm_storeu_ps(y + 4 * (k), _mm256_castps256_ps128(acc));                                              \
    }

QIG_INLINE void step_q4(rows4 r, size_t at, __m128 a, float *y, const int four, const int second) {
    const __m256i x0 = load_q4(r.r0 + at, second), x1 = four ? load_q4(r.r1 + at, second) : x0, x2 = four ? load_q4(r.r2 + at, second) : x0,
                  x3 = four ? load_q4(r.r3 + at, second) : x0;
    const __m256 first = scales4(r, at, a), s = second ? _mm256_blend_ps(first, scales4(r, at + Q4, a), 0xf0) : first;
    const __m256 s0 = SPREAD(s, 0), s1 = SPREAD(s, 1), s2 = SPREAD(s, 2), s3 = SPREAD(s, 3);
    ADD_NIBBLES(0)
    ADD_NIBBLES(1)
    ADD_NIBBLES(2)
    ADD_NIBBLES(3)
    ADD_NIBBLES(4)
    ADD_NIBBLES(5)
    ADD_NIBBLES(6)
    ADD_NIBBLES(7)
}

QIG_INLINE void tile_q4(rows4 r, rows4 next, __m128 a, float *y, int blocks, const int four) {
    size_t at = 0;
    for (; blocks >= 2; blocks -= 2, at += 2 * Q4, y += 64) {
        if (four) prefetch4(next, at);
        step_q4(r, at, a, y, four, 1);
    }
    if (blocks) step_q4(r, at, a, y, four, 0);
}

/* Lane l of half h and nibble k is column 32 h + 4 l + k / 2, + 16 for the odd k: high nibbles. */
static void order_q4(float *y, int blocks) {
    float t[64];
    while (blocks > 0) {
        const int halves = blocks > 1 ? 2 : 1;
        memcpy(t, y, sizeof t[0] * 32 * (size_t)halves);
        for (int k = 0; k < 8; k++)
            for (int h = 0; h < halves; h++)
                for (int l = 0; l < 4; l++) y[32 * h + 16 * (k & 1) + 4 * l + k / 2] = t[4 * halves * k + 4 * h + l];
        blocks -= halves, y += 32 * halves;
    }
}

/* --- q8_0: a block a step -------------------------------------------------------------------------------------------------------------- */

QIG_INLINE __m256 load_q8(const char *p) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p))); }

QIG_INLINE void tile_q8(rows4 r, rows4 next, __m128 a, float *y, int blocks, const int four) {
    size_t at = 0;
    for (; blocks; blocks--, at += Q8, y += 32) {
        if (four) prefetch4(next, at);
        const __m256 s = scales4(r, at, a), s0 = SPREAD(s, 0), s1 = SPREAD(s, 1), s2 = SPREAD(s, 2), s3 = SPREAD(s, 3);
        for (int c = 0; c < 32; c += 8) {
            const size_t from = at + 2 + (size_t)c;
            __m256 acc = _mm256_fmadd_ps(load_q8(r.r0 + from), s0, _mm256_loadu_ps(y + c));
            if (four) {
                acc = _mm256_fmadd_ps(load_q8(r.r1 + from), s1, acc);
                acc = _mm256_fmadd_ps(load_q8(r.r2 + from), s2, acc);
                acc = _mm256_fmadd_ps(load_q8(r.r3 + from), s3, acc);
            }
            _mm256_storeu_ps(y + c, acc);
        }
    }
}

/* --- f16, f32 -------------------------------------------------------------------------------------------------------------------------- */

#define STEP(load, m)                                                                         \
    {                                                                                         \
        __m256 acc = _mm256_fmadd_ps(load(r.r0 + at, m), a0, load_f32(y, m));   \
        if (four) {                                                                           \
            acc = _mm256_fmadd_ps(load(r.r1 + at, m), a1, acc);                               \
            acc = _mm256_fmadd_ps(load(r.r2 + at, m), a2, acc);                               \
            acc = _mm256_fmadd_ps(load(r.r3 + at, m), a3, acc);                               \
        }                                                                                     \
        float t[8];                                                                           \
        _mm256_storeu_ps((m) == 8 ? y : t, acc);                                              \
        if ((m) < 8) memcpy(y, t, sizeof t[0] * (size_t)(m));                                 \
    }

#define TILE_PLAIN(type, element)                                                                                                \
    QIG_INLINE void tile_##type(rows4 r, rows4 next, __m128 a, float *y, int columns, const int four) {                          \
        const __m256 all = _mm256_set_m128(a, a), a0 = SPREAD(all, 0), a1 = SPREAD(all, 1), a2 = SPREAD(all, 2), a3 = SPREAD(all, 3); \
        size_t at = 0;                                                                                                           \
        for (; columns >= 8; columns -= 8, at += 8 * sizeof(element), y += 8) {                                                  \
            if (four && at % 64 == 0) prefetch4(next, at);                                                                       \
            STEP(load_##type, 8)                                                                                                 \
        }                                                                                                                        \
        if (columns > 0) STEP(load_##type, columns)                                                                              \
    }

TILE_PLAIN(f16, uint16_t)
TILE_PLAIN(f32, float)

#define SUM_ROWS(type, tile, width, bytes, finish) QIG_SUM_ROWS(qig_sum_rows_##type##__avx2, tile, _mm_loadu_ps, _mm_set1_ps, width, bytes, finish)

SUM_ROWS(q4_0, tile_q4, 32, Q4, order_q4)
SUM_ROWS(q8_0, tile_q8, 32, Q8, leave)
SUM_ROWS(f16, tile_f16, 1, sizeof(uint16_t), leave)
SUM_ROWS(f32, tile_f32, 1, sizeof(float), leave)
