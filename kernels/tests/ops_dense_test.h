/* ops_dense_test.h - the kernels of dense models alone: softmax and the gate of a feed-forward. Included by test_ops.c, whose helpers it uses. */
#ifndef QIG_OPS_DENSE_TEST_H
#define QIG_OPS_DENSE_TEST_H

/* Weights and sums of n dot products o times scale against float64; where: an index that holds a NaN, or -1. */
static void softmax_case(qig_softmax_fn *softmax, const float *values, int n, float scale, int where) {
    begin_case();
    float *o = guarded_copy(values, (size_t)n * sizeof *o), sum = NAN, sum2 = NAN;
    if (where >= 0) o[where] = NAN;
    double top = -INFINITY, total = 0.0, total2 = 0.0;
    for (int j = 0; j < n; j++)
        if (j != where && (double)(scale * values[j]) > top) top = (double)(scale * values[j]);
    softmax(o, n, scale, &sum, &sum2);
    for (int j = 0; j < n; j++) {
        if (j == where) {
            CHECK(isnan(o[j]), "n %d: a NaN became %g", n, (double)o[j]);
            continue;
        }
        const double want = exp((double)(scale * values[j]) - top);
        CHECK_NEAR(o[j], want, want * (4e-7 + EPS * fmin(fabs((double)(scale * values[j]) - top), 200.0)) + 2e-38, "n %d [%d] = %.9g, want %.9g", n, j, (double)o[j], want);
        total += (double)o[j], total2 += (double)o[j] * (double)o[j];
    }
    if (where >= 0) CHECK(isnan(sum) && isnan(sum2), "n %d: a NaN got lost", n);
    else {
        CHECK_NEAR(sum, total, (n / 8 + 8) * EPS * total, "n %d: sum %.9g, want %.9g", n, (double)sum, total);
        CHECK_NEAR(sum2, total2, (n / 8 + 8) * EPS * total2, "n %d: sum2 %.9g, want %.9g", n, (double)sum2, total2);
    }
    end_case();
    release_buffers();
}

static void test_softmax(any_fn *f) {
    static const int ns[] = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 100, 5000};
    static const float scales[] = {1.0f, 0.125f, 0x1p64f / 8.0f}, sizes[] = {4.0f, 900.0f, 0x1p-60f};
    static float o[5000];
    qig_softmax_fn *softmax = (qig_softmax_fn *)f;
    for (int i = 0; i < (int)(sizeof ns / sizeof *ns); i++)
        for (int s = 0; s < 3; s++)
            for (int kind = 0; kind < 3; kind++) {
                const int n = ns[i];
                for (int j = 0; j < n; j++) o[j] = kind == 1 ? 0.25f * sizes[s] : sizes[s] * rng_float();
                if (kind == 2 && n > 2) o[n / 3] = -INFINITY; /* what is impossible weighs nothing */
                softmax_case(softmax, o, n, scales[s], -1);
                if (n > 1) softmax_case(softmax, o, n, scales[s], rng_int(0, n - 1));
            }
}

static void test_swiglu(any_fn *f) {
    static const float special[] = {0.0f, -0.0f, 100.0f, -100.0f, 1e30f, -1e30f, 88.0f, -86.5f, 1e-30f};
    qig_swiglu_fn *swiglu = (qig_swiglu_fn *)f;
    for (int i = 0; i < N_LENGTHS; i++) {
        const int n = lengths[i];
        begin_case();
        float *x = random_floats(n, 3.0f), *g = random_floats(n, 12.0f);
        for (int j = 0; j < n && j < (int)(sizeof special / sizeof *special); j++) g[n - 1 - j] = special[j];
        if (n > 20) g[17] = NAN, x[18] = NAN;
        float *y = guarded_copy(x, (size_t)n * sizeof *x), *z = guarded_copy(x, (size_t)n * sizeof *x);
        swiglu(y, g, n);
        for (int j = 0; j < n; j++) {
            const double v = (double)g[j], want = (double)x[j] * v * (v < 0 ? exp(v) / (1.0 + exp(v)) : 1.0 / (1.0 + exp(-v)));
            if (n > 20 && (j == 17 || j == 18)) CHECK(isnan(y[j]), "n %d: a NaN became %g", n, (double)y[j]);
            else CHECK_NEAR(y[j], want, 1e-6 * fabs(want) + 1e-35, "n %d: x %g gate %g gave %.9g, want %.9g", n, (double)x[j], v, (double)y[j], want);
        }
        for (int j = 0; j < n; j++) swiglu(z + j, g + j, 1); /* an element does not hang on where it stands */
        CHECK(!memcmp(y, z, (size_t)n * sizeof *y), "n %d: one by one differs", n);
        end_case();
        release_buffers();
    }
}

#endif
