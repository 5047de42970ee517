/* matmul_quantized.c - Q4_0 and Q8_0 weights times int8 activations, NEON. Equation, layouts and constraints: quantized.h.
 *
 * Features: armv8.0 NEON. Tiles: 4 rows x 1 to 4 columns.
 * The multiply-long instructions, eight products each and one a cycle, are the ceiling on a Cortex-A72; everything else has to fit beside them.
 * Q4_0: four products a lane stay in int16 (<= 4 * 15 * 127), four rows are added pairwise into one register there (<= 30480) and widened once.
 * Q8_0: only two products fit a lane (<= 2 * 128 * 127), so every row is widened, then four rows are added pairwise.
 */
#include "quantized.h"

/* One block of a row: weights 0..15 and 16..31. */
typedef struct {
    int8x16_t lo, hi;
} row32;

QIG_INLINE row32 load_row(const weight_type t, const char *w) {
    if (t == Q8_0) return (row32){vld1q_s8((const int8_t *)w + 2), vld1q_s8((const int8_t *)w + 18)};
    const uint8x16_t q = vld1q_u8((const uint8_t *)w + 2);
    return (row32){vreinterpretq_s8_u8(vandq_u8(q, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(q, 4))};
}

QIG_INLINE int16x8_t products(int8x16_t w, int8x16_t a) { return vmlal_high_s8(vmull_s8(vget_low_s8(w), vget_low_s8(a)), w, a); }

/* nibbles: four products a lane */
QIG_INLINE int16x8_t products4(row32 w, row32 a) {
    return vmlal_high_s8(vmlal_s8(products(w.lo, a.lo), vget_low_s8(w.hi), vget_low_s8(a.hi)), w.hi, a.hi);
}

QIG_INLINE int32x4_t products8(row32 w, row32 a) { return vpadalq_s16(vpaddlq_s16(products(w.lo, a.lo)), products(w.hi, a.hi)); }

/* Block sums of four rows. */
QIG_INLINE int32x4_t sums4(const weight_type t, row32 w0, row32 w1, row32 w2, row32 w3, row32 a, const int32_t *offset) {
    if (t == Q8_0) return vpaddq_s32(vpaddq_s32(products8(w0, a), products8(w1, a)), vpaddq_s32(products8(w2, a), products8(w3, a)));
    const int16x8_t p01 = vpaddq_s16(products4(w0, a), products4(w1, a)), p23 = vpaddq_s16(products4(w2, a), products4(w3, a));
    return vpadalq_s16(vld1q_s32(offset), vpaddq_s16(p01, p23));
}

#define COLUMN(c)                                                                                                              \
    if ((c) < columns) {                                                                                                       \
        const qig_block_a8 *a = (const qig_block_a8 *)(const void *)x##c + i;                                                  \
        const int32x4_t s = sums4(t, r0, r1, r2, r3, (row32){vld1q_s8(a->qs), vld1q_s8(a->qs + 16)}, offset + ROWS * (c));     \
        acc##c = vfmaq_f32(acc##c, vcvtq_f32_s32(s), vmulq_n_f32(d, a->d));                                                    \
    }

/* Block i from here. */
#define BLOCK(i_)                                                                                                              \
    {                                                                                                                          \
        const size_t i = (i_), at = i * bytes;                                                                                 \
        const int32_t *offset = o.offsets + i * ROWS * (size_t)o.offset_stride;                                                \
        const row32 r0 = load_row(t, w0 + at), r1 = load_row(t, w1 + at), r2 = load_row(t, w2 + at), r3 = load_row(t, w3 + at); \
        const float32x4_t d = scales4(w0 + at, w1 + at, w2 + at, w3 + at);                                                     \
        COLUMN(0) COLUMN(1) COLUMN(2) COLUMN(3)                                                                                \
    }
#define ADVANCE(n)                                                                                                             \
    o.blocks -= (n), w0 += (n) * bytes, w1 += (n) * bytes, w2 += (n) * bytes, w3 += (n) * bytes, x0 += (n) * sizeof(qig_block_a8), \
        x1 += (n) * sizeof(qig_block_a8), x2 += (n) * sizeof(qig_block_a8), x3 += (n) * sizeof(qig_block_a8),                    \
        o.offsets += (n) * ROWS * o.offset_stride

QIG_INLINE void tile(const weight_type t, const int columns, const int fetch, operands o) {
    const size_t bytes = t == Q4_0 ? Q4_BYTES : Q8_BYTES;
    const char *w0 = o.w, *w1 = w0 + (o.rows > 1 ? o.w_stride : 0), *w2 = w1 + (o.rows > 2 ? o.w_stride : 0), *w3 = w2 + (o.rows > 3 ? o.w_stride : 0);
    const char *x0 = o.x, *x1 = columns > 1 ? x0 + o.x_stride : x0, *x2 = columns > 2 ? x1 + o.x_stride : x0, *x3 = columns > 3 ? x2 + o.x_stride : x0;
    float32x4_t acc0 = load_sums(o, 0), acc1 = columns > 1 ? load_sums(o, 1) : acc0, acc2 = columns > 2 ? load_sums(o, 2) : acc0,
                acc3 = columns > 3 ? load_sums(o, 3) : acc0;
    uintptr_t next = (uintptr_t)w0 + o.ahead;
    if (columns == 1)
        while (o.blocks >= 2) { /* two blocks a step: half of the counting */
            if (fetch) next = prefetch_span(next, 2 * ROWS * bytes);
            BLOCK(0)
            BLOCK(1)
            ADVANCE(2);
        }
    while (o.blocks) {
        if (fetch) next = prefetch_span(next, ROWS * bytes);
        BLOCK(0)
        ADVANCE(1);
    }
    store_sums(o, 0, acc0);
    if (columns > 1) store_sums(o, 1, acc1);
    if (columns > 2) store_sums(o, 2, acc2);
    if (columns > 3) store_sums(o, 3, acc3);
}

MATMUL(q4_0, Q4_0, neon)
MATMUL(q8_0, Q8_0, neon)
