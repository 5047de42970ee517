/* quantize.c - activations to int8, scalar.
 *
 *   d = amax / 127,  q[i] = half-to-even(x[i] * (127 / amax)),  amax = max |x[i]| over 32 values
 *
 * x: k floats, k % 32 == 0;  y: k / 32 blocks. Every step is one IEEE rounding, so every ISA gives the same bytes.
 * A block too small for 127 / amax to be finite (amax < 3.8e-37) counts as zero: d = 0, q = 0. A block with a NaN or an infinity gives d = NaN, q = 0,
 * so that whatever is computed from it is NaN.
 */
#include "../kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

void qig_quantize_a8__ref(const float *x, qig_block_a8 *y, int k) {
    for (int b = 0; b < k / 32; b++, x += 32, y++) {
        float amax = 0.0f;
        int finite = 1;
        for (int i = 0; i < 32; i++) {
            const float a = fabsf(x[i]);
            finite &= a <= FLT_MAX;
            if (a > amax) amax = a;
        }
        const float inverse = 127.0f / amax;
        if (!finite || !(inverse <= FLT_MAX)) {
            y->d = finite ? 0.0f : NAN;
            memset(y->qs, 0, sizeof y->qs);
            continue;
        }
        y->d = amax / 127.0f;
        for (int i = 0; i < 32; i++) y->qs[i] = (int8_t)lrintf(x[i] * inverse);
    }
}
