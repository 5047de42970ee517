/* overlap.c - overlaps of one query state with the cached key states, NEON.
 *
 *   i8:   o[j] = min(1, (qs * ks[j]) * sum_c q[c] k[j * k_stride + c])    integers exact, the same bits as ref
 *   f32:  o[j] = min(1, sum_c q[c] k[j * k_stride + c])                   4 float lanes, fma, fixed horizontal sum
 *
 * q: c entries, in -127..127 for i8 (two products with any int8 fit int16);  k: n rows, k_stride entries apart (k_stride >= c);  ks: n scales;  o: n floats.
 * Any c, n; a NaN stays one. Features: armv8.0 NEON. Four keys at a time share the query's loads; a last partial group of keys repeats its last key and
 * drops the result.
 */
#include "simd.h"

#include <string.h>

/* m <= 16 int8; m == 16 is constant where it counts. */
QIG_INLINE int8x16_t load_i8(const int8_t *p, int m) {
    if (m == 16) return vld1q_s8(p);
    int8_t v[16] = {0};
    memcpy(v, p, (size_t)m);
    return vld1q_s8(v);
}

QIG_INLINE int32x4_t dot16(int32x4_t sum, int8x16_t a, int8x16_t b) {
    return vpadalq_s16(sum, vmlal_high_s8(vmull_s8(vget_low_s8(a), vget_low_s8(b)), a, b));
}

/* min(1, v) of the first m of four lanes; NaN wins. */
QIG_INLINE void store_overlaps(float *o, float32x4_t v, int m) {
    v = vminq_f32(v, vdupq_n_f32(1.0f));
    if (m >= 4) {
        vst1q_f32(o, v);
        return;
    }
    float t[4];
    vst1q_f32(t, v);
    memcpy(o, t, sizeof t[0] * (size_t)m);
}

#define DOTS(i)                                 \
    {                                           \
        const int8x16_t a = vld1q_s8(q + (i));  \
        s0 = dot16(s0, a, vld1q_s8(k0 + (i)));  \
        s1 = dot16(s1, a, vld1q_s8(k1 + (i)));  \
        s2 = dot16(s2, a, vld1q_s8(k2 + (i)));  \
        s3 = dot16(s3, a, vld1q_s8(k3 + (i)));  \
    }

void qig_overlap_i8__neon(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int c, int n, float *o) {
    for (int j = 0; j < n; j += 4, k += 4 * k_stride) {
        const int m = n - j < 4 ? n - j : 4;
        const int8_t *k0 = k, *k1 = m > 1 ? k0 + k_stride : k0, *k2 = m > 2 ? k1 + k_stride : k1, *k3 = m > 3 ? k2 + k_stride : k2;
        int32x4_t s0 = vdupq_n_s32(0), s1 = s0, s2 = s0, s3 = s0;
        int i = 0;
        for (; i + 32 <= c; i += 32) { /* two registers a step: half of the counting, which is what the multiplies wait for */
            DOTS(i)
            DOTS(i + 16)
        }
        if (i + 16 <= c) {
            DOTS(i)
            i += 16;
        }
        if (i < c) {
            const int8x16_t a = load_i8(q + i, c - i);
            s0 = dot16(s0, a, load_i8(k0 + i, c - i));
            s1 = dot16(s1, a, load_i8(k1 + i, c - i));
            s2 = dot16(s2, a, load_i8(k2 + i, c - i));
            s3 = dot16(s3, a, load_i8(k3 + i, c - i));
        }
        const float32x4_t sums = vcvtq_f32_s32(vpaddq_s32(vpaddq_s32(s0, s1), vpaddq_s32(s2, s3)));
        store_overlaps(o + j, vmulq_f32(vmulq_n_f32(load_f32(ks + j, m), qs), sums), m);
    }
}

void qig_overlap_f32__neon(const float *q, const float *k, size_t k_stride, int c, int n, float *o) {
    for (int j = 0; j < n; j += 4, k += 4 * k_stride) {
        const int m = n - j < 4 ? n - j : 4;
        const float *k0 = k, *k1 = m > 1 ? k0 + k_stride : k0, *k2 = m > 2 ? k1 + k_stride : k1, *k3 = m > 3 ? k2 + k_stride : k2;
        quad s = quad_zero();
        int i = 0;
        for (; i + 4 <= c; i += 4) {
            const float32x4_t a = vld1q_f32(q + i);
            s.r0 = vfmaq_f32(s.r0, a, vld1q_f32(k0 + i));
            s.r1 = vfmaq_f32(s.r1, a, vld1q_f32(k1 + i));
            s.r2 = vfmaq_f32(s.r2, a, vld1q_f32(k2 + i));
            s.r3 = vfmaq_f32(s.r3, a, vld1q_f32(k3 + i));
        }
        if (i < c) {
            const float32x4_t a = load_f32(q + i, c - i);
            s.r0 = vfmaq_f32(s.r0, a, load_f32(k0 + i, c - i));
            s.r1 = vfmaq_f32(s.r1, a, load_f32(k1 + i, c - i));
            s.r2 = vfmaq_f32(s.r2, a, load_f32(k2 + i, c - i));
            s.r3 = vfmaq_f32(s.r3, a, load_f32(k3 + i, c - i));
        }
        store_overlaps(o + j, sum4x4(s), m);
    }
}
