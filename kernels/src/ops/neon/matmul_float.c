/* matmul_float.c - F16 and F32 weights times float activations, NEON.
 *
 *   Y[n, row] = sum_k W[row, k] X[n, k]
 *
 * W: rows of k halves or floats, w_stride bytes apart;  X: rows of k floats, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: any k; elements aligned to their size. Features: armv8.0 NEON (half conversion). Tiles: 4 rows x 1 column, 4 x 2, 1 x 1.
 * Floats: lane l runs acc = fma(w, x, acc) over k = l, l + 4, ... in order (a last partial step is filled with zeros), then one fixed horizontal sum:
 * the tile does not show in the result.
 */
#include "../tiles.h"
#include "simd.h"

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

#define TILES(type, element)                                                                                                                      \
    QIG_INLINE void tile4_##type(const int cols, const size_t ahead, const char *w, size_t w_stride, const char *x, size_t x_stride, float *y,      \
                                 size_t y_stride, int k) {                                                                                        \
        quad acc0 = quad_zero(), acc1 = quad_zero();                                                                                              \
        const int two = cols == 2;                                                                                                                \
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
    static void tile1_##type(const char *w, const char *x, float *y, int k) {                                                                     \
        float32x4_t acc = vdupq_n_f32(0.0f);                                                                                                      \
        for (; k >= 4; k -= 4, w += 4 * sizeof(element), x += 4 * sizeof(float)) acc = vfmaq_f32(acc, load_##type(w, 4), load_f32(x, 4));         \
        if (k) acc = vfmaq_f32(acc, load_##type(w, k), load_f32(x, k));                                                                           \
        *y = sum4(acc);                                                                                                                           \
    }

TILES(f16, uint16_t)
TILES(f32, float)
QIG_MATMUL_BY_FOURS(qig_matmul_f16__neon, tile4_f16, tile1_f16, k)
QIG_MATMUL_BY_FOURS(qig_matmul_f32__neon, tile4_f32, tile1_f32, k)
