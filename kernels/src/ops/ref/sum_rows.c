/* sum_rows.c - the weighted sum of some rows of a matrix, scalar: the oracle.
 *
 *   y[c] = sum_i a[i] W[units[i], c]      c in [col0, col1), i in order
 *
 * W: rows of w_stride bytes;  units, a: n row numbers and weights;  y: floats, all of [col0, col1) written (0 for n = 0). q4_0, q8_0: col0 and col1 are
 * multiples of 32. The sum runs in float64 and is rounded once. An infinite scale or weight, or a NaN in a, reaches the columns of its row's block.
 */
#include "../kernels.h"

static double weight_q4_0(const void *row, int c) {
    const qig_block_q4_0 *b = (const qig_block_q4_0 *)row + c / 32;
    const int i = c % 32;
    return (double)qig_half_to_float(b->d) * ((i < 16 ? b->qs[i] & 15 : b->qs[i - 16] >> 4) - 8);
}

static double weight_q8_0(const void *row, int c) {
    const qig_block_q8_0 *b = (const qig_block_q8_0 *)row + c / 32;
    return (double)qig_half_to_float(b->d) * b->qs[c % 32];
}

static double weight_f16(const void *row, int c) { return (double)qig_half_to_float(((const uint16_t *)row)[c]); }

static double weight_f32(const void *row, int c) { return (double)((const float *)row)[c]; }

#define SUM_ROWS(type)                                                                                                                          \
    void qig_sum_rows_##type##__ref(const void *w, size_t w_stride, const int32_t *units, const float *a, int n, float *y, int col0, int col1) { \
        for (int c = col0; c < col1; c++) {                                                                                                     \
            double sum = 0.0;                                                                                                                   \
            for (int i = 0; i < n; i++) sum += (double)a[i] * weight_##type((const char *)w + (size_t)units[i] * w_stride, c);                  \
            y[c] = (float)sum;                                                                                                                  \
        }                                                                                                                                       \
    }

SUM_ROWS(q4_0)
SUM_ROWS(q8_0)
SUM_ROWS(f16)
SUM_ROWS(f32)
