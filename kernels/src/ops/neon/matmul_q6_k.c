/* matmul_q6_k.c - Q6_K weights times int8 activations, NEON.
 *
 *   Y[n, row] = sum over 32 weights of d_w d_a (scale_0 sum_i<16 (q_i - 32) a_i + scale_1 sum_i>=16 (q_i - 32) a_i)
 *
 * W: rows of k / 256 qig_block_q6_k, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: k % 256 == 0. Features: armv8.0 NEON. Tiles: 1 row x 2 columns, 1 x 1.
 * Integers: two products a lane in int16 (<= 2 * 32 * 127), widened into int32, times the scale, added: exact.
 * Floats: per lane acc = fma(float(lane), d_w d_a, acc) over the groups of 32 in order, then one fixed horizontal sum.
 */
#include "../tiles.h"
#include "simd.h"

/* Weights 32 (4 half + j) + 16 part .. + 16 of a block, -32..31; j is constant in every call. */
QIG_INLINE int8x16_t load_q(const qig_block_q6_k *w, int half, const int j, const int part) {
    const uint8x16_t low = vld1q_u8(w->ql + 64 * half + 32 * (j % 2) + 16 * part), high = vld1q_u8(w->qh + 32 * half + 16 * part);
    const uint8x16_t l = j < 2 ? vandq_u8(low, vdupq_n_u8(15)) : vshrq_n_u8(low, 4);
    const uint8x16_t h = j == 0 ? vshlq_n_u8(high, 4) : j == 1 ? vshlq_n_u8(high, 2) : j == 2 ? high : vshrq_n_u8(high, 2);
    return vreinterpretq_s8_u8(vsubq_u8(vorrq_u8(l, vandq_u8(h, vdupq_n_u8(0x30))), vdupq_n_u8(32)));
}

QIG_INLINE int32x4_t products(int8x16_t q, int8x16_t a) { return vpaddlq_s16(vmlal_high_s8(vmull_s8(vget_low_s8(q), vget_low_s8(a)), q, a)); }

QIG_INLINE float32x4_t step(int8x16_t q0, int8x16_t q1, const int8_t *scales, float d, const qig_block_a8 *x, float32x4_t acc) {
    const int32x4_t first = vmulq_n_s32(products(q0, vld1q_s8(x->qs)), scales[0]);
    return vfmaq_n_f32(acc, vcvtq_f32_s32(vmlaq_n_s32(first, products(q1, vld1q_s8(x->qs + 16)), scales[1])), d * x->d);
}

#define GROUP(j)                                                                        \
    {                                                                                   \
        const int8x16_t q0 = load_q(w, half, j, 0), q1 = load_q(w, half, j, 1);         \
        const int8_t *scales = w->scales + 8 * half + 2 * (j);                          \
        acc0 = step(q0, q1, scales, d, x0 + 4 * half + (j), acc0);                      \
        if (cols == 2) acc1 = step(q0, q1, scales, d, x1 + 4 * half + (j), acc1);       \
    }

QIG_INLINE void tile(const int cols, const qig_block_q6_k *w, const qig_block_a8 *x0, const qig_block_a8 *x1, float *y0, float *y1, int blocks) {
    float32x4_t acc0 = vdupq_n_f32(0.0f), acc1 = acc0;
    for (; blocks; blocks--, w++, x0 += 8, x1 += 8) {
        const float d = qig_half_to_float(w->d);
        for (size_t line = 0; cols == 1 && line < 4; line++) prefetch((uintptr_t)w, 1024 + line * 64); /* a block is 210 bytes */
        for (int half = 0; half < 2; half++) {
            GROUP(0)
            GROUP(1)
            GROUP(2)
            GROUP(3)
        }
    }
    *y0 = sum4(acc0);
    if (cols == 2) *y1 = sum4(acc1);
}

QIG_MATMUL_BY_ROWS(qig_matmul_q6_k__neon, tile, k / 256)
