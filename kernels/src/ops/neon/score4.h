/* score4.h - scores of 4 overlaps, NEON. asin: approx.h. */
#ifndef QIG_OPS_NEON_SCORE4_H
#define QIG_OPS_NEON_SCORE4_H

#include "../approx.h"
#include "simd.h"

QIG_INLINE float32x4_t asin4(float32x4_t h) {
    const uint32x4_t far = vcgtq_f32(h, vdupq_n_f32(0.5f));
    const float32x4_t zf = vmulq_n_f32(vsubq_f32(vdupq_n_f32(1.0f), h), 0.5f);
    const float32x4_t z = vbslq_f32(far, zf, vmulq_f32(h, h)), t = vbslq_f32(far, vsqrtq_f32(zf), h);
    float32x4_t p = vfmaq_f32(vdupq_n_f32(QIG_ASIN_A3), vdupq_n_f32(QIG_ASIN_A4), z);
    p = vfmaq_f32(vdupq_n_f32(QIG_ASIN_A2), p, z);
    p = vfmaq_f32(vdupq_n_f32(QIG_ASIN_A1), p, z);
    p = vfmaq_f32(vdupq_n_f32(QIG_ASIN_A0), p, z);
    p = vfmaq_f32(t, p, vmulq_f32(z, t));
    return vbslq_f32(far, vfmsq_n_f32(vdupq_n_f32(QIG_HALF_PI), p, 2.0f), p);
}

/* Scores of 4 overlaps `age` positions before the query; far: the absolute gate's verdict. No fused operations up to s, so bures equals ref bit for bit. */
QIG_INLINE float32x4_t score4(float32x4_t o, float32x4_t age, const qig_score_params *p, uint32x4_t *far) {
    const float32x4_t t = vmulq_n_f32(vsubq_f32(vdupq_n_f32(1.0f), o), 2.0f);
    float32x4_t d = vsqrtq_f32(vaddq_f32(vmaxq_f32(t, vdupq_n_f32(0.0f)), vdupq_n_f32(1e-6f)));
    if (p->metric == QIG_METRIC_FISHER_RAO) d = vmulq_n_f32(asin4(vmulq_n_f32(vminq_f32(d, vdupq_n_f32(2.0f)), 0.5f)), 2.0f);
    *far = vcgtq_f32(d, vdupq_n_f32(p->max_distance));
    return vnegq_f32(vaddq_f32(vmulq_n_f32(d, p->scale), vmulq_n_f32(age, p->slope)));
}

#endif
