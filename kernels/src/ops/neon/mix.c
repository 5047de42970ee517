/* mix.c - the weighted sum of cached values, NEON.
 *
 *   i8:   out[c] = sum_j (a[j] vs[r]) v[r * v_stride + c], r = rows[j], or j without rows        f32: out[c] = sum_j a[j] v[j * v_stride + c]
 *
 * a: n weights;  rows: n numbers of rows, or NULL;  v: rows, v_stride entries apart (v_stride >= c);  vs: their scales;  out: c floats, all written (0 for n = 0). Any c, n.
 * Features: armv8.0 NEON. Per channel acc = fma(weight, value, acc) over j in order, whatever c. a[j] == 0 skips its row unread.
 * 32 channels at a time in eight registers, then 8 at a time, the last partial 8 through a zero-filled copy.
 */
#include "simd.h"

#include <string.h>

/* 8 values as floats. */
typedef struct {
    float32x4_t lo, hi;
} eight;

/* m <= 8 values; m == 8 is constant where it counts. */
QIG_INLINE eight load8_i8(const int8_t *p, int m) {
    int8_t v[8] = {0};
    if (m < 8) memcpy(v, p, (size_t)m);
    const int16x8_t w = vmovl_s8(vld1_s8(m < 8 ? v : p));
    return (eight){vcvtq_f32_s32(vmovl_s16(vget_low_s16(w))), vcvtq_f32_s32(vmovl_high_s16(w))};
}

QIG_INLINE eight load8_f32(const float *p, int m) {
    float v[8] = {0};
    if (m < 8) memcpy(v, p, sizeof v[0] * (size_t)m);
    return (eight){vld1q_f32(m < 8 ? v : p), vld1q_f32(m < 8 ? v + 4 : p + 4)};
}

QIG_INLINE eight fma8(eight acc, eight v, float w) { return (eight){vfmaq_n_f32(acc.lo, v.lo, w), vfmaq_n_f32(acc.hi, v.hi, w)}; }

QIG_INLINE void store8(float *out, eight v) {
    vst1q_f32(out, v.lo);
    vst1q_f32(out + 4, v.hi);
}

/* row, weight: expressions in j. */
#define MIX(load, row, weight)                                                \
    const eight zero = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};           \
    int i = 0;                                                           \
    for (; i + 32 <= c; i += 32) {                                       \
        eight s0 = zero, s1 = zero, s2 = zero, s3 = zero;                \
        for (int j = 0; j < n; j++) {                                    \
            if (a[j] == 0.0f) continue;                                  \
            const float w = weight;                                      \
            s0 = fma8(s0, load(v + (size_t)(row) * v_stride + i, 8), w);     \
            s1 = fma8(s1, load(v + (size_t)(row) * v_stride + i + 8, 8), w); \
            s2 = fma8(s2, load(v + (size_t)(row) * v_stride + i + 16, 8), w); \
            s3 = fma8(s3, load(v + (size_t)(row) * v_stride + i + 24, 8), w); \
        }                                                                \
        store8(out + i, s0);                                             \
        store8(out + i + 8, s1);                                         \
        store8(out + i + 16, s2);                                        \
        store8(out + i + 24, s3);                                        \
    }                                                                    \
    for (; i < c; i += 8) {                                              \
        const int m = c - i < 8 ? c - i : 8;                             \
        eight acc = zero;                                                \
        for (int j = 0; j < n; j++) {                                    \
            if (a[j] == 0.0f) continue;                                  \
            acc = fma8(acc, load(v + (size_t)(row) * v_stride + i, m), weight); \
        }                                                                \
        float t[8];                                                      \
        store8(t, acc);                                                  \
        memcpy(out + i, t, sizeof t[0] * (size_t)m);                     \
    }

void qig_mix_i8__neon(const float *a, const int32_t *rows, const int8_t *v, size_t v_stride, const float *vs, int c, int n, float *out) {
    if (rows) {
        MIX(load8_i8, rows[j], a[j] * vs[rows[j]])
    } else {
        MIX(load8_i8, j, a[j] * vs[j])
    }
}

void qig_mix_f32__neon(const float *a, const float *v, size_t v_stride, int c, int n, float *out) { MIX(load8_f32, j, a[j]) }
