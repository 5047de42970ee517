/* softmax.c - dot products of one query to unnormalised attention weights, scalar.
 *
 *   s = scale o[j],   a = exp(s - max s)
 *
 * o: n dot products, replaced by a; scale > 0. s is one float32 rounding in every ISA. *sum and *sum2 are sums of a and a^2, here in float64. A NaN leaves
 * the maximum alone, makes its own weight and both sums NaN. n = 0: nothing, sums 0.
 */
#include "../kernels.h"

#include <math.h>

void qig_softmax__ref(float *o, int n, float scale, float *sum, float *sum2) {
    float top = -INFINITY;
    for (int j = 0; j < n; j++) {
        o[j] *= scale;
        if (o[j] > top) top = o[j];
    }
    double total = 0.0, total2 = 0.0;
    for (int j = 0; j < n; j++) {
        const float a = expf(o[j] - top);
        o[j] = a;
        total += (double)a;
        total2 += (double)a * (double)a;
    }
    *sum = (float)total;
    *sum2 = (float)total2;
}
