/* ops_not_finite_test.h - NaN and infinities in every argument of every kernel. Included by test_ops.c, which has a not_finite_<op> in its table for every
 * line of kernels.inc: without one it does not compile.
 *
 * What depends on the bad value comes out as ref has it: NaN, an infinity of the same sign, or a number (ops.h says where only "not finite" is promised). What
 * does not depend on it keeps every bit. Buffers lie between guard pages here too: what an index or a length is made of must not follow from a NaN.
 */
#ifndef QIG_OPS_NOT_FINITE_TEST_H
#define QIG_OPS_NOT_FINITE_TEST_H

static const float BAD[] = {NAN, INFINITY, -INFINITY};
enum { N_BAD = 3 };

/* 0 for a number, else which of BAD it is, from 1 on. */
static int kind_of(float x) { return isnan(x) ? 1 : isinf(x) ? (x > 0 ? 2 : 3) : 0; }

#define CHECK_KIND(got, want, ...) CHECK(kind_of(got) == kind_of(want), __VA_ARGS__)

/* --- products ----------------------------------------------------------------------------------------------------------------------- */

/* Puts a value into the weights of a row: the scale of block `at`, or weight `at` of a plain row. second: Q4_1's minimum in place of its scale. */
static void spoil_weight(weight_type t, char *row, int at, int second, float bad) {
    const uint16_t half = isnan(bad) ? 0x7e00 : bad > 0 ? 0x7c00 : 0xfc00;
    char *p = row + (size_t)at * blocks[t].bytes + blocks[t].scale + (second ? 2 : 0);
    if (t == F32) memcpy(p, &bad, sizeof bad);
    else memcpy(p, &half, sizeof half);
}

/* Whether y is what a product or sum with a bad operand may be: as ref has it, or with quantized weights, whose integers are summed in other parts there, not finite. */
static int spoilt(weight_type t, float bad, float y, float ref) { return t <= Q8_0 ? isnan(bad) ? isnan(y) : !isfinite(y) : kind_of(y) == kind_of(ref); }

/* One bad value in the weights of one row, or in the input of one token. */
static void spoilt_matmul(qig_matmul_fn *matmul, qig_matmul_fn *ref, weight_type t, int k, int rows, int n, int where, float bad) {
    const size_t wb = weight_row_bytes(t, k), xb = input_row_bytes(t, k), bytes = (size_t)(rows * n) * sizeof(float);
    const int row = rng_int(0, rows - 1), token = rng_int(0, n - 1), second = t == Q4_1 && where == 1;
    begin_case();
    char *w = guarded((size_t)rows * wb), *x = guarded((size_t)n * xb);
    float *clean = guarded(bytes), *y = guarded(bytes), *r = guarded(bytes);
    for (int i = 0; i < rows; i++) fill_weights(t, w + (size_t)i * wb, k, RANDOM);
    for (int i = 0; i < n; i++) fill_input(t, x + (size_t)i * xb, k, RANDOM);
    matmul(w, wb, x, xb, clean, (size_t)rows, k, 0, rows, n);
    if (where < 2) spoil_weight(t, w + (size_t)row * wb, rng_int(0, k / blocks[t].weights - 1), second, bad);
    else if (t <= Q8_0) ((qig_block_a8 *)(void *)(x + (size_t)token * xb))[rng_int(0, k / 32 - 1)].d = bad;
    else ((float *)(void *)(x + (size_t)token * xb))[rng_int(0, k - 1)] = bad;
    matmul(w, wb, x, xb, y, (size_t)rows, k, 0, rows, n);
    ref(w, wb, x, xb, r, (size_t)rows, k, 0, rows, n);
    for (int j = 0; j < n; j++)
        for (int i = 0; i < rows; i++) {
            const int at = j * rows + i;
            if (where < 2 ? i == row : j == token) CHECK(spoilt(t, bad, y[at], r[at]), "k %d %d rows n %d: %g in %s gave %g", k, rows, n, (double)bad, where < 2 ? "the row" : "the input", (double)y[at]);
            else CHECK(same_bits(y[at], clean[at]), "k %d %d rows n %d: %g reached row %d of token %d", k, rows, n, (double)bad, i, j);
        }
    end_case();
    release_buffers();
}

