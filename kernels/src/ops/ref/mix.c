/* mix.c - the weighted sum of cached values, scalar.
 *
 *   i8:   out[c] = sum_j (a[j] vs[r]) v[r * v_stride + c], r = rows[j], or j without rows        f32: out[c] = sum_j a[j] v[j * v_stride + c]
 *
 * a: n weights;  rows: n numbers of rows, or NULL;  v: rows, v_stride entries apart (v_stride >= c);  vs: their scales;  out: c floats, all written (0 for n = 0).
 * j in order; a[j] == 0 skips its row unread, whatever it holds. The sum runs in float64, the product a vs is one float32 rounding.
 */
#include "../kernels.h"

enum { WIDTH = 64 }; /* channels summed at a time: the accumulators' size on the stack */

static void store(float *out, const double *sum, int m) {
    for (int i = 0; i < m; i++) out[i] = (float)sum[i];
}

void qig_mix_i8__ref(const float *a, const int32_t *rows, const int8_t *v, size_t v_stride, const float *vs, int c, int n, float *out) {
    for (int c0 = 0; c0 < c; c0 += WIDTH) {
        const int m = c - c0 < WIDTH ? c - c0 : WIDTH;
        double sum[WIDTH] = {0};
        for (int j = 0; j < n; j++) {
            if (a[j] == 0.0f) continue;
            const int r = rows ? rows[j] : j;
            const int8_t *row = v + (size_t)r * v_stride + c0;
            const float w = a[j] * vs[r];
            for (int i = 0; i < m; i++) sum[i] += (double)w * row[i];
        }
        store(out + c0, sum, m);
    }
}

void qig_mix_f32__ref(const float *a, const float *v, size_t v_stride, int c, int n, float *out) {
    for (int c0 = 0; c0 < c; c0 += WIDTH) {
        const int m = c - c0 < WIDTH ? c - c0 : WIDTH;
        double sum[WIDTH] = {0};
        for (int j = 0; j < n; j++) {
            if (a[j] == 0.0f) continue;
            const float *row = v + (size_t)j * v_stride + c0;
            for (int i = 0; i < m; i++) sum[i] += (double)a[j] * (double)row[i];
        }
        store(out + c0, sum, m);
    }
}
