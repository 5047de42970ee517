/* exp.h - exp of four floats at most 0, and the ends of rows that do not fill a register. */
#ifndef QIG_OPS_NEON_EXP_H
#define QIG_OPS_NEON_EXP_H

#include "../approx.h"
#include "simd.h"

#include <math.h>
#include <string.h>

/* exp(x) for x <= 0, 0 below QIG_EXP_LOWEST; NaN stays one. Accuracy: approx.h. */
QIG_INLINE float32x4_t exp4(float32x4_t x) {
    const float32x4_t n = vrndnq_f32(vmulq_n_f32(x, QIG_LOG2_E));
    float32x4_t r = vfmsq_n_f32(x, n, QIG_LN2_HIGH);
    r = vfmsq_n_f32(r, n, QIG_LN2_LOW);
    float32x4_t p = vfmaq_f32(vdupq_n_f32(QIG_EXP_E3), vdupq_n_f32(QIG_EXP_E4), r);
    p = vfmaq_f32(vdupq_n_f32(QIG_EXP_E2), p, r);
    p = vfmaq_f32(vdupq_n_f32(QIG_EXP_E1), p, r);
    p = vfmaq_f32(vdupq_n_f32(QIG_EXP_E0), p, r);
    p = vaddq_f32(vfmaq_f32(r, p, vmulq_f32(r, r)), vdupq_n_f32(1.0f));
    const float32x4_t power = vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
    const uint32x4_t low = vcltq_f32(x, vdupq_n_f32(QIG_EXP_LOWEST)); /* false for NaN, which p carries on */
    return vbslq_f32(low, vdupq_n_f32(0.0f), vmulq_f32(p, power));
}

/* m <= 4 floats, the rest -inf, which as a score is cut. */
QIG_INLINE float32x4_t load_part(const float *p, int m) {
    if (m >= 4) return vld1q_f32(p);
    float v[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    memcpy(v, p, sizeof v[0] * (size_t)m);
    return vld1q_f32(v);
}

QIG_INLINE void store_part(float *p, float32x4_t v, int m) {
    if (m >= 4) {
        vst1q_f32(p, v);
        return;
    }
    float t[4];
    vst1q_f32(t, v);
    memcpy(p, t, sizeof t[0] * (size_t)m);
}

#endif
