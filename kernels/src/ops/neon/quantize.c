/* quantize.c - activations to int8, NEON.
 *
 *   d = amax / 127,  q[i] = half-to-even(x[i] * (127 / amax)),  amax = max |x[i]| over 32 values
 *
 * x: k floats, k % 32 == 0;  y: k / 32 blocks. Features: armv8.0 NEON. The same bytes as ref, block by block: too small for 127 / amax to be finite:
 * d = 0, q = 0; a NaN or an infinity inside: d = NaN, q = 0.
 */
#include "simd.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* 16 values times s, rounded half to even. */
QIG_INLINE int8x16_t quantize16(const float *x, float s) {
    const int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), s)), b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), s));
    const int32x4_t c = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 8), s)), d = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 12), s));
    return vcombine_s8(vmovn_s16(vcombine_s16(vmovn_s32(a), vmovn_s32(b))), vmovn_s16(vcombine_s16(vmovn_s32(c), vmovn_s32(d))));
}

void qig_quantize_a8__neon(const float *x, qig_block_a8 *y, int k) {
    for (int b = 0; b < k / 32; b++, x += 32, y++) {
        float32x4_t top = vabsq_f32(vld1q_f32(x));
        for (int i = 4; i < 32; i += 4) top = vmaxq_f32(top, vabsq_f32(vld1q_f32(x + i))); /* a NaN stays */
        const float amax = vmaxvq_f32(top), inverse = 127.0f / amax;
        const int finite = amax <= FLT_MAX;
        if (!finite || !(inverse <= FLT_MAX)) {
            y->d = finite ? 0.0f : NAN;
            memset(y->qs, 0, sizeof y->qs);
            continue;
        }
        y->d = amax / 127.0f;
        vst1q_s8(y->qs, quantize16(x, inverse));
        vst1q_s8(y->qs + 16, quantize16(x + 16, inverse));
    }
}
