/* ops_attention_test.h - the kernels of attention over a cache: overlaps, scores and the mix of values. Included by test_ops.c, whose helpers it uses. */
#ifndef QIG_OPS_ATTENTION_TEST_H
#define QIG_OPS_ATTENTION_TEST_H

static const int widths[] = {1, 2, 15, 16, 31, 32, 33, 64, 72, 77, 99, 128, 191, 256, 260};
static const int key_counts[] = {0, 1, 2, 3, 4, 5, 7, 9, 15, 16, 17, 33};
enum { N_WIDTHS = sizeof widths / sizeof *widths, N_KEY_COUNTS = sizeof key_counts / sizeof *key_counts };

static size_t span(int n, size_t stride, int c) { return n ? (size_t)(n - 1) * stride + (size_t)c : 0; }

static void test_overlap_i8(any_fn *f) {
    qig_overlap_i8_fn *overlap = (qig_overlap_i8_fn *)f;
    for (int i = 0; i < N_WIDTHS; i++)
        for (int m = 0; m < N_KEY_COUNTS; m++)
            for (int extreme = 0; extreme < 2; extreme++) {
                const int c = widths[i], n = key_counts[m];
                const size_t stride = (size_t)c + (size_t)rng_int(0, 1) * 13;
                begin_case();
                int8_t *q = guarded((size_t)c), *k = guarded(span(n, stride, c));
                float *ks = guarded((size_t)n * sizeof *ks), *o = guarded((size_t)n * sizeof *o);
                for (int e = 0; e < c; e++) q[e] = (int8_t)(extreme ? (rng() & 1 ? 127 : -127) : rng_int(-127, 127));
                for (size_t e = 0; e < span(n, stride, c); e++) k[e] = (int8_t)(extreme ? (rng() & 1 ? 127 : -128) : rng_int(-127, 127));
                for (int j = 0; j < n; j++) ks[j] = extreme ? 0x1p-24f : 0.003f * (1.1f + rng_float());
                const float qs = extreme ? 1.0f : 0.004f;
                overlap(q, qs, k, stride, ks, c, n, o);
                for (int j = 0; j < n; j++) {
                    int32_t s = 0;
                    for (int e = 0; e < c; e++) s += q[e] * k[(size_t)j * stride + (size_t)e];
                    const float v = qs * ks[j] * (float)s, want = v > 1.0f ? 1.0f : v;
                    CHECK(same_bits(o[j], want), "c %d n %d key %d: %.9g, want %.9g", c, n, j, (double)o[j], (double)want);
                }
                if (n) {
                    ks[n / 2] = NAN;
                    overlap(q, qs, k, stride, ks, c, n, o);
                    for (int j = 0; j < n; j++) CHECK(!isnan(o[j]) == (j != n / 2), "c %d n %d: NaN scale at %d, o[%d] = %g", c, n, n / 2, j, (double)o[j]);
                }
                end_case();
                release_buffers();
            }
}

static void test_overlap_f32(any_fn *f) {
    qig_overlap_f32_fn *overlap = (qig_overlap_f32_fn *)f;
    for (int i = 0; i < N_WIDTHS; i++)
        for (int m = 0; m < N_KEY_COUNTS; m++) {
            const int c = widths[i], n = key_counts[m];
            const size_t stride = (size_t)c + (size_t)rng_int(0, 1) * 13;
            begin_case();
            float *q = random_floats(c, 0.5f), *k = random_floats((int)span(n, stride, c), 0.5f), *o = guarded((size_t)n * sizeof *o);
            if (n > 1)
                for (int e = 0; e < c; e++) k[e] = q[e] < 0.0f ? -9.0f : 9.0f; /* key 0 overlaps beyond 1 and is clipped */
            overlap(q, k, stride, c, n, o);
            for (int j = 0; j < n; j++) {
                double want = 0.0, size = 0.0;
                for (int e = 0; e < c; e++) {
                    const double p = (double)q[e] * (double)k[(size_t)j * stride + (size_t)e];
                    want += p, size += fabs(p);
                }
                CHECK_NEAR(o[j], fmin(1.0, want), (c / 8 + 8) * EPS * size, "c %d n %d key %d: %.9g, want %.9g", c, n, j, (double)o[j], want);
                CHECK(o[j] <= 1.0f, "c %d: overlap %.9g", c, (double)o[j]);
            }
            if (n) {
                q[c - 1] = NAN;
                overlap(q, k, stride, c, n, o);
                for (int j = 0; j < n; j++) CHECK(isnan(o[j]), "c %d n %d: a NaN query gave %g", c, n, (double)o[j]);
            }
            end_case();
            release_buffers();
        }
}

