/* matmul_q4_0.c - Q4_0 weights times int8 activations, NEON.
 *
 *   Y[n, row] = sum_b d_w[row, b] d_a[n, b] sum_i (nibble[row, b, i] - 8) a[n, b, i]
 *
 * W: rows of k / 32 qig_block_q4_0, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: k % 32 == 0; no alignment beyond the elements'. Features: armv8.0 NEON. Tiles: 4 rows x 1 column (decode), 4 x 2 (prefill), 1 x 1 (rest).
 * Integers: nibbles stay unsigned, four products a lane in int16 (<= 4 * 15 * 127); four rows are added pairwise into one register (<= 30480), widened to
 * int32 once, and 8 sum(a) is subtracted there: exact. One conversion and one fma serve four rows.
 * Floats: acc = fma(float(block sum), d_w d_a, acc) over the blocks in order, one lane a row: the tile does not show in the result.
 */
#include "simd.h"

typedef struct {
    int8x16_t lo, hi; /* entries 0..15 and 16..31 */
    int32x4_t eight;  /* 8 sum(a) in every lane */
} block_a8;

QIG_INLINE block_a8 load_a8(const qig_block_a8 *x) {
    block_a8 a;
    a.lo = vld1q_s8(x->qs);
    a.hi = vld1q_s8(x->qs + 16);
    int16x8_t s = vaddq_s16(vaddl_s8(vget_low_s8(a.lo), vget_low_s8(a.hi)), vaddl_high_s8(a.lo, a.hi));
    s = vpaddq_s16(s, s);
    a.eight = vshlq_n_s32(vpaddlq_s16(vpaddq_s16(s, s)), 3);
    return a;
}

QIG_INLINE int16x8_t products(uint8x16_t q, block_a8 a) {
    const int8x16_t lo = vreinterpretq_s8_u8(vandq_u8(q, vdupq_n_u8(15))), hi = vreinterpretq_s8_u8(vshrq_n_u8(q, 4));
    const int16x8_t p = vmlal_high_s8(vmull_s8(vget_low_s8(lo), vget_low_s8(a.lo)), lo, a.lo);
    return vmlal_high_s8(vmlal_s8(p, vget_low_s8(hi), vget_low_s8(a.hi)), hi, a.hi);
}

/* Block sums of four rows, less 8 sum(a). */
QIG_INLINE float32x4_t sums4(uint8x16_t q0, uint8x16_t q1, uint8x16_t q2, uint8x16_t q3, block_a8 a) {
    const int16x8_t p = vpaddq_s16(vpaddq_s16(products(q0, a), products(q1, a)), vpaddq_s16(products(q2, a), products(q3, a)));
    return vcvtq_f32_s32(vsubq_s32(vpaddlq_s16(p), a.eight));
}

/* Four halves are put together first: one slow conversion for four rows. */
QIG_INLINE float32x4_t load_scales(const qig_block_q4_0 *w0, const qig_block_q4_0 *w1, const qig_block_q4_0 *w2, const qig_block_q4_0 *w3) {
    const uint64_t d = w0->d | (uint64_t)w1->d << 16 | (uint64_t)w2->d << 32 | (uint64_t)w3->d << 48;
    return vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(d)));
}

QIG_INLINE void tile4(const int cols, const size_t ahead, const char *w, size_t w_stride, const char *x, size_t x_stride, float *y, size_t y_stride,
                      int blocks) {
    float32x4_t acc0 = vdupq_n_f32(0.0f), acc1 = acc0;
    const qig_block_q4_0 *w0 = (const void *)w, *w1 = (const void *)(w + w_stride), *w2 = (const void *)(w + 2 * w_stride),
                         *w3 = (const void *)(w + 3 * w_stride);
    const qig_block_a8 *x0 = (const void *)x, *x1 = cols == 2 ? (const void *)(x + x_stride) : x0;
    uintptr_t next = (uintptr_t)w;
    for (int b = 0; b < blocks; b++) {
        if (ahead) { /* a step reads 4 * 18 bytes */
            prefetch(next, ahead);
            prefetch(next, ahead + 64);
            next += 4 * sizeof(qig_block_q4_0);
        }
        const uint8x16_t q0 = vld1q_u8(w0[b].qs), q1 = vld1q_u8(w1[b].qs), q2 = vld1q_u8(w2[b].qs), q3 = vld1q_u8(w3[b].qs);
        const float32x4_t d = load_scales(w0 + b, w1 + b, w2 + b, w3 + b);
        acc0 = vfmaq_f32(acc0, sums4(q0, q1, q2, q3, load_a8(x0 + b)), vmulq_n_f32(d, x0[b].d));
        if (cols == 2) acc1 = vfmaq_f32(acc1, sums4(q0, q1, q2, q3, load_a8(x1 + b)), vmulq_n_f32(d, x1[b].d));
    }
    vst1q_f32(y, acc0);
    if (cols == 2) vst1q_f32(y + y_stride, acc1);
}

/* The last rows, one to three: as tile4, each row in all four lanes. */
static void tile1(const qig_block_q4_0 *w, const qig_block_a8 *x, float *y, int blocks) {
    float32x4_t acc = vdupq_n_f32(0.0f);
    for (; blocks; blocks--, w++, x++) {
        const uint8x16_t q = vld1q_u8(w->qs);
        acc = vfmaq_f32(acc, sums4(q, q, q, q, load_a8(x)), vmulq_n_f32(load_scales(w, w, w, w), x->d));
    }
    *y = vgetq_lane_f32(acc, 0);
}

void qig_matmul_q4_0__neon(const void *w, size_t w_stride, const void *x, size_t x_stride, float *y, size_t y_stride, int k, int row0, int row1, int n) {
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