static void not_finite_matmul(any_fn *f, qig_matmul_fn *ref, weight_type t) {
    /* fewer rows than a tile, a tile and some that overlap it; tokens alone, by pairs, and more than a tile has */
    static const int rows[] = {3, 16, 21}, tokens[] = {1, 2, 5, 9}, quantized_k[] = {32, 96, 416}, super_k[] = {256, 512, 768}, plain_k[] = {1, 33, 77};
    const int *ks = t == Q6_K ? super_k : t <= Q8_0 ? quantized_k : plain_k;
    for (int i = 0; i < 3; i++)
        for (int r = 0; r < 3; r++)
            for (int n = 0; n < 4; n++)
                for (int b = 0; b < N_BAD; b++)
                    for (int where = 0; where < 3; where++)
                        if (where != 1 || t == Q4_1) spoilt_matmul((qig_matmul_fn *)f, ref, t, ks[i], rows[r], tokens[n], where, BAD[b]);
}
static void not_finite_matmul_q4_0(any_fn *f) { not_finite_matmul(f, qig_matmul_q4_0__ref, Q4_0); }
static void not_finite_matmul_q4_1(any_fn *f) { not_finite_matmul(f, qig_matmul_q4_1__ref, Q4_1); }
static void not_finite_matmul_q6_k(any_fn *f) { not_finite_matmul(f, qig_matmul_q6_k__ref, Q6_K); }
static void not_finite_matmul_q8_0(any_fn *f) { not_finite_matmul(f, qig_matmul_q8_0__ref, Q8_0); }
static void not_finite_matmul_f16(any_fn *f) { not_finite_matmul(f, qig_matmul_f16__ref, F16); }
static void not_finite_matmul_f32(any_fn *f) { not_finite_matmul(f, qig_matmul_f32__ref, F32); }

/* A bad weight in a listed row reaches the columns of its block, a bad factor all columns, a bad weight in another row nothing. */
static void spoilt_sum_rows(qig_sum_rows_fn *sum_rows, qig_sum_rows_fn *ref, weight_type t, int d, int n, int where, float bad) {
    enum { ROWS = 20 };
    const size_t wb = weight_row_bytes(t, d), bytes = (size_t)d * sizeof(float);
    const int width = blocks[t].weights, block = rng_int(0, d / width - 1), which = rng_int(0, n - 1);
    begin_case();
    char *w = guarded(ROWS * wb);
    int32_t *units = guarded((size_t)n * sizeof *units);
    float *a = guarded((size_t)n * sizeof *a), *clean = guarded(bytes), *y = guarded(bytes), *r = guarded(bytes);
    for (int i = 0; i < ROWS; i++) fill_weights(t, w + (size_t)i * wb, d, RANDOM);
    for (int i = 0; i < n; i++) units[i] = 2 * i + 1, a[i] = 1.5f + rng_float();
    sum_rows(w, wb, units, a, n, clean, 0, d);
    if (where == 0) a[which] = bad;
    else spoil_weight(t, w + (size_t)(where == 1 ? units[which] : 2 * which) * wb, block, 0, bad);
    sum_rows(w, wb, units, a, n, y, 0, d);
    ref(w, wb, units, a, n, r, 0, d);
    for (int c = 0; c < d; c++) {
        if (where == 0 || (where == 1 && c / width == block)) CHECK(spoilt(t, bad, y[c], r[c]), "d %d n %d: %g gave %g in column %d, ref has %g", d, n, (double)bad, (double)y[c], c, (double)r[c]);
        else CHECK(same_bits(y[c], clean[c]), "d %d n %d: %g reached column %d", d, n, (double)bad, c);
    }
    end_case();
    release_buffers();
}

