/* depth.c - see depth.h. */
#include "depth.h"

#include <math.h>

qig_regime_memory qig_regime_start(const qig_depth *x) {
    return (qig_regime_memory){ .mean = ((double)x->low + (double)x->high) / 2, .regime = QIG_GEOMETRIC };
}

qig_regime_memory qig_regime_next(const qig_depth *x, qig_regime_memory before, double phi) {
    const double low = x->low, high = x->high, h = x->hysteresis, m = before.mean + (double)x->smoothing * (phi - before.mean);
    int32_t to = QIG_GEOMETRIC;
    if (before.regime == QIG_LINEAR) to = m >= high + h ? QIG_BREAKDOWN : m >= low + h ? QIG_GEOMETRIC : QIG_LINEAR;
    if (before.regime == QIG_GEOMETRIC) to = m < low - h ? QIG_LINEAR : m >= high + h ? QIG_BREAKDOWN : QIG_GEOMETRIC;
    if (before.regime == QIG_BREAKDOWN) to = m < low - h ? QIG_LINEAR : m < high - h ? QIG_GEOMETRIC : QIG_BREAKDOWN;
    return (qig_regime_memory){ .mean = m, .regime = to };
}

int qig_regime_goes_on(const qig_depth *x, int32_t regime, double angle) {
    return regime == QIG_GEOMETRIC || (regime == QIG_BREAKDOWN && angle >= (double)x->curvature);
}

int qig_exit_compares(const qig_depth *x, int32_t e) { return x->exit_thresholds[e] > 0 && (x->exit_rule == QIG_EXIT_PROBE || e > 0); }

int qig_exit_looks(const qig_depth *x, int32_t e) {
    const int next = x->exit_rule == QIG_EXIT_BURES && e + 1 < x->n_exits && x->exit_thresholds[e + 1] > 0;
    return x->collapse > 0 || qig_exit_compares(x, e) || next;
}

int32_t qig_dense_caches(const qig_model *m) {
    const qig_depth *x = &m->depth;
    if (x->regime) return x->mandatory;
    for (int32_t e = 0; e < x->n_exits; e++)
        if (x->collapse > 0 || qig_exit_compares(x, e)) return x->exit_blocks[e];
    return m->n_layers + x->min_loops;
}

double qig_sigmoid(double x) { return 1 / (1 + exp(-x)); }
