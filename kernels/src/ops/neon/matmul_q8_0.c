/* matmul_q8_0.c - Q8_0 weights times int8 activations, NEON.
 *
 *   Y[n, row] = sum_b d_w[row, b] d_a[n, b] sum_i w[row, b, i] a[n, b, i]
 *
 * W: rows of k / 32 qig_block_q8_0, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: k % 32 == 0; activations in -127..127, weights any int8. Features: armv8.0 NEON. Tiles: 4 x 1, 4 x 2, 1 x 1.
 * Integers: two products a lane in int16 (<= 2 * 128 * 127 < 2^15), widened and added into int32, four rows added pairwise into one register: exact.
 * Floats: acc = fma(float(block sum), d_w d_a, acc) over the blocks in order, one lane a row: the tile does not show in the result.
 */
#include "simd.h"

QIG_INLINE int32x4_t products(int8x16_t lo, int8x16_t hi, int8x16_t alo, int8x16_t ahi) {
    const int16x8_t p = vmlal_high_s8(vmull_s8(vget_low_s8(lo), vget_low_s8(alo)), lo, alo);
    const int16x8_t q = vmlal_high_s8(vmull_s8(vget_low_s8(hi), vget_low_s8(ahi)), hi, ahi);
    return vpadalq_s16(vpaddlq_s16(p), q);
}

/* Block sums of four rows (low halves in l0..l3, high halves in h0..h3): one conversion serves all. */
#define SUMS4(lo, hi)                                                                         \
    vcvtq_f32_s32(vpaddq_s32(vpaddq_s32(products(l0, h0, lo, hi), products(l1, h1, lo, hi)), \
                             vpaddq_s32(products(l2, h2, lo, hi), products(l3, h3, lo, hi))))

QIG_INLINE float32x4_t load_scales(const qig_block_q8_0 *w0, const qig_block_q8_0 *w1, const qig_block_q8_0 *w2, const qig_block_q8_0 *w3) {
    const uint64_t d = w0->d | (uint64_t)w1->d << 16 | (uint64_t)w2->d << 32 | (uint64_t)w3->d << 48;
    return vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(d)));
}

QIG_INLINE void tile4(const int cols, const size_t ahead, const char *w, size_t w_stride, const char *x, size_t x_stride, float *y, size_t y_stride,
                      int blocks) {
    float32x4_t acc0 = vdupq_n_f32(0.0f), acc1 = acc0;
    const qig_block_q8_0 *w0 = (const void *)w, *w1 = (const void *)(w + w_stride), *w2 = (const void *)(w + 2 * w_stride),
                         *w3 = (const void *)(w + 3 * w_stride);
    const qig_block_a8 *x0 = (const void *)x, *x1 = cols == 2 ? (const void *)(x + x_stride) : x0;
    uintptr_t next = (uintptr_t)w;
    for (int b = 0; b < blocks; b++) {
        if (ahead) { /* a step reads 4 * 34 bytes */
            prefetch(next, ahead);
            prefetch(next, ahead + 64);
            prefetch(next, ahead + 128);
            next += 4 * sizeof(qig_block_q8_0);
        }
        const int8x16_t l0 = vld1q_s8(w0[b].qs), l1 = vld1q_s8(w1[b].qs), l2 = vld1q_s8(w2[b].qs), l3 = vld1q_s8(w3[b].qs);
        const int8x16_t h0 = vld1q_s8(w0[b].qs + 16), h1 = vld1q_s8(w1[b].qs + 16), h2 = vld1q_s8(w2[b].qs + 16), h3 = vld1q_s8(w3[b].qs + 16);
        const float32x4_t d = load_scales(w0 + b, w1 + b, w2 + b, w3 + b);
        const int8x16_t lo0 = vld1q_s8(x0[b].qs), hi0 = vld1q_s8(x0[b].qs + 16);
        acc0 = vfmaq_f32(acc0, SUMS4(lo0, hi0), vmulq_n_f32(d, x0[b].d));
        if (cols == 2) {
            const int8x16_t lo1 = vld1q_s8(x1[b].qs), hi1 = vld1q_s8(x1[b].qs + 16);
            acc1 = vfmaq_f32(acc1, SUMS4(lo1, hi1), vmulq_n_f32(d, x1[b].d));
        }
    }
    vst1q_f32(y, acc0);
    if (cols == 2) vst1q_f32(y + y_stride, acc1);
}

/* The last rows, one to three: the same integers and the same roundings, in all four lanes. */
static void tile1(const qig_block_q8_0 *w, const qig_block_a8 *x, float *y, int blocks) {
    float32x4_t acc = vdupq_n_f32(0.0f);
    for (; blocks; blocks--, w++, x++) {
        const int8x16_t lo = vld1q_s8(x->qs), hi = vld1q_s8(x->qs + 16);
        const int32_t sum = vaddvq_s32(products(vld1q_s8(w->qs), vld1q_s8(w->qs + 16), lo, hi));
        acc = vfmaq_f32(acc, vcvtq_f32_s32(vdupq_n_s32(sum)), vmulq_n_f32(load_scales(w, w, w, w), x->d));
    }
    *y = vgetq_lane_f32(acc, 0);
}

void qig_matmul_q8_0__neon(const void *w, size_t w_stride, const void *x, size_t x_stride, float *y, size_t y_stride, int k, int row0, int row1, int n) {
    const int blocks = k / 32;
    const char *wp = (const char *)w + (size_t)row0 * w_stride;
    const size_t ahead = prefetch_distance(w_stride);
    int r = row0;
    for (; r + 4 <= row1; r += 4, wp += 4 * w_stride) {
        const char *xp = x;
        float *yp = y + r;
        int c = 0;
        for (; c + 2 <= n; c += 2, xp += 2 * x_stride, yp += 2 * y_stride) tile4(2, c ? 0 : ahead, wp, w_stride, xp, x_stride, yp, y_stride, blocks);
        if (c < n) tile4(1, c ? 0 : ahead, wp, w_stride, xp, x_stride, yp, y_stride, blocks);
    }
    for (; r < row1; r++, wp += w_stride)
        for (int c = 0; c < n; c++) tile1((const void *)wp, (const void *)((const char *)x + (size_t)c * x_stride), y + (size_t)c * y_stride + r, blocks);
}