static void not_finite_sum_rows(any_fn *f, qig_sum_rows_fn *ref, weight_type t) {
    static const int quantized_d[] = {32, 64, 96, 416}, plain_d[] = {1, 8, 33, 77};
    for (int i = 0; i < 4; i++)
        for (int n = 1; n < 10; n++)
            for (int b = 0; b < N_BAD; b++)
                for (int where = 0; where < 3; where++) spoilt_sum_rows((qig_sum_rows_fn *)f, ref, t, (t <= Q8_0 ? quantized_d : plain_d)[i], n, where, BAD[b]);
}
static void not_finite_sum_rows_q4_0(any_fn *f) { not_finite_sum_rows(f, qig_sum_rows_q4_0__ref, Q4_0); }
static void not_finite_sum_rows_q8_0(any_fn *f) { not_finite_sum_rows(f, qig_sum_rows_q8_0__ref, Q8_0); }
static void not_finite_sum_rows_f16(any_fn *f) { not_finite_sum_rows(f, qig_sum_rows_f16__ref, F16); }
static void not_finite_sum_rows_f32(any_fn *f) { not_finite_sum_rows(f, qig_sum_rows_f32__ref, F32); }

static void not_finite_quantize_a8(any_fn *f) {
    enum { K = 96 };
    for (int at = 0; at < K; at++)
        for (int b = 0; b < N_BAD; b++) {
            begin_case();
            float *x = random_floats(K, 1.0f);
            qig_block_a8 *y = guarded(K / 32 * sizeof *y), want[K / 32];
            x[at] = BAD[b];
            if (at % 32 != 31) x[at + 1] = BAD[(b + 1) % N_BAD]; /* two in one block */
            ((qig_quantize_a8_fn *)f)(x, y, K);
            qig_quantize_a8__ref(x, want, K);
            for (int i = 0; i < K / 32; i++) {
                CHECK((i == at / 32) == !!isnan(y[i].d) && same_bits(y[i].d, want[i].d), "%g at %d: d of block %d is %g", (double)BAD[b], at, i, (double)y[i].d);
                CHECK(!memcmp(y[i].qs, want[i].qs, sizeof y[i].qs), "%g at %d: block %d differs from ref", (double)BAD[b], at, i);
            }
            end_case();
            release_buffers();
        }
}

/* --- vectors ------------------------------------------------------------------------------------------------------------------------ */

static const int bad_lengths[] = {1, 7, 8, 17, 33};
enum { N_BAD_LENGTHS = sizeof bad_lengths / sizeof *bad_lengths };

/* For each place of each length, each bad value, in one of two operands. */
#define EACH_BAD(n, at, b, second)                                                           \
    for (const int *length = bad_lengths; length < bad_lengths + N_BAD_LENGTHS; length++)    \
        for (int n = *length, at = 0; at < n; at++)                                          \
            for (int b = 0; b < N_BAD; b++)                                                  \
                for (int second = 0; second < 2; second++)

static void not_finite_rmsnorm(any_fn *f) {
    qig_rmsnorm_fn *rmsnorm = (qig_rmsnorm_fn *)f;
    EACH_BAD(n, at, b, gain) {
        begin_case();
        float *x = random_floats(n, 1.0f), *g = random_floats(n, 2.0f), *y = guarded((size_t)n * sizeof *y), *clean = guarded((size_t)n * sizeof *y), *want = guarded((size_t)n * sizeof *y);
        rmsnorm(x, g, clean, n, 1e-5f);
        (gain ? g : x)[at] = BAD[b];
        rmsnorm(x, g, y, n, 1e-5f);
        qig_rmsnorm__ref(x, g, want, n, 1e-5f);
        for (int i = 0; i < n; i++) {
            CHECK_KIND(y[i], want[i], "n %d: %g at %d gave %g at %d, ref has %g", n, (double)BAD[b], at, (double)y[i], i, (double)want[i]);
            if (gain && i != at) CHECK(same_bits(y[i], clean[i]), "n %d: a gain of %g at %d reached %d", n, (double)BAD[b], at, i);
        }
        rmsnorm(x, g, x, n, 1e-5f);
        for (int i = 0; i < n; i++) CHECK(same_bits(x[i], y[i]), "n %d: in place differs", n);
        end_case();
        release_buffers();
    }
    begin_case(); /* squares that leave float32 */
    float *x = random_floats(33, 1.0f), *g = random_floats(33, 1.0f), *y = guarded(33 * sizeof *y);
    for (int i = 0; i < 33; i++) x[i] = 1e30f * (2.0f + x[i]);
    rmsnorm(x, g, y, 33, 1e-5f);
    for (int i = 0; i < 33; i++) CHECK(y[i] == 0.0f || !!(fabsf(y[i]) < 2.0f), "a large vector gave %g", (double)y[i]);
    end_case();
    release_buffers();
}

