/* score.c - overlaps to gated, unnormalised attention weights, scalar.
 *
 *   d = sqrt(max(0, 2 (1 - o)) + 1e-6)        fisher_rao: d := 2 asin(min(d, 2) / 2)
 *   s = - scale d - slope age_j               nats;  age_j = n - 1 - j, or position - positions[j] where positions are given, 0 for the own pair
 *   a = exp(s - max s), or 0 where d > max_distance or s < max s - margin; the own pair j = n - 1 is never cut
 *
 * o: n overlaps, oldest first, replaced by a. max_distance compares with d after the metric, in the metric's own unit. The maximum runs over what the
 * absolute gate lets through. Up to s every step is one float32 rounding (no fused ones), so that for bures all ISAs cut the same pairs.
 * Returns the number of pairs let through (a pair whose weight underflows counts, one at s = -inf does not); *sum and *sum2 are sums of a and a^2.
 * A NaN overlap passes the gates, leaves the maximum alone and makes its own weight and both sums NaN. n = 0: nothing, sums 0.
 */
#include "../kernels.h"

#include <math.h>

int qig_score__ref(float *o, int n, const qig_score_params *p, float *sum, float *sum2) {
    const int32_t *positions = p->positions;
    float top = -INFINITY;
    for (int j = 0; j < n; j++) {
        const float t = 2.0f * (1.0f - o[j]);
        float d = sqrtf((t < 0.0f ? 0.0f : t) + 1e-6f);
        if (p->metric == QIG_METRIC_FISHER_RAO) d = 2.0f * asinf((d > 2.0f ? 2.0f : d) * 0.5f);
        const int32_t age = positions && j < n - 1 ? p->position - positions[j] : n - 1 - j;
        float s = -(p->scale * d) - p->slope * (float)age;
        if (d > p->max_distance && j < n - 1) s = -INFINITY;
        if (s > top) top = s;
        o[j] = s;
    }
    const float floor = top - p->margin;
    double total = 0.0, total2 = 0.0;
    int passed = 0;
    for (int j = 0; j < n; j++) {
        const float s = o[j];
        if ((s < floor || s == -INFINITY) && j < n - 1) {
            o[j] = 0.0f;
            continue;
        }
        const float a = expf(s - top);
        o[j] = a;
        total += (double)a;
        total2 += (double)a * (double)a;
        passed++;
    }
    *sum = (float)total;
    *sum2 = (float)total2;
    return passed;
}
