/* matmul_quantized.c - Q4_0 and Q8_0 weights times int8 activations, NEON with dot products. Equation, layouts and constraints: ../neon/quantized.h.
 *
 * Features: armv8.2-a with dotprod. Tiles: 4 rows x 1 to 4 columns.
 * A lane is a row: a block of four rows is turned so that register j holds their weights 4 j..4 j + 3, once for all columns of the tile. A column then costs
 * eight sdot, each with four of its activations taken from a lane, and nothing is summed across lanes. For one column a turn costs what the sums across
 * lanes would.
 * Integers: 32 products a lane accumulate in int32: exact.
 */
#include "../neon/quantized.h"

/* 16 weights of four rows: lane r of r<j> holds row r's weights 4 j..4 j + 3. */
typedef struct {
    int8x16_t r0, r1, r2, r3;
} turned;

#define PAIRS(op, a, b) vreinterpretq_s64_s32(op(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b)))
#define QUADS(op, a, b) vreinterpretq_s8_s64(op(a, b))

QIG_INLINE turned turn(int8x16_t w0, int8x16_t w1, int8x16_t w2, int8x16_t w3) {
    const int64x2_t a = PAIRS(vtrn1q_s32, w0, w1), b = PAIRS(vtrn2q_s32, w0, w1), c = PAIRS(vtrn1q_s32, w2, w3), d = PAIRS(vtrn2q_s32, w2, w3);
    return (turned){QUADS(vtrn1q_s64, a, c), QUADS(vtrn1q_s64, b, d), QUADS(vtrn2q_s64, a, c), QUADS(vtrn2q_s64, b, d)};
}

QIG_INLINE int8x16_t low(int8x16_t q) { return vandq_s8(q, vdupq_n_s8(15)); }
QIG_INLINE int8x16_t high(int8x16_t q) { return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(q), 4)); }

QIG_INLINE int32x4_t dots(int32x4_t s, turned w, int8x16_t a) {
    s = vdotq_laneq_s32(s, w.r0, a, 0);
    s = vdotq_laneq_s32(s, w.r1, a, 1);
    s = vdotq_laneq_s32(s, w.r2, a, 2);
    return vdotq_laneq_s32(s, w.r3, a, 3);
}

#define LOAD(r, at) vld1q_s8((const int8_t *)w##r + (at))

#define COLUMN(c)                                                                                                                       \
    if ((c) < columns) {                                                                                                                \
        const qig_block_a8 *a = (const qig_block_a8 *)(const void *)x##c;                                                               \
        int32x4_t s = t == Q4_0 ? vld1q_s32(o.offsets + ROWS * (c)) : vdupq_n_s32(0);                                                   \
        s = dots(dots(s, lo, vld1q_s8(a->qs)), hi, vld1q_s8(a->qs + 16));                                                               \
        acc##c = vfmaq_f32(acc##c, vcvtq_f32_s32(s), vmulq_n_f32(d, a->d));                                                             \
        x##c += sizeof(qig_block_a8);                                                                                                   \
    }

QIG_INLINE void tile(const weight_type t, const int columns, const int fetch, operands o) {
    const size_t bytes = t == Q4_0 ? Q4_BYTES : Q8_BYTES;
    const char *w0 = o.w, *w1 = w0 + (o.rows > 1 ? o.w_stride : 0), *w2 = w1 + (o.rows > 2 ? o.w_stride : 0), *w3 = w2 + (o.rows > 3 ? o.w_stride : 0);
    const char *x0 = o.x, *x1 = columns > 1 ? x0 + o.x_stride : x0, *x2 = columns > 2 ? x1 + o.x_stride : x0, *x3 = columns > 3 ? x2 + o.x_stride : x0;
    float32x4_t acc0 = load_sums(o, 0), acc1 = columns > 1 ? load_sums(o, 1) : acc0, acc2 = columns > 2 ? load_sums(o, 2) : acc0,
                acc3 = columns > 3 ? load_sums(o, 3) : acc0;
    uintptr_t next = (uintptr_t)w0 + o.ahead;
    for (; o.blocks; o.blocks--) {
        if (fetch) next = prefetch_span(next, ROWS * bytes);
        turned lo = turn(LOAD(0, 2), LOAD(1, 2), LOAD(2, 2), LOAD(3, 2)), hi;
        if (t == Q8_0) hi = turn(LOAD(0, 18), LOAD(1, 18), LOAD(2, 18), LOAD(3, 18));
        else {
            hi = (turned){high(lo.r0), high(lo.r1), high(lo.r2), high(lo.r3)};
            lo = (turned){low(lo.r0), low(lo.r1), low(lo.r2), low(lo.r3)};
        }
        const float32x4_t d = scales4(w0, w1, w2, w3);
        COLUMN(0) COLUMN(1) COLUMN(2) COLUMN(3)
        w0 += bytes, w1 += bytes, w2 += bytes, w3 += bytes;
        o.offsets += ROWS * o.offset_stride;
    }
    store_sums(o, 0, acc0);
    if (columns > 1) store_sums(o, 1, acc1);
    if (columns > 2) store_sums(o, 2, acc2);
    if (columns > 3) store_sums(o, 3, acc3);
}

MATMUL(q4_0, Q4_0, neon_dotprod)
MATMUL(q8_0, Q8_0, neon_dotprod)