/* relu2 and add give the bits of ref. */
static void not_finite_relu2(any_fn *f) {
    EACH_BAD(n, at, b, both) {
        begin_case();
        float *x = random_floats(n, 2.0f);
        x[at] = BAD[b];
        if (both) x[n - 1] = BAD[(b + 1) % N_BAD];
        float *y = guarded_copy(x, (size_t)n * sizeof *x);
        ((qig_relu2_fn *)f)(x, n);
        qig_relu2__ref(y, n);
        for (int i = 0; i < n; i++) CHECK(same_bits(x[i], y[i]), "n %d: %g at %d gave %g at %d, ref has %g", n, (double)BAD[b], at, (double)x[i], i, (double)y[i]);
        end_case();
        release_buffers();
    }
}
static void not_finite_add(any_fn *f) {
    EACH_BAD(n, at, b, both) {
        begin_case();
        float *x = random_floats(n, 2.0f), *y = random_floats(n, 2.0f);
        x[at] = BAD[b];
        if (both) y[at] = BAD[(b + 1) % N_BAD];
        float *z = guarded_copy(y, (size_t)n * sizeof *y);
        ((qig_add_fn *)f)(y, x, n);
        qig_add__ref(z, x, n);
        for (int i = 0; i < n; i++) CHECK(same_bits(y[i], z[i]), "n %d: %g at %d gave %g at %d, ref has %g", n, (double)BAD[b], at, (double)y[i], i, (double)z[i]);
        end_case();
        release_buffers();
    }
}

static void not_finite_swiglu(any_fn *f) {
    EACH_BAD(n, at, b, gate) {
        begin_case();
        float *x = random_floats(n, 3.0f), *g = random_floats(n, 12.0f), *clean = guarded_copy(x, (size_t)n * sizeof *x);
        ((qig_swiglu_fn *)f)(clean, g, n);
        (gate ? g : x)[at] = BAD[b];
        float *y = guarded_copy(x, (size_t)n * sizeof *x);
        qig_swiglu__ref(x, g, n);
        ((qig_swiglu_fn *)f)(y, g, n);
        for (int i = 0; i < n; i++) {
            if (i == at) CHECK_KIND(y[i], x[i], "n %d: a %s of %g gave %g, ref has %g", n, gate ? "gate" : "value", (double)BAD[b], (double)y[i], (double)x[i]);
            else CHECK(same_bits(y[i], clean[i]), "n %d: %g at %d reached %d", n, (double)BAD[b], at, i);
        }
        end_case();
        release_buffers();
    }
}

static void not_finite_dot(any_fn *f) {
    EACH_BAD(n, at, b, two) {
        begin_case();
        float *x = random_floats(n, 1.0f), *y = random_floats(n, 1.0f);
        x[at] = BAD[b];
        if (two) y[(at + 5) % n] = BAD[(b + 1) % N_BAD]; /* infinities that cancel, too */
        const float got = ((qig_dot_fn *)f)(x, y, n), want = qig_dot__ref(x, y, n);
        CHECK_KIND(got, want, "n %d: %g at %d gave %g, ref has %g", n, (double)BAD[b], at, (double)got, (double)want);
        end_case();
        release_buffers();
    }
}

