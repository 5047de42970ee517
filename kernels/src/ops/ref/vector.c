/* vector.c - operations on one vector, scalar. Sums run in float64 and are rounded once. NaN goes through all of them. */
#include "../kernels.h"

#include <math.h>

/* y[i] = (x[i] * r) * g[i],  r = 1 / sqrt(mean(x^2) + eps) */
void qig_rmsnorm__ref(const float *x, const float *g, float *y, int d, float eps) {
    double sum = 0.0;
    for (int i = 0; i < d; i++) sum += (double)x[i] * (double)x[i];
    const float r = (float)(1.0 / sqrt(sum / d + (double)eps));
    for (int i = 0; i < d; i++) y[i] = x[i] * r * g[i];
}

/* x[i] = max(x[i], 0)^2 */
void qig_relu2__ref(float *x, int n) {
    for (int i = 0; i < n; i++) {
        const float a = x[i] < 0.0f ? 0.0f : x[i];
        x[i] = a * a;
    }
}

/* x[i] = x[i] gate[i] / (1 + exp(-gate[i])), by exp(-|gate|), which does not overflow */
void qig_swiglu__ref(float *x, const float *gate, int n) {
    for (int i = 0; i < n; i++) {
        const double g = (double)gate[i], e = exp(-fabs(g));
        x[i] = (float)((double)x[i] * g * (g < 0.0 ? e / (1.0 + e) : 1.0 / (1.0 + e)));
    }
}

/* y[i] += x[i] */
void qig_add__ref(float *y, const float *x, int n) {
    for (int i = 0; i < n; i++) y[i] += x[i];
}

/* sum of a[i] b[i] */
float qig_dot__ref(const float *a, const float *b, int n) {
    double sum = 0.0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
    return (float)sum;
}
