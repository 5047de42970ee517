/* telemetry.c - see telemetry.h. */
#include "telemetry.h"

#include "depth.h"
#include "ops/logits.h"

#include <math.h>
#include <string.h>

qig_logit_stats qig_logits_combine(const qig_logit_part *parts, int n_parts) {
    double max = parts[0].max, sum = 0, sum2 = 0;
    for (int i = 1; i < n_parts; i++) max = parts[i].max > max ? parts[i].max : max;
    for (int i = 0; i < n_parts; i++) {
        double w = exp(parts[i].max - max);
        sum += parts[i].sum * w;
        sum2 += parts[i].sum2 * w * w;
    }
    return (qig_logit_stats){ .lse = max + log(sum), .purity = sum2 / (sum * sum) };
}

double qig_logits_moved(const float *now, double now_lse, const float *before, double before_lse, int n) {
    float sum[QIG_LOGIT_LANES] = { 0 }, a = (float)now_lse, b = (float)before_lse;
    const int whole = n - n % QIG_LOGIT_LANES;
    for (int j = 0; j < n; j += QIG_LOGIT_LANES) {
        const int lanes = j < whole ? QIG_LOGIT_LANES : n - whole;
        for (int i = 0; i < lanes; i++) {
            float p = 0.5f * (now[j + i] - a), q = 0.5f * (before[j + i] - b); /* may round to just above 0, which qig_exp_negative bears */
            float moved = qig_exp_negative(p) - qig_exp_negative(q);
            sum[i] += moved * moved;
        }
    }
    double total = 0;
    for (int i = 0; i < QIG_LOGIT_LANES; i++) total += sum[i];
    return total;
}

float qig_coupling(const qig_model *m, int64_t context) {
    double r = 1 + (double)m->coupling_beta * log((double)context / (double)m->coupling_ref);
    if (r < (double)m->coupling_min) r = m->coupling_min;
    if (r > (double)m->coupling_max) r = m->coupling_max;
    return (float)r;
}

static double binary_entropy(double p) {
    if (p <= 0 || p >= 1) return 0;
    return -(p * log2(p) + (1 - p) * log2(1 - p));
}

float qig_gate_distance(float threshold, qig_metric metric) {
    if (threshold <= 0) return INFINITY;
    double lo = -1, hi = 1; /* the coupling rises with the overlap from 0 at -1 to 1 at 1 */
    for (int i = 0; i < 100; i++) {
        double mid = 0.5 * (lo + hi);
        if (1 - binary_entropy((3 + mid) / 4) > (double)threshold) hi = mid;
        else lo = mid;
    }
    double d = sqrt(2 * (1 - hi) + 1e-6);
    return (float)(metric == QIG_METRIC_FISHER_RAO ? 2 * asin((d < 2 ? d : 2) / 2) : d);
}

double qig_cosine(const float *a, const float *b, int n) {
    double ab[4] = { 0 }, aa[4] = { 0 }, bb[4] = { 0 };
    int i = 0;
    for (; i + 4 <= n; i += 4)
        for (int j = 0; j < 4; j++) {
            double x = a[i + j], y = b[i + j];
            ab[j] += x * y;
            aa[j] += x * x;
            bb[j] += y * y;
        }
    for (; i < n; i++) {
        double x = a[i], y = b[i];
        ab[0] += x * y;
        aa[0] += x * x;
        bb[0] += y * y;
    }
    double dot = ab[0] + ab[1] + ab[2] + ab[3], norms = sqrt((aa[0] + aa[1] + aa[2] + aa[3]) * (bb[0] + bb[1] + bb[2] + bb[3]));
    if (norms == 0) return 1;
    double c = dot / norms;
    return c > 1 ? 1 : c < -1 ? -1 : c;
}

double qig_angle(const float *a, const float *b, int n) { return acos(qig_cosine(a, b, n)); }

float qig_confidence(const qig_model *m, double purity, float mean_surprise) {
    const float c = (float)purity * (1 - mean_surprise);
    if (!m->calibrated) return c;
    double held = c < 1e-6f ? 1e-6 : c > 1 - 1e-6f ? 1 - 1e-6 : (double)c;
    return (float)qig_sigmoid((double)m->confidence_scale * log(held / (1 - held)) + (double)m->confidence_bias);
}

float qig_surprise(double log_p) {
    double left = 1 - exp(0.5 * log_p);
    return (float)sqrt(left > 0 ? left : 0);
}
