/* matmul_float.c - F16 and F32 weights times float activations, AVX2.
 *
 *   Y[n, row] = sum_k W[row, k] X[n, k]
 *
 * W: rows of k halves or floats, w_stride bytes apart;  X: rows of k floats, x_stride bytes apart;  Y[n * y_stride + row], float.
 * Constraints: any k; elements aligned to their size. Features: AVX2, FMA, F16C. Tiles: 4 rows x 1 column, 4 x 2, 1 x 1.
 * Floats: lane l runs acc = fma(w, x, acc) over k = l, l + 8, ... in order (a last partial step is filled with zeros), then one fixed horizontal sum:
 * the tile does not show in the result.
 */
#include "../tiles.h"
#include "simd.h"

/* One step of m <= 8 values (m == 8 is constant where it counts) of four rows and one or two columns. */
#define STEP4(load, m)                                                               \
    {                                                                                \
        const __m256 a0 = load_f32(x, m), a1 = two ? load_f32(x + x_stride, m) : a0; \
        const __m256 w0 = load(w, m), w1 = load(w + w_stride, m), w2 = load(w + 2 * w_stride, m), w3 = load(w + 3 * w_stride, m); \
        acc0.r0 = _mm256_fmadd_ps(w0, a0, acc0.r0);                                  \
        acc0.r1 = _mm256_fmadd_ps(w1, a0, acc0.r1);                                  \
        acc0.r2 = _mm256_fmadd_ps(w2, a0, acc0.r2);                                  \
        acc0.r3 = _mm256_fmadd_ps(w3, a0, acc0.r3);                                  \
        if (two) {                                                                   \
            acc1.r0 = _mm256_fmadd_ps(w0, a1, acc1.r0);                              \
            acc1.r1 = _mm256_fmadd_ps(w1, a1, acc1.r1);                              \
            acc1.r2 = _mm256_fmadd_ps(w2, a1, acc1.r2);                              \
            acc1.r3 = _mm256_fmadd_ps(w3, a1, acc1.r3);                              \
        }                                                                            \
    }

#define TILES(type, element)                                                                                                                      \
    QIG_INLINE void tile4_##type(const int cols, const size_t ahead, const char *w, size_t w_stride, const char *x, size_t x_stride, float *y,      \
                                 size_t y_stride, int k) {                                                                                        \
        quad acc0 = quad_zero(), acc1 = quad_zero();                                                                                              \
        const int two = cols == 2;                                                                                                                \
        uintptr_t next = (uintptr_t)w;                                                                                                            \
        for (; k >= 8; k -= 8, w += 8 * sizeof(element), x += 8 * sizeof(float)) {                                                                \
            if (ahead) { /* a step reads 4 * 8 elements: one line of halves, two of floats */                                                      \
                prefetch((const void *)next, ahead);                                                                                              \
                if (sizeof(element) == 4) prefetch((const void *)next, ahead + 64);                                                               \
                next += 32 * sizeof(element);                                                                                                     \
            }                                                                                                                                     \
            STEP4(load_##type, 8)                                                                                                                 \
        }                                                                                                                                         \
        if (k) STEP4(load_##type, k)                                                                                                              \
        _mm_storeu_ps(y, sum8x4(acc0));                                                                                                           \
        if (two) _mm_storeu_ps(y + y_stride, sum8x4(acc1));                                                                                       \
    }                                                                                                                                             \
                                                                                                                                                  \
    static void tile1_##type(const char *w, const char *x, float *y, int k) {                                                                     \
        __m256 acc = _mm256_setzero_ps();                                                                                                         \
        for (; k >= 8; k -= 8, w += 8 * sizeof(element), x += 8 * sizeof(float)) acc = _mm256_fmadd_ps(load_##type(w, 8), load_f32(x, 8), acc);   \
        if (k) acc = _mm256_fmadd_ps(load_##type(w, k), load_f32(x, k), acc);                                                                     \
        *y = sum8(acc);                                                                                                                           \
    }

TILES(f16, uint16_t)
TILES(f32, float)
QIG_MATMUL_BY_FOURS(qig_matmul_f16__avx2, tile4_f16, tile1_f16, k)
QIG_MATMUL_BY_FOURS(qig_matmul_f32__avx2, tile4_f32, tile1_f32, k)
