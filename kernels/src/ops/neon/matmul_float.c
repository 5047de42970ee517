/* matmul_float.c - F16 and F32 weights times float activations, NEON.
 *
 *   Y[n, row] = sum_k W[row, k] X[n, k]
 *
 * W: rows of k halves or floats, w_stride bytes apart;  X: rows of k floats, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: any k; elements aligned to their size. Features: armv8.0 NEON (half conversion). Tiles: 4 rows x 1 column, 4 x 2, 1 x 1.
 * Floats: lane l runs acc = fma(w, x, acc) over k = l, l + 4, ... in order (a last partial step is filled with zeros), then one fixed horizontal sum:
 * the tile does not show in the result.
 */
#include "simd.h"

#include <string.h>

QIG_INLINE float32x4_t load_f32(const void *p, int m) {
    if (m == 4) return vld1q_f32(p);
    float v[4] = {0};
    memcpy(v, p, sizeof v[0] * (size_t)m);
    return vld1q_f32(v);
}

QIG_INLINE float32x4_t load_f16(const void *p, int m) {
    uint16_t v[4] = {0};
    memcpy(v, p, sizeof v[0] * (size_t)m);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(v)));
}

/* One step of m <= 4 values (m == 4 is constant where it counts) of four rows and one or two columns. */
#define STEP4(load, m)                                                                                                            \
    {                                                                                                                             \
        const float32x4_t a0 = load_f32(x, m), a1 = two ? load_f32(x + x_stride, m) : a0;                                         \
        const float32x4_t w0 = load(w, m), w1 = load(w + w_stride, m), w2 = load(w + 2 * w_stride, m), w3 = load(w + 3 * w_stride, m); \
        acc0.r0 = vfmaq_f32(acc0.r0, w0, a0);                                                                                     \
        acc0.r1 = vfmaq_f32(acc0.r1, w1, a0);                                                                                     \
        acc0.r2 = vfmaq_f32(acc0.r2, w2, a0);                                                                                     \
        acc0.r3 = vfmaq_f32(acc0.r3, w3, a0);                                                                                     \
        if (two) {                                                                                                                \
            acc1.r0 = vfmaq_f32(acc1.r0, w0, a1);                                                                                 \
            acc1.r1 = vfmaq_f32(acc1.r1, w1, a1);                                                                                 \
            acc1.r2 = vfmaq_f32(acc1.r2, w2, a1);                                                                                 \
            acc1.r3 = vfmaq_f32(acc1.r3, w3, a1);                                                                                 \
        }                                                                                                                         \
    }

#define MATMUL(type, element)                                                                                                                     \
    QIG_INLINE void tile4_##type(const int two, const size_t ahead, const char *w, size_t w_stride, const char *x, size_t x_stride, float *y,      \
                                 size_t y_stride, int k) {                                                                                        \
        quad acc0 = quad_zero(), acc1 = quad_zero();                                                                                              \
        uintptr_t next = (uintptr_t)w;                                                                                                            \
        for (; k >= 4; k -= 4, w += 4 * sizeof(element), x += 4 * sizeof(float)) {                                                                \
            if (ahead) { /* a step reads 4 * 4 elements: a line of floats, half a line of halves */                                                \
                prefetch(next, ahead);                                                                                                            \
                next += 16 * sizeof(element);                                                                                                     \
            }                                                                                                                                     \
            STEP4(load_##type, 4)                                                                                                                 \
        }                                                                                                                                         \
        if (k) STEP4(load_##type, k)                                                                                                              \
        vst1q_f32(y, sum4x4(acc0));                                                                                                               \
        if (two) vst1q_f32(y + y_stride, sum4x4(acc1));                                                                                           \
    }                                                                                                                                             \
                                                                                                                                                  \
    static float row_##type(const char *w, const char *x, int k) {                                                                                \
        float32x4_t acc = vdupq_n_f32(0.0f);                                                                                                      \
        for (; k >= 4; k -= 4, w += 4 * sizeof(element), x += 4 * sizeof(float)) acc = vfmaq_f32(acc, load_##type(w, 4), load_f32(x, 4));         \
        if (k) acc = vfmaq_f32(acc, load_##type(w, k), load_f32(x, k));                                                                           \
        return sum4(acc);                                                                                                                         \
    }                                                                                                                                             \
                                                                                                                                                  \
    void qig_matmul_##type##__neon(const void *w, size_t w_stride, const void *x, size_t x_stride, float *y, size_t y_stride, int k, int row0,     \
                                   int row1, int n) {                                                                                             \
        const char *wp = (const char *)w + (size_t)row0 * w_stride;                                                                               \
        const size_t ahead = prefetch_distance(w_stride);                                                                                         \
        int r = row0;                                                                                                                             \
        for (; r + 4 <= row1; r += 4, wp += 4 * w_stride) {                                                                                       \
            const char *xp = x;                                                                                                                   \
            float *yp = y + r;                                                                                                                    \
            int c = 0;                                                                                                                            \
            for (; c + 2 <= n; c += 2, xp += 2 * x_stride, yp += 2 * y_stride) tile4_##type(1, c ? 0 : ahead, wp, w_stride, xp, x_stride, yp, y_stride, k);   \
            if (c < n) tile4_##type(0, c ? 0 : ahead, wp, w_stride, xp, x_stride, yp, y_stride, k);                                                       \
        }                                                                                                                                         \
        for (; r < row1; r++, wp += w_stride)                                                                                                     \
            for (int c = 0; c < n; c++) y[(size_t)c * y_stride + (size_t)r] = row_##type(wp, (const char *)x + (size_t)c * x_stride, k);          \
    }

MATMUL(f16, uint16_t)
MATMUL(f32, float)