/* The bits of ref, here too. all: what every logit is. */
static void logits_case(any_fn *f, int n, int at, float bad, int all) {
    qig_logit_part got, want;
    begin_case();
    float *l = random_floats(n, 30.0f);
    for (int i = 0; i < n && all; i++) l[i] = bad;
    l[at] = all ? l[at] : bad;
    ((qig_logit_part_fn *)f)(l, n, &got);
    qig_logit_part__ref(l, n, &want);
    CHECK(same_bits(got.max, want.max) && same_bits(got.sum, want.sum) && same_bits(got.sum2, want.sum2), "n %d: %g gave %g %g %g, ref has %g %g %g", n, (double)bad,
          (double)got.max, (double)got.sum, (double)got.sum2, (double)want.max, (double)want.sum, (double)want.sum2);
    end_case();
    release_buffers();
}

static void not_finite_logit_part(any_fn *f) {
    EACH_BAD(n, at, b, all) logits_case(f, n, at, BAD[b], all);
}

/* --- attention ---------------------------------------------------------------------------------------------------------------------- */

static void not_finite_overlap_i8(any_fn *f) {
    static const int cs[] = {1, 32, 64, 77, 128}, ns[] = {1, 3, 16, 21};
    for (int i = 0; i < 5; i++)
        for (int m = 0; m < 4; m++)
            for (int b = 0; b < N_BAD; b++)
                for (int where = 0; where < 4; where++) { /* a key's scale, the query's, of a query of zeros, both */
                    const int c = cs[i], n = ns[m];
                    begin_case();
                    int8_t *q = guarded((size_t)c), *k = guarded((size_t)(n * c));
                    float *ks = random_floats(n, 0.01f), *o = guarded((size_t)n * sizeof *o), *want = guarded((size_t)n * sizeof *o);
                    for (int e = 0; e < c; e++) q[e] = (int8_t)(where == 2 ? 0 : rng_int(-127, 127));
                    for (int e = 0; e < n * c; e++) k[e] = (int8_t)rng_int(-127, 127);
                    if (where % 3 == 0) ks[rng_int(0, n - 1)] = BAD[b];
                    const float qs = where ? BAD[(b + (where == 3)) % N_BAD] : 0.01f;
                    ((qig_overlap_i8_fn *)f)(q, qs, k, (size_t)c, ks, c, n, o);
                    qig_overlap_i8__ref(q, qs, k, (size_t)c, ks, c, n, want);
                    for (int j = 0; j < n; j++) CHECK(same_bits(o[j], want[j]), "c %d n %d: %g gave %g for key %d, ref has %g", c, n, (double)BAD[b], (double)o[j], j, (double)want[j]);
                    end_case();
                    release_buffers();
                }
}

static void not_finite_overlap_f32(any_fn *f) {
    EACH_BAD(c, at, b, key)
    for (int n = 1; n < 7; n += 2) {
        begin_case();
        float *q = random_floats(c, 0.3f), *k = random_floats(n * c, 0.3f), *clean = guarded((size_t)n * sizeof *q), *o = guarded((size_t)n * sizeof *q), *want = guarded((size_t)n * sizeof *q);
        const int bad = rng_int(0, n - 1);
        ((qig_overlap_f32_fn *)f)(q, k, (size_t)c, c, n, clean);
        *(key ? k + bad * c + at : q + at) = BAD[b];
        ((qig_overlap_f32_fn *)f)(q, k, (size_t)c, c, n, o);
        qig_overlap_f32__ref(q, k, (size_t)c, c, n, want);
        for (int j = 0; j < n; j++) {
            if (!key || j == bad) CHECK_KIND(o[j], want[j], "c %d n %d: %g gave %g, ref has %g", c, n, (double)BAD[b], (double)o[j], (double)want[j]);
            else CHECK(same_bits(o[j], clean[j]), "c %d n %d: %g in key %d reached %d", c, n, (double)BAD[b], bad, j);
        }
        end_case();
        release_buffers();
    }
}

