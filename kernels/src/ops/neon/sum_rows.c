/* sum_rows.c - the weighted sum of some rows of a matrix, NEON.
 *
 *   y[c] = sum_i a[i] W[units[i], c]      c in [col0, col1), i in order
 *
 * W: rows of w_stride bytes;  units, a: n row numbers and weights;  y: floats, all of [col0, col1) written (0 for n = 0). q4_0, q8_0: col0 and col1 are
 * multiples of 32; f16, f32: any. Elements aligned to their size. Features: armv8.0 NEON. Tile: 4 rows, or 1 for the last ones, over all columns; y is
 * the accumulator. Rows lie apart, so no hardware prefetcher finds the next: the list does.
 * Floats: per column acc = fma(W, a, acc), q8_0 acc = fma(q, a d, acc), over i in order. Q4_0: a tile's rows are summed by themselves, from -8 sum(a d) on
 * fma(nibble, a d, t), then added: tiles follow from the list alone, so the range does not show in the result.
 * Q4_0 takes nibbles from 32-bit lanes by a mask, and the conversion to float shifts them down (it divides by a power of two): three instructions a
 * register and row. That leaves the columns of a block in another order, in which y is kept until the last row.
 */
#include "../sum_rows.h"
#include "simd.h"

enum { Q4 = sizeof(qig_block_q4_0), Q8 = sizeof(qig_block_q8_0) };

QIG_INLINE void prefetch4(rows4 next, size_t at) {
    prefetch((uintptr_t)next.r0, at);
    prefetch((uintptr_t)next.r1, at);
    prefetch((uintptr_t)next.r2, at);
    prefetch((uintptr_t)next.r3, at);
}

/* a d of four rows: one slow conversion for all. */
QIG_INLINE float32x4_t scales4(rows4 r, size_t at, float32x4_t a) {
    uint16_t d0, d1, d2, d3;
    memcpy(&d0, r.r0 + at, 2);
    memcpy(&d1, r.r1 + at, 2);
    memcpy(&d2, r.r2 + at, 2);
    memcpy(&d3, r.r3 + at, 2);
    const uint64_t d = d0 | (uint64_t)d1 << 16 | (uint64_t)d2 << 32 | (uint64_t)d3 << 48;
    return vmulq_f32(vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(d))), a);
}

/* --- q4_0 ------------------------------------------------------------------------------------------------------------------------------ */

QIG_INLINE uint32x4_t load_q4(const char *block) { return vreinterpretq_u32_u8(vld1q_u8((const uint8_t *)block + 2)); }

#define NIBBLE_0(x) vcvtq_f32_u32(vandq_u32(x, vdupq_n_u32(15)))
#define NIBBLE(x, k) vcvtq_n_f32_u32(vandq_u32(x, vdupq_n_u32(15u << 4 * (k))), 4 * (k))

#define ADD_NIBBLES(k, of)                                                        \
    {                                                                             \
        float32x4_t t = vfmaq_laneq_f32(offset, of(x0, k), s, 0);                 \
        if (four) {                                                               \
            t = vfmaq_laneq_f32(t, of(x1, k), s, 1);                              \
            t = vfmaq_laneq_f32(t, of(x2, k), s, 2);                              \
            t = vfmaq_laneq_f32(t, of(x3, k), s, 3);                              \
        }                                                                         \
        vst1q_f32(y + 4 * (k), vaddq_f32(vld1q_f32(y + 4 * (k)), t));             \
    }
#define FIRST(x, k) NIBBLE_0(x)

QIG_INLINE void tile_q4(rows4 r, rows4 next, float32x4_t a, float *y, int blocks, const int four) {
    for (size_t at = 0; blocks; blocks--, at += Q4, y += 32) {
        if (four) prefetch4(next, at);
        const uint32x4_t x0 = load_q4(r.r0 + at), x1 = four ? load_q4(r.r1 + at) : x0, x2 = four ? load_q4(r.r2 + at) : x0,
                         x3 = four ? load_q4(r.r3 + at) : x0;
        const float32x4_t s = scales4(r, at, a), offset = vmulq_n_f32(four ? sum4x4((quad){s, s, s, s}) : vdupq_laneq_f32(s, 0), -8.0f);
        ADD_NIBBLES(0, FIRST)
        ADD_NIBBLES(1, NIBBLE)
        ADD_NIBBLES(2, NIBBLE)
        ADD_NIBBLES(3, NIBBLE)
        ADD_NIBBLES(4, NIBBLE)
        ADD_NIBBLES(5, NIBBLE)
        ADD_NIBBLES(6, NIBBLE)
        ADD_NIBBLES(7, NIBBLE)
    }
}

