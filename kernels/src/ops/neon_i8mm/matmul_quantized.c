/* matmul_quantized.c - Q4_0 and Q8_0 weights times int8 activations, NEON with matrix products. Equation, layouts and constraints: ../neon/quantized.h.
 *
 * Features: armv8.2-a with i8mm. Tiles: 4 rows x 1 to 4 columns. smmla multiplies eight weights of two rows with as many activations of two columns: twice the
 * products of a dot. An odd last column is its own neighbour, which costs what dot products would: the rows need not be turned, only paired.
 * Integers: 32 products a lane accumulate in int32: exact.
 */
#include "../neon/quantized.h"

/* A block of two rows or columns, r and s: register j holds entries 8 j..8 j + 7 of r, then of s. */
typedef struct {
    int8x16_t p0, p1, p2, p3;
} pair;

#define ZIP(op, a, b) vreinterpretq_s8_s64(op(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)))

QIG_INLINE pair pair_of(const int8_t *r, const int8_t *s) {
    const int8x16_t r0 = vld1q_s8(r), r1 = vld1q_s8(r + 16), s0 = vld1q_s8(s), s1 = vld1q_s8(s + 16);
    return (pair){ZIP(vzip1q_s64, r0, s0), ZIP(vzip2q_s64, r0, s0), ZIP(vzip1q_s64, r1, s1), ZIP(vzip2q_s64, r1, s1)};
}

QIG_INLINE int8x16_t low(int8x16_t q) { return vandq_s8(q, vdupq_n_s8(15)); }
QIG_INLINE int8x16_t high(int8x16_t q) { return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(q), 4)); }

/* Two blocks of weights. */
QIG_INLINE pair load_rows(const weight_type t, const char *r, const char *s) {
    if (t == Q8_0) return pair_of((const int8_t *)r + 2, (const int8_t *)s + 2);
    const int8x16_t q = vld1q_s8((const int8_t *)r + 2), u = vld1q_s8((const int8_t *)s + 2);
    const int8x16_t even = ZIP(vzip1q_s64, q, u), odd = ZIP(vzip2q_s64, q, u);
    return (pair){low(even), low(odd), high(even), high(odd)};
}

/* Lanes (row r, column u), (r, v), (s, u), (s, v). */
QIG_INLINE int32x4_t products(int32x4_t s, pair w, pair a) {
    return vmmlaq_s32(vmmlaq_s32(vmmlaq_s32(vmmlaq_s32(s, w.p0, a.p0), w.p1, a.p1), w.p2, a.p2), w.p3, a.p3);
}

#define ADD(c, s) acc##c = vfmaq_f32(acc##c, vcvtq_f32_s32(s), vmulq_n_f32(d, a##c->d));

/* Columns c and e = c + 1, which is c again where there is none. */
#define COLUMNS2(c, e)                                                                                                                  \
    if ((c) < columns) {                                                                                                                \
        const qig_block_a8 *a##c = (const qig_block_a8 *)(const void *)x##c, *a##e = (const qig_block_a8 *)(const void *)x##e;          \
        const int32x4_t zero = vdupq_n_s32(0);                                                                                          \
        const int32x4_t start = t == Q4_0 ? vzip1q_s32(vld1q_s32(o.offsets + ROWS * (c)), vld1q_s32(o.offsets + offset##e)) : zero;    \
        const pair a = pair_of(a##c->qs, a##e->qs);                                                                                     \
        const int32x4_t s01 = products(start, w01, a), s23 = products(start, w23, a);                                                   \
        ADD(c, vuzp1q_s32(s01, s23))                                                                                                    \
        if ((e) < columns) ADD(e, vuzp2q_s32(s01, s23))                                                                                                    \
        x##c += sizeof(qig_block_a8), x##e += sizeof(qig_block_a8);                                                                     \
    }

QIG_INLINE void tile(const weight_type t, const int columns, const int fetch, operands o) {
    const size_t bytes = t == Q4_0 ? Q4_BYTES : Q8_BYTES;
    const char *w0 = o.w, *w1 = w0 + (o.rows > 1 ? o.w_stride : 0), *w2 = w1 + (o.rows > 2 ? o.w_stride : 0), *w3 = w2 + (o.rows > 3 ? o.w_stride : 0);
    const char *x0 = o.x, *x1 = columns > 1 ? x0 + o.x_stride : x0, *x2 = columns > 2 ? x1 + o.x_stride : x0, *x3 = columns > 3 ? x2 + o.x_stride : x2;
    const int offset1 = columns > 1 ? ROWS : 0, offset3 = columns > 3 ? 3 * ROWS : 2 * ROWS;
    float32x4_t acc0 = load_sums(o, 0), acc1 = columns > 1 ? load_sums(o, 1) : acc0, acc2 = columns > 2 ? load_sums(o, 2) : acc0,
                acc3 = columns > 3 ? load_sums(o, 3) : acc0;
    uintptr_t next = (uintptr_t)w0 + o.ahead;
    for (; o.blocks; o.blocks--) {
        if (fetch) next = prefetch_span(next, ROWS * bytes);
        const pair w01 = load_rows(t, w0, w1), w23 = load_rows(t, w2, w3);
        const float32x4_t d = scales4(w0, w1, w2, w3);
        COLUMNS2(0, 1)
        COLUMNS2(2, 3)
        w0 += bytes, w1 += bytes, w2 += bytes, w3 += bytes;
        o.offsets += ROWS * o.offset_stride;
    }
    store_sums(o, 0, acc0);
    if (columns > 1) store_sums(o, 1, acc1);
    if (columns > 2) store_sums(o, 2, acc2);
    if (columns > 3) store_sums(o, 3, acc3);
}

MATMUL(q4_0, Q4_0, neon_i8mm)
MATMUL(q8_0, Q8_0, neon_i8mm)