/* One bad overlap, or none and an infinite scale. A NaN leaves the maximum, and so every other weight, as a pair that is far away does. */
static void spoilt_score(qig_score_fn *score, const qig_score_params *p, int n, int at, float bad) {
    const size_t bytes = (size_t)n * sizeof(float);
    const int best = (at + 3) % n; /* the maximum is elsewhere */
    float sum, sum2, s, s2;
    begin_case();
    float *a = random_floats(n, 1.0f);
    a[best] = 1.0f;
    if (isfinite(p->scale)) a[at] = bad;
    float *want = guarded_copy(a, bytes), *without = guarded_copy(a, bytes);
    without[at] = -1.0f;
    const int passed = score(a, n, p, &sum, &sum2), ref_passed = qig_score__ref(want, n, p, &s, &s2);
    CHECK(passed == ref_passed, "n %d: %g at %d: %d pairs passed, ref counts %d", n, (double)bad, at, passed, ref_passed);
    CHECK(kind_of(sum) == kind_of(s) && kind_of(sum2) == kind_of(s2), "n %d: %g at %d: sums %g and %g, ref has %g and %g", n, (double)bad, at, (double)sum, (double)sum2, (double)s, (double)s2);
    for (int j = 0; j < n; j++) CHECK_KIND(a[j], want[j], "n %d: %g at %d: weight %d is %g, ref has %g", n, (double)bad, at, j, (double)a[j], (double)want[j]);
    if (isnan(bad) && isfinite(p->scale) && best != at) {
        score(without, n, p, &s, &s2);
        CHECK(isnan(a[at]) && isnan(sum) && isnan(sum2), "n %d: a NaN at %d got lost", n, at);
        for (int j = 0; j < n; j++) CHECK(j == at || same_bits(a[j], without[j]), "n %d: a NaN at %d: weight %d is %g, without %g", n, at, j, (double)a[j], (double)without[j]);
    }
    end_case();
    release_buffers();
}

static void not_finite_score(any_fn *f) {
    static const int ns[] = {1, 2, 9, 20, 33};
    for (int i = 0; i < 5; i++)
        for (int at = 0; at < ns[i]; at++)
            for (int b = 0; b <= N_BAD; b++)
                for (int v = 0; v < 8; v++) {
                    const qig_score_params p = {.metric = (qig_metric)(v & 1), .scale = b < N_BAD ? 5.0f : INFINITY, .slope = 0.1f, .max_distance = v & 2 ? 1.3f : INFINITY,
                                                .margin = v & 4 ? 4.0f : INFINITY};
                    spoilt_score((qig_score_fn *)f, &p, ns[i], at, BAD[b % N_BAD]);
                }
}

/* A query that is not finite has the scale NaN and no entries, a vector of zeros the scale 0: the first lets every key through, as the dense path does. */
static void not_finite_sift_i8(any_fn *f) {
    static const int ns[] = {1, 15, 16, 17, 144, 200, 333};
    for (int i = 0; i < 7; i++)
        for (int v = 0; v < 16; v++) {
            const qig_score_params p = {.metric = (qig_metric)(v & 1), .scale = 20.0f, .slope = v & 2 ? 0.05f : 0.0f, .max_distance = v & 4 ? 1.2f : INFINITY, .margin = 4.0f};
            sift_case((qig_sift_i8_fn *)f, SCATTERED, 64, ns[i], p, v & 8, v & 8 ? NAN_QUERY : ZERO_QUERY);
            sift_case((qig_sift_i8_fn *)f, ZEROS, 72, ns[i], p, v & 8, v & 8 ? ZERO_QUERY : NAN_QUERY);
        }
    for (int at = 0; at < 200; at += 7) { /* a NaN that can be seen makes the sums NaN, as it does when all keys are read */
        const qig_score_params p = {.metric = QIG_METRIC_BURES, .scale = 20.0f, .max_distance = at & 1 ? 1.2f : INFINITY, .margin = 4.0f};
        sift_case((qig_sift_i8_fn *)f, SCATTERED, 64, 200, p, at & 2, at);
    }
}