/* Lane l of nibble k is column 4 l + k / 2, + 16 for the odd k: high nibbles. */
static void order_q4(float *y, int blocks) {
    float t[32];
    for (; blocks; blocks--, y += 32) {
        memcpy(t, y, sizeof t);
        for (int k = 0; k < 8; k++)
            for (int l = 0; l < 4; l++) y[16 * (k & 1) + 4 * l + k / 2] = t[4 * k + l];
    }
}

/* --- q8_0 ------------------------------------------------------------------------------------------------------------------------------ */

/* 8 values as floats. */
typedef struct {
    float32x4_t lo, hi;
} eight;

QIG_INLINE eight load_q8(const char *p) {
    const int16x8_t w = vmovl_s8(vld1_s8((const int8_t *)p));
    return (eight){vcvtq_f32_s32(vmovl_s16(vget_low_s16(w))), vcvtq_f32_s32(vmovl_high_s16(w))};
}

#define ADD_EIGHT(row, lane)                                                         \
    {                                                                                \
        const eight v = load_q8((row) + from);                                       \
        lo = vfmaq_laneq_f32(lo, v.lo, s, lane), hi = vfmaq_laneq_f32(hi, v.hi, s, lane); \
    }

QIG_INLINE void tile_q8(rows4 r, rows4 next, float32x4_t a, float *y, int blocks, const int four) {
    for (size_t at = 0; blocks; blocks--, at += Q8, y += 32) {
        if (four) prefetch4(next, at);
        const float32x4_t s = scales4(r, at, a);
        for (int c = 0; c < 32; c += 8) {
            const size_t from = at + 2 + (size_t)c;
            float32x4_t lo = vld1q_f32(y + c), hi = vld1q_f32(y + c + 4);
            ADD_EIGHT(r.r0, 0)
            if (four) {
                ADD_EIGHT(r.r1, 1)
                ADD_EIGHT(r.r2, 2)
                ADD_EIGHT(r.r3, 3)
            }
            vst1q_f32(y + c, lo);
            vst1q_f32(y + c + 4, hi);
        }
    }
}

/* --- f16, f32 -------------------------------------------------------------------------------------------------------------------------- */

#define STEP(load, m)                                                        \
    {                                                                        \
        float32x4_t acc = vfmaq_laneq_f32(load_f32(y, m), load(r.r0 + at, m), a, 0); \
        if (four) {                                                          \
            acc = vfmaq_laneq_f32(acc, load(r.r1 + at, m), a, 1);            \
            acc = vfmaq_laneq_f32(acc, load(r.r2 + at, m), a, 2);            \
            acc = vfmaq_laneq_f32(acc, load(r.r3 + at, m), a, 3);            \
        }                                                                    \
        float t[4];                                                          \
        vst1q_f32((m) == 4 ? y : t, acc);                                    \
        if ((m) < 4) memcpy(y, t, sizeof t[0] * (size_t)(m));                \
    }

#define TILE_PLAIN(type, element)                                                                                      \
    QIG_INLINE void tile_##type(rows4 r, rows4 next, float32x4_t a, float *y, int columns, const int four) {           \
        size_t at = 0;                                                                                                 \
        for (; columns >= 4; columns -= 4, at += 4 * sizeof(element), y += 4) {                                        \
            if (four && at % 64 == 0) prefetch4(next, at);                                                             \
            STEP(load_##type, 4)                                                                                       \
        }                                                                                                              \
        if (columns > 0) STEP(load_##type, columns)                                                                    \
    }

TILE_PLAIN(f16, uint16_t)
TILE_PLAIN(f32, float)

#define SUM_ROWS(type, tile, width, bytes, finish) QIG_SUM_ROWS(qig_sum_rows_##type##__neon, tile, vld1q_f32, vdupq_n_f32, width, bytes, finish)

SUM_ROWS(q4_0, tile_q4, 32, Q4, order_q4)
SUM_ROWS(q8_0, tile_q8, 32, Q8, leave)
SUM_ROWS(f16, tile_f16, 1, sizeof(uint16_t), leave)
SUM_ROWS(f32, tile_f32, 1, sizeof(float), leave)