/* The weights of n overlaps in float64, whether a pair is so near a gate that float rounding may decide it, and how far rounding may move each score:
 * four roundings of the largest score and, near d = 2 where asin is steep, the roundings of d times its slope. */
static void score_oracle(const float *o, int n, const qig_score_params *p, double *a, int *near_gate, double *slack) {
    const double oldest = p->positions && n > 1 ? (double)p->position - p->positions[0] : n;
    double top = -INFINITY, *s = a;
    for (int j = 0; j < n; j++) {
        double d = sqrt(fmax(0.0, 2.0 * (1.0 - (double)o[j])) + 1e-6);
        slack[j] = 4.0 * EPS * ((double)p->scale * 3.2 + (double)p->slope * oldest);
        if (p->metric == QIG_METRIC_FISHER_RAO) {
            const double h = fmin(d, 2.0) / 2.0;
            slack[j] += (double)p->scale * 2.0 * EPS / sqrt(fmax(1.0 - h * h, EPS));
            d = 2.0 * asin(h);
        }
        const double age = j == n - 1 ? 0.0 : p->positions ? (double)p->position - p->positions[j] : n - 1 - j;
        s[j] = -(double)p->scale * d - (double)p->slope * age;
        near_gate[j] = fabs(d - (double)p->max_distance) < 1e-5;
        if (d > (double)p->max_distance && j < n - 1) s[j] = -INFINITY;
        if (s[j] > top) top = s[j];
    }
    for (int j = 0; j < n; j++) {
        near_gate[j] |= fabs(s[j] - (top - (double)p->margin)) < 1e-5 * (1.0 + fabs(s[j]));
        a[j] = s[j] < top - (double)p->margin && j < n - 1 ? 0.0 : exp(s[j] - top);
    }
}

enum { MAX_KEYS = 5000 };

static void score_case(qig_score_fn *score, const float *overlaps, int n, const qig_score_params *params) {
    static double want[MAX_KEYS], slack[MAX_KEYS];
    static int near_gate[MAX_KEYS];
    begin_case();
    qig_score_params copy = *params; /* positions of the others only: the own pair's must not be read */
    if (params->positions) copy.positions = guarded_copy(params->positions, (size_t)(n ? n - 1 : 0) * sizeof *copy.positions);
    const qig_score_params *const p = &copy;
    float *o = guarded_copy(overlaps, (size_t)n * sizeof *o), *r = guarded_copy(overlaps, (size_t)n * sizeof *r), sum = NAN, sum2 = NAN, rsum, rsum2;
    const int passed = score(o, n, p, &sum, &sum2), ref_passed = qig_score__ref(r, n, p, &rsum, &rsum2);
    score_oracle(overlaps, n, p, want, near_gate, slack);
    double total = 0.0, total2 = 0.0;
    int low = 0, high = 0;
    for (int j = 0; j < n; j++) {
        const double tol = want[j] * (1e-6 + slack[j]) + 1e-37;
        if (near_gate[j] && o[j] == 0.0f) high++;
        else {
            CHECK_NEAR(o[j], near_gate[j] && want[j] == 0.0 ? (double)o[j] : want[j], tol, "n %d pair %d: %.9g, want %.9g", n, j, (double)o[j], want[j]);
            low += o[j] != 0.0f, high += o[j] != 0.0f || (want[j] > 0.0 && want[j] < 1e-36);
        }
        if (p->metric == QIG_METRIC_BURES) { /* s is the same bits everywhere: the same pairs are cut, and only exp differs */
            CHECK(r[j] > 0.0f ? o[j] > 0.0f || r[j] < 2e-38f : o[j] == 0.0f, "n %d pair %d: %g where ref has %g", n, j, (double)o[j], (double)r[j]);
            CHECK_NEAR(o[j], r[j], 3e-7 * (double)r[j] + 2e-38, "n %d pair %d: %.9g where ref has %.9g", n, j, (double)o[j], (double)r[j]);
        }
        total += (double)o[j], total2 += (double)o[j] * (double)o[j];
    }
    if (p->metric == QIG_METRIC_BURES) CHECK(passed == ref_passed, "n %d: %d pairs passed, ref counts %d", n, passed, ref_passed);
    CHECK(passed >= low && passed <= n && (isfinite(p->margin) ? passed <= high : 1), "n %d: %d pairs counted, %d..%d seen", n, passed, low, high);
    CHECK_NEAR(sum, total, (n / 8 + 8) * EPS * total, "n %d: sum %.9g, want %.9g", n, (double)sum, total);
    CHECK_NEAR(sum2, total2, (n / 8 + 8) * EPS * total2, "n %d: sum2 %.9g, want %.9g", n, (double)sum2, total2);
    end_case();
    release_buffers();
}

