/* matmul_q4_1.c - Q4_1 weights times int8 activations, NEON.
 *
 *   Y[n, row] = sum_b d_a[n, b] (d_w[row, b] sum_i nibble[row, b, i] a[n, b, i] + m_w[row, b] sum_i a[n, b, i])
 *
 * W: rows of k / 32 qig_block_q4_1, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: k % 32 == 0. Features: armv8.0 NEON. Tiles: 1 row x 2 columns, 1 x 1.
 * Integers: four products a lane in int16 (<= 4 * 15 * 127), widened and added into int32: exact.
 * Floats: per lane acc = fma(float(products), d_w d_a, acc), then fma(float(activations), m_w d_a, acc), block after block; one fixed horizontal sum.
 */
#include "../tiles.h"
#include "simd.h"

typedef struct {
    int8x16_t lo, hi;
    float d, m;
} row_q4_1;

QIG_INLINE row_q4_1 load_row(const qig_block_q4_1 *w) {
    const uint8x16_t q = vld1q_u8(w->qs);
    const float32x4_t dm = vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(w->d | (uint64_t)w->m << 16)));
    return (row_q4_1){vreinterpretq_s8_u8(vandq_u8(q, vdupq_n_u8(15))), vreinterpretq_s8_u8(vshrq_n_u8(q, 4)), vgetq_lane_f32(dm, 0), vgetq_lane_f32(dm, 1)};
}

QIG_INLINE float32x4_t step(row_q4_1 w, const qig_block_a8 *x, float32x4_t acc) {
    const int8x16_t lo = vld1q_s8(x->qs), hi = vld1q_s8(x->qs + 16);
    int16x8_t p = vmlal_high_s8(vmull_s8(vget_low_s8(w.lo), vget_low_s8(lo)), w.lo, lo);
    p = vmlal_high_s8(vmlal_s8(p, vget_low_s8(w.hi), vget_low_s8(hi)), w.hi, hi);
    const int16x8_t all = vpadalq_s8(vpaddlq_s8(lo), hi);
    acc = vfmaq_n_f32(acc, vcvtq_f32_s32(vpaddlq_s16(p)), w.d * x->d);
    return vfmaq_n_f32(acc, vcvtq_f32_s32(vpaddlq_s16(all)), w.m * x->d);
}

QIG_INLINE void tile(const int cols, const qig_block_q4_1 *w, const qig_block_a8 *x0, const qig_block_a8 *x1, float *y0, float *y1, int blocks) {
    float32x4_t acc0 = vdupq_n_f32(0.0f), acc1 = acc0;
    for (; blocks; blocks--, w++, x0++, x1++) {
        if (cols == 1) prefetch((uintptr_t)w, 1024);
        const row_q4_1 row = load_row(w);
        acc0 = step(row, x0, acc0);
        if (cols == 2) acc1 = step(row, x1, acc1);
    }
    *y0 = sum4(acc0);
    if (cols == 2) *y1 = sum4(acc1);
}

QIG_MATMUL_BY_ROWS(qig_matmul_q4_1__neon, tile, k / 32)
