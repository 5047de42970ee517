/* vector.c - operations on one vector, AVX2. Any length, no alignment. NaN goes through all of them. Features: AVX2, FMA.
 *
 *   rmsnorm  y[i] = (x[i] * r) * g[i],  r = 1 / sqrt(mean(x^2) + eps)      y may be x
 *   relu2    x[i] = max(x[i], 0)^2
 *   add      y[i] += x[i]
 *   dot      sum of a[i] b[i]
 *
 * relu2 and add give the same bits as ref. Sums run in 4 x 8 float lanes, (0+1) + (2+3), then the fixed horizontal sum, then the rest in order.
 */
#include "simd.h"

#include <math.h>

float qig_dot__avx2(const float *a, const float *b, int n) {
    quad s = quad_zero();
    int i = 0;
    for (; i + 32 <= n; i += 32) {
        s.r0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s.r0);
        s.r1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s.r1);
        s.r2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s.r2);
        s.r3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s.r3);
    }
    for (; i + 8 <= n; i += 8) s.r0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s.r0);
    float sum = sum8(_mm256_add_ps(_mm256_add_ps(s.r0, s.r1), _mm256_add_ps(s.r2, s.r3)));
    for (; i < n; i++) sum += a[i] * b[i];
    return sum;
}

void qig_rmsnorm__avx2(const float *x, const float *g, float *y, int d, float eps) {
    const float r = 1.0f / sqrtf(qig_dot__avx2(x, x, d) / (float)d + eps);
    const __m256 rr = _mm256_set1_ps(r);
    int i = 0;
    for (; i + 8 <= d; i += 8) _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), rr), _mm256_loadu_ps(g + i)));
    for (; i < d; i++) y[i] = x[i] * r * g[i];
}

void qig_relu2__avx2(float *x, int n) {
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256 a = _mm256_max_ps(_mm256_setzero_ps(), _mm256_loadu_ps(x + i)); /* max returns its second operand when one is NaN */
        _mm256_storeu_ps(x + i, _mm256_mul_ps(a, a));
    }
    for (; i < n; i++) {
        const float a = x[i] < 0.0f ? 0.0f : x[i];
        x[i] = a * a;
    }
}

void qig_add__avx2(float *y, const float *x, int n) {
    int i = 0;
    for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, _mm256_add_ps(_mm256_loadu_ps(y + i), _mm256_loadu_ps(x + i)));
    for (; i < n; i++) y[i] += x[i];
}