static void test_score(any_fn *f) {
    static const int ns[] = {0, 1, 2, 3, 7, 8, 9, 10, 15, 16, 17, 32, 33, 100, 300};
    static float o[MAX_KEYS];
    static int32_t positions[MAX_KEYS];
    qig_score_fn *score = (qig_score_fn *)f;
    for (int i = 0; i < (int)(sizeof ns / sizeof *ns); i++)
        for (int v = 0; v < 48; v++) {
            const int n = ns[i], ties = v >= 32, wide = v >= 16;
            qig_score_params p = {.metric = v & 1 ? QIG_METRIC_FISHER_RAO : QIG_METRIC_BURES, .scale = wide ? 4.0f : 12.0f, .slope = v & 2 ? 0.04f : 0.0f,
                                  .max_distance = v & 4 ? 1.3f : INFINITY, .margin = v & 8 ? 5.0f : INFINITY};
            for (int j = 0; j < n; j++) o[j] = v >= 40 ? -1.0f : ties ? 0.25f : rng_float();
            if (n > 1 && !ties) o[0] = 1.0f, o[n / 2] = wide ? -1.0f : 1.0f;
            score_case(score, o, n, &p);
            p.positions = positions; /* keys with gaps of 1 to 9 */
            p.position = positions[0] = rng_int(0, 5);
            for (int j = 1; j < n; j++) p.position = positions[j] = positions[j - 1] + rng_int(1, 9);
            score_case(score, o, n, &p);
        }
    for (int n = 1; n < 40; n++) { /* positions without gaps are no positions: bit for bit */
        begin_case();
        qig_score_params p = {.metric = (qig_metric)(n & 1), .scale = 6.0f, .slope = 0.07f, .max_distance = n & 2 ? 1.4f : INFINITY, .margin = n & 4 ? 3.0f : INFINITY};
        float a[40], b[40], sum, sum2, s, s2;
        for (int j = 0; j < n; j++) a[j] = b[j] = rng_float(), positions[j] = 1000 + j;
        const int passed = score(a, n, &p, &sum, &sum2);
        p.positions = positions, p.position = 1000 + n - 1;
        CHECK(score(b, n, &p, &s, &s2) == passed && same_bits(s, sum) && same_bits(s2, sum2) && !memcmp(a, b, (size_t)n * sizeof *a), "n %d: positions without gaps differ", n);
        end_case();
    }
    for (int metric = 0; metric < 2; metric++) { /* exp over its whole range, asin over its whole range */
        const qig_score_params decay = {.metric = (qig_metric)metric, .scale = 1e-3f, .slope = 95.0f / MAX_KEYS, .max_distance = INFINITY, .margin = INFINITY};
        const qig_score_params flat = {.metric = (qig_metric)metric, .scale = 10.0f, .max_distance = INFINITY, .margin = INFINITY};
        for (int j = 0; j < MAX_KEYS; j++) o[j] = -1.0f + 2.0f * (float)j / (MAX_KEYS - 1);
        score_case(score, o, MAX_KEYS, &decay);
        score_case(score, o, MAX_KEYS, &flat);
    }
}

