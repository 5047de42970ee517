/* matmul.c - matrix products with quantized and plain weights, scalar: the oracle.
 *
 *   Y[n, row] = sum_k W[row, k] X[n, k]        q4_0, q8_0: sum over blocks of d_w d_a (sum of 32 integer products, exact in int32)
 *                                              q4_1: sum over blocks of d_a (d_w (sum of products) + m_w (sum of activations))
 *                                              q6_k: sum over 32 weights of d_w d_a (scale (sum of 16 products) + scale (sum of 16 products))
 *
 * W: rows of w_stride bytes;  X: rows of x_stride bytes, qig_block_a8 for q4_0, q4_1, q8_0 (k % 32 == 0) and q6_k (k % 256 == 0),
 * float for f16 and f32 (any k);
 * Y: float, Y[n * y_stride + row]. The sum over blocks (or values) runs in float64 and is rounded once.
 */
#include "../kernels.h"

static double dot_q4_0(const void *w, const void *x, int k) {
    const qig_block_q4_0 *wb = w;
    const qig_block_a8 *xb = x;
    double sum = 0.0;
    for (int b = 0; b < k / 32; b++) {
        int32_t s = 0;
        for (int i = 0; i < 16; i++) s += ((wb[b].qs[i] & 15) - 8) * xb[b].qs[i] + ((wb[b].qs[i] >> 4) - 8) * xb[b].qs[i + 16];
        sum += (double)s * ((double)qig_half_to_float(wb[b].d) * (double)xb[b].d);
    }
    return sum;
}

static double dot_q4_1(const void *w, const void *x, int k) {
    const qig_block_q4_1 *wb = w;
    const qig_block_a8 *xb = x;
    double sum = 0.0;
    for (int b = 0; b < k / 32; b++) {
        int32_t s = 0, all = 0;
        for (int i = 0; i < 16; i++) {
            s += (wb[b].qs[i] & 15) * xb[b].qs[i] + (wb[b].qs[i] >> 4) * xb[b].qs[i + 16];
            all += xb[b].qs[i] + xb[b].qs[i + 16];
        }
        sum += (double)xb[b].d * ((double)qig_half_to_float(wb[b].d) * (double)s + (double)qig_half_to_float(wb[b].m) * (double)all);
    }
    return sum;
}

static double dot_q6_k(const void *w, const void *x, int k) {
    const qig_block_q6_k *wb = w;
    const qig_block_a8 *xb = x;
    double sum = 0.0;
    for (int b = 0; b < k / 32; b++) { /* the 32 weights that share an activation's scale */
        const qig_block_q6_k *q = wb + b / 8;
        const int half = b % 8 / 4, j = b % 4;
        int32_t s[2] = {0, 0};
        for (int i = 0; i < 32; i++) {
            const int low = q->ql[64 * half + 32 * (j % 2) + i] >> (j < 2 ? 0 : 4) & 15, high = q->qh[32 * half + i] >> 2 * j & 3;
            s[i / 16] += ((low | high << 4) - 32) * xb[b].qs[i];
        }
        const int32_t both = q->scales[b % 8 * 2] * s[0] + q->scales[b % 8 * 2 + 1] * s[1];
        sum += (double)both * ((double)qig_half_to_float(q->d) * (double)xb[b].d);
    }
    return sum;
}

static double dot_q8_0(const void *w, const void *x, int k) {
    const qig_block_q8_0 *wb = w;
    const qig_block_a8 *xb = x;
    double sum = 0.0;
    for (int b = 0; b < k / 32; b++) {
        int32_t s = 0;
        for (int i = 0; i < 32; i++) s += wb[b].qs[i] * xb[b].qs[i];
        sum += (double)s * ((double)qig_half_to_float(wb[b].d) * (double)xb[b].d);
    }
    return sum;
}

static double dot_f16(const void *w, const void *x, int k) {
    const uint16_t *wh = w;
    const float *xf = x;
    double sum = 0.0;
    for (int i = 0; i < k; i++) sum += (double)qig_half_to_float(wh[i]) * (double)xf[i];
    return sum;
}

static double dot_f32(const void *w, const void *x, int k) {
    const float *wf = w, *xf = x;
    double sum = 0.0;
    for (int i = 0; i < k; i++) sum += (double)wf[i] * (double)xf[i];
    return sum;
}

#define MATMUL(type)                                                                                                                           \
    void qig_matmul_##type##__ref(const void *w, size_t w_stride, const void *x, size_t x_stride, float *y, size_t y_stride, int k, int row0,  \
                                  int row1, int n) {                                                                                           \
        for (int r = row0; r < row1; r++)                                                                                                      \
            for (int j = 0; j < n; j++)                                                                                                        \
                y[(size_t)j * y_stride + (size_t)r] =                                                                                          \
                    (float)dot_##type((const char *)w + (size_t)r * w_stride, (const char *)x + (size_t)j * x_stride, k);                      \
    }

MATMUL(q4_0)
MATMUL(q4_1)
MATMUL(q6_k)
MATMUL(q8_0)
MATMUL(f16)
MATMUL(f32)
