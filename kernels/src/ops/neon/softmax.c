/* softmax.c - dot products of one query to unnormalised attention weights, and the gate of a feed-forward, NEON.
 *
 *   softmax  s = scale o[j],   o[j] = exp(s - max s)
 *   swiglu   x[i] = x[i] gate[i] / (1 + exp(-gate[i]))
 *
 * Any n. Features: armv8.0 NEON. NaN and n = 0 as in ref (ref/softmax.c). exp: approx.h. Sums in 4 float lanes, lane j % 4 for pair j, then the fixed
 * horizontal sum. An element of swiglu is the same float wherever it stands.
 */
#include "exp.h"

void qig_softmax__neon(float *o, int n, float scale, float *sum, float *sum2) {
    float32x4_t top4 = vdupq_n_f32(-INFINITY);
    for (int j = 0; j < n; j += 4) {
        const float32x4_t s = vmulq_n_f32(load_part(o + j, n - j), scale);
        top4 = vmaxnmq_f32(top4, s); /* the number wins over a NaN */
        store_part(o + j, s, n - j);
    }
    const float32x4_t top = vdupq_n_f32(vmaxvq_f32(top4));
    float32x4_t total = vdupq_n_f32(0.0f), total2 = total;
    for (int j = 0; j < n; j += 4) {
        const float32x4_t a = exp4(vsubq_f32(load_part(o + j, n - j), top)); /* lanes past the end: exp(-inf) = 0 */
        total = vaddq_f32(total, a);
        total2 = vfmaq_f32(total2, a, a);
        store_part(o + j, a, n - j);
    }
    *sum = sum4(total);
    *sum2 = sum4(total2);
}

void qig_swiglu__neon(float *x, const float *gate, int n) {
    const float32x4_t one = vdupq_n_f32(1.0f);
    for (int i = 0; i < n; i += 4) {
        const float32x4_t v = load_part(x + i, n - i), g = load_part(gate + i, n - i), e = exp4(vnegq_f32(vabsq_f32(g)));
        const float32x4_t above = vbslq_f32(vcltq_f32(g, vdupq_n_f32(0.0f)), e, one); /* e / (1 + e) below 0, 1 / (1 + e) above */
        store_part(x + i, vmulq_f32(vmulq_f32(v, g), vdivq_f32(above, vaddq_f32(one, e))), n - i);
    }
}