/* One case for either type of cache: vs NULL is float. */
static void mix_case(qig_mix_i8_fn *i8, qig_mix_f32_fn *f32, int c, int n) {
    const int spread = i8 ? rng_int(0, 2) : 0; /* 0: rows one after the other; else rows of their own numbers, with gaps, that many at most */
    const int n_rows = n * (spread + 1);
    const size_t stride = (size_t)c + (size_t)rng_int(0, 1) * 13, entries = span(n_rows, stride, c);
    begin_case();
    float *a = random_floats(n, 1.0f), *vs = random_floats(n_rows, 0.1f), *v = random_floats(f32 ? (int)entries : 0, 1.0f), *out = guarded((size_t)c * sizeof *out);
    int8_t *q = guarded(i8 ? entries : 0);
    for (size_t e = 0; i8 && e < entries; e++) q[e] = (int8_t)rng_int(-128, 127);
    int32_t *rows = spread ? guarded((size_t)n * sizeof *rows) : NULL;
    for (int j = 0; spread && j < n; j++) rows[j] = j * (spread + 1) + rng_int(0, spread);
    for (int j = 0; j < n; j += 3) a[j] = 0.0f;
    for (int j = 40; j < n - 40; j++) /* runs of zeros longer than a register, as gates leave them */
        if (j / 40 & 1) a[j] = 0.0f;
    if (n) { /* a row of weight zero is not read: not even a NaN shows */
        vs[spread ? rows[0] : 0] = NAN;
        if (f32) v[c / 2] = NAN;
    }
    if (i8) i8(a, rows, q, stride, vs, c, n, out);
    else f32(a, v, stride, c, n, out);
    for (int e = 0; e < c; e++) {
        double want = 0.0, size = 0.0;
        for (int j = 0; j < n; j++) {
            if (a[j] == 0.0f) continue;
            const int r = spread ? rows[j] : j;
            const size_t at = (size_t)r * stride + (size_t)e;
            const double p = i8 ? (double)(a[j] * vs[r]) * q[at] : (double)a[j] * (double)v[at];
            want += p, size += fabs(p);
        }
        CHECK_NEAR(out[e], want, n * 0.5 * EPS * 1.5 * size, "c %d n %d: out[%d] = %.9g, want %.9g", c, n, e, (double)out[e], want);
    }
    if (n > 1) {
        a[1] = NAN;
        if (i8) i8(a, rows, q, stride, vs, c, n, out);
        else f32(a, v, stride, c, n, out);
        for (int e = 0; e < c; e++) CHECK(isnan(out[e]), "c %d n %d: a NaN weight gave %g", c, n, (double)out[e]);
    }
    end_case();
    release_buffers();
}
static void test_mix_i8(any_fn *f) {
    for (int i = 0; i < N_WIDTHS; i++) {
        for (int m = 0; m < N_KEY_COUNTS; m++) mix_case((qig_mix_i8_fn *)f, NULL, widths[i], key_counts[m]);
        for (int n = 255; n < 258; n++) mix_case((qig_mix_i8_fn *)f, NULL, widths[i], n); /* a kernel may go by blocks of keys */
        mix_case((qig_mix_i8_fn *)f, NULL, widths[i], 530);
    }
}
static void test_mix_f32(any_fn *f) {
    for (int i = 0; i < N_WIDTHS; i++)
        for (int m = 0; m < N_KEY_COUNTS; m++) mix_case(NULL, (qig_mix_f32_fn *)f, widths[i], key_counts[m]);
}

#endif