static void not_finite_softmax(any_fn *f) {
    EACH_BAD(n, at, b, all) {
        float sum, sum2, s, s2;
        begin_case();
        float *o = random_floats(n, 3.0f);
        for (int j = 0; j < n && all; j++) o[j] = BAD[b];
        o[at] = all ? rng_float() : BAD[b];
        if (all && at == 0) o[at] = BAD[b]; /* once without a number */
        float *want = guarded_copy(o, (size_t)n * sizeof *o);
        ((qig_softmax_fn *)f)(o, n, 0.7f, &sum, &sum2);
        qig_softmax__ref(want, n, 0.7f, &s, &s2);
        CHECK(kind_of(sum) == kind_of(s) && kind_of(sum2) == kind_of(s2), "n %d: %g at %d: sums %g and %g, ref has %g and %g", n, (double)BAD[b], at, (double)sum, (double)sum2, (double)s, (double)s2);
        for (int j = 0; j < n; j++) CHECK_KIND(o[j], want[j], "n %d: %g at %d: weight %d is %g, ref has %g", n, (double)BAD[b], at, j, (double)o[j], (double)want[j]);
        end_case();
        release_buffers();
    }
}

/* A bad weight, a bad scale of a row (f32: a bad value in it), and the same in a row of weight zero, which is not read. */
static void spoilt_mix(qig_mix_i8_fn *i8, qig_mix_f32_fn *f32, int c, int n, int where, float bad) {
    const int at = rng_int(0, n - 1), column = rng_int(0, c - 1);
    const size_t bytes = (size_t)c * sizeof(float);
    begin_case();
    float *a = random_floats(n, 1.0f), *vs = random_floats(n, 0.1f), *v = random_floats(f32 ? n * c : 0, 1.0f), *clean = guarded(bytes), *out = guarded(bytes), *want = guarded(bytes);
    int8_t *q = guarded(i8 ? (size_t)(n * c) : 0);
    int32_t *rows = where & 1 ? guarded((size_t)n * sizeof *rows) : NULL;
    for (int e = 0; i8 && e < n * c; e++) q[e] = (int8_t)rng_int(-3, 3); /* zeros among them: 0 times infinity */
    for (int j = 0; rows && j < n; j++) rows[j] = n - 1 - j;
    if (where == 2) a[at] = 0.0f;
    if (i8) i8(a, rows, q, (size_t)c, vs, c, n, clean);
    else f32(a, v, (size_t)c, c, n, clean);
    if (where < 2) a[at] = bad;
    else if (i8) vs[rows ? rows[at] : at] = bad;
    else v[at * c + column] = bad;
    if (i8) i8(a, rows, q, (size_t)c, vs, c, n, out), qig_mix_i8__ref(a, rows, q, (size_t)c, vs, c, n, want);
    else f32(a, v, (size_t)c, c, n, out), qig_mix_f32__ref(a, v, (size_t)c, c, n, want);
    for (int e = 0; e < c; e++) {
        CHECK_KIND(out[e], want[e], "c %d n %d: %g gave %g in column %d, ref has %g", c, n, (double)bad, (double)out[e], e, (double)want[e]);
        if (where == 2 || (f32 && where == 3 && e != column)) CHECK(same_bits(out[e], clean[e]), "c %d n %d: %g reached column %d", c, n, (double)bad, e);
    }
    end_case();
    release_buffers();
}

static void not_finite_mix(qig_mix_i8_fn *i8, qig_mix_f32_fn *f32) {
    static const int cs[] = {1, 15, 33, 64, 77, 128, 191}, ns[] = {1, 2, 17, 260};
    for (int i = 0; i < 7; i++)
        for (int m = 0; m < 4; m++)
            for (int b = 0; b < N_BAD; b++)
                for (int where = 0; where < 4; where++) spoilt_mix(i8, f32, cs[i], ns[m], where, BAD[b]);
}
static void not_finite_mix_i8(any_fn *f) { not_finite_mix((qig_mix_i8_fn *)f, NULL); }
static void not_finite_mix_f32(any_fn *f) { not_finite_mix(NULL, (qig_mix_f32_fn *)f); }

#endif
