/* vector.c - operations on one vector, NEON. Any length. NaN goes through all of them. Features: armv8.0 NEON.
 *
 *   rmsnorm  y[i] = (x[i] * r) * g[i],  r = 1 / sqrt(mean(x^2) + eps)      y may be x
 *   relu2    x[i] = max(x[i], 0)^2
 *   add      y[i] += x[i]
 *   dot      sum of a[i] b[i]
 *
 * relu2 and add give the same bits as ref. Sums run in 4 x 4 float lanes, (0+1) + (2+3), then the fixed horizontal sum, then the rest in order.
 */
#include "simd.h"

#include <math.h>

float qig_dot__neon(const float *a, const float *b, int n) {
    quad s = quad_zero();
    int i = 0;
    for (; i + 16 <= n; i += 16) {
        s.r0 = vfmaq_f32(s.r0, vld1q_f32(a + i), vld1q_f32(b + i));
        s.r1 = vfmaq_f32(s.r1, vld1q_f32(a + i + 4), vld1q_f32(b + i + 4));
        s.r2 = vfmaq_f32(s.r2, vld1q_f32(a + i + 8), vld1q_f32(b + i + 8));
        s.r3 = vfmaq_f32(s.r3, vld1q_f32(a + i + 12), vld1q_f32(b + i + 12));
    }
    for (; i + 4 <= n; i += 4) s.r0 = vfmaq_f32(s.r0, vld1q_f32(a + i), vld1q_f32(b + i));
    float sum = sum4(vaddq_f32(vaddq_f32(s.r0, s.r1), vaddq_f32(s.r2, s.r3)));
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}

void qig_rmsnorm__neon(const float *x, const float *g, float *y, int d, float eps) {
    const float r = 1.0f / sqrtf(qig_dot__neon(x, x, d) / (float)d + eps);
    int i = 0;
    for (; i + 4 <= d; i += 4) vst1q_f32(y + i, vmulq_f32(vmulq_n_f32(vld1q_f32(x + i), r), vld1q_f32(g + i)));
    for (; i < d; i++) y[i] = x[i] * r * g[i];
}

void qig_relu2__neon(float *x, int n) {
    int i = 0;
    for (; i + 4 <= n; i += 4) {
        const float32x4_t a = vmaxq_f32(vld1q_f32(x + i), vdupq_n_f32(0.0f)); /* NaN wins */
        vst1q_f32(x + i, vmulq_f32(a, a));
    }
    for (; i < n; i++) {
        const float a = x[i] < 0.0f ? 0.0f : x[i];
        x[i] = a * a;
    }
}

void qig_add__neon(float *y, const float *x, int n) {
    int i = 0;
    for (; i + 4 <= n; i += 4) vst1q_f32(y + i, vaddq_f32(vld1q_f32(y + i), vld1q_f32(x + i)));
    for (; i < n; i++) y[i] += x[i];
}
