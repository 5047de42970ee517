/* logits.c - one part of a row of logits: its maximum and the sums of logits.h, whose 16 lanes are four registers here. The same floats: no fma. */
#include "simd.h"

#include "../logits.h"

enum { REGISTERS = QIG_LOGIT_LANES / 4 };

QIG_INLINE float32x4_t exp_negative(float32x4_t x) {
    static const float terms[] = {0.00833333333f, 0.0416666667f, 0.166666667f, 0.5f, 1.0f, 1.0f};
    const float32x4_t round = vdupq_n_f32(12582912.0f);
    const float32x4_t shifted = vaddq_f32(vmulq_f32(x, vdupq_n_f32(1.44269504f)), round), k = vsubq_f32(shifted, round);
    const float32x4_t r = vaddq_f32(vsubq_f32(x, vmulq_f32(k, vdupq_n_f32(0.693359375f))), vmulq_f32(k, vdupq_n_f32(2.12194440e-4f)));
    float32x4_t e = vdupq_n_f32(0.00138888889f);
    for (int i = 0; i < 6; i++) e = vaddq_f32(vdupq_n_f32(terms[i]), vmulq_f32(r, e));
    const int32x4_t bits = vshlq_n_s32(vaddq_s32(vreinterpretq_s32_f32(shifted), vdupq_n_s32(127)), 23);
    const uint32x4_t product = vreinterpretq_u32_f32(vmulq_f32(e, vreinterpretq_f32_s32(bits)));
    return vreinterpretq_f32_u32(vbicq_u32(product, vcltq_f32(x, vdupq_n_f32(-87.0f))));
}

void qig_logit_part__neon(const float *logits, int n, qig_logit_part *part) {
    float top[QIG_LOGIT_LANES], sum[QIG_LOGIT_LANES], sum2[QIG_LOGIT_LANES];
    float32x4_t t[REGISTERS], a[REGISTERS], b[REGISTERS];
    const int whole = n - n % QIG_LOGIT_LANES;
    for (int i = 0; i < REGISTERS; i++) {
        t[i] = vdupq_n_f32(-INFINITY);
        a[i] = b[i] = vdupq_n_f32(0.0f);
    }
    for (int j = 0; j < whole; j += QIG_LOGIT_LANES)
        for (int i = 0; i < REGISTERS; i++) { /* a NaN is passed by, as where it is compared: vmaxq would keep it */
            const float32x4_t l = vld1q_f32(logits + j + 4 * i);
            t[i] = vbslq_f32(vcgtq_f32(l, t[i]), l, t[i]);
        }
    for (int i = 0; i < REGISTERS; i++) vst1q_f32(top + 4 * i, t[i]);
    for (int j = whole; j < n; j++) top[j - whole] = logits[j] > top[j - whole] ? logits[j] : top[j - whole];
    float max = top[0];
    for (int i = 1; i < QIG_LOGIT_LANES; i++) max = top[i] > max ? top[i] : max;
    const float32x4_t m = vdupq_n_f32(max);
    for (int j = 0; j < whole; j += QIG_LOGIT_LANES)
        for (int i = 0; i < REGISTERS; i++) {
            const float32x4_t e = exp_negative(vsubq_f32(vld1q_f32(logits + j + 4 * i), m));
            a[i] = vaddq_f32(a[i], e);
            b[i] = vaddq_f32(b[i], vmulq_f32(e, e));
        }
    for (int i = 0; i < REGISTERS; i++) {
        vst1q_f32(sum + 4 * i, a[i]);
        vst1q_f32(sum2 + 4 * i, b[i]);
    }
    for (int j = whole; j < n; j++) {
        const float e = qig_exp_negative(logits[j] - max);
        sum[j - whole] += e;
        sum2[j - whole] += e * e;
    }
    *part = (qig_logit_part){ .max = max };
    for (int i = 0; i < QIG_LOGIT_LANES; i++) part->sum += sum[i], part->sum2 += sum2[i];
}
