/* overlap.c - overlaps of one query state with the cached key states, scalar.
 *
 *   i8:   o[j] = min(1, (qs * ks[j]) * sum_c q[c] k[j * k_stride + c])    the sum is an exact int32 (c <= 131071), two float roundings
 *   f32:  o[j] = min(1, sum_c q[c] k[j * k_stride + c])                   the sum runs in float64
 *
 * q: c entries, for i8 in -127..127 (what qig_quantize_i8 gives);  k: n rows, k_stride entries apart (k_stride >= c), any int8;  ks: n scales;
 * o: n floats, in [-1, 1] for unit vectors. A NaN stays one.
 */
#include "../kernels.h"

void qig_overlap_i8__ref(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int c, int n, float *o) {
    for (int j = 0; j < n; j++, k += k_stride) {
        int32_t s = 0;
        for (int i = 0; i < c; i++) s += q[i] * k[i];
        const float v = qs * ks[j] * (float)s;
        o[j] = v > 1.0f ? 1.0f : v;
    }
}

void qig_overlap_f32__ref(const float *q, const float *k, size_t k_stride, int c, int n, float *o) {
    for (int j = 0; j < n; j++, k += k_stride) {
        double s = 0.0;
        for (int i = 0; i < c; i++) s += (double)q[i] * (double)k[i];
        o[j] = s > 1.0 ? 1.0f : (float)s;
    }
}
