/* test_ops.c - every kernel of kernels.inc against an oracle written here, and against ref. usage: test_ops [seed [kernel set ...]]
 *
 * Shapes are ragged, buffers lie between guard pages, strides exceed rows. Integer parts must be exact; float tolerances follow from the length of the
 * sum and the magnitude of its terms. Results must not depend on the batch or on how rows are split. NaN and infinities: ops_not_finite_test.h.
 */
#include "ops/kernels.h"

#include "ops_test.h"
#include "sift_test.h"

#include <float.h>

typedef void any_fn(void);

static const double EPS = FLT_EPSILON; /* one float rounding is half of it */

/* --- matmul ---------------------------------------------------------------------------------------------------------------------- */

typedef enum { Q4_0, Q4_1, Q6_K, Q8_0, F16, F32 } weight_type;

static uint16_t random_half(void) { return (uint16_t)((rng() & 0x83ffu) | (uint32_t)rng_int(0x08, 0x0e) << 10); } /* +-2^-7 .. 2^-1 */

static double half_value(uint16_t h) {
    const int e = h >> 10 & 31, m = h & 1023;
    const double v = e == 31 ? (m ? (double)NAN : (double)INFINITY) : e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -v : v;
}

static const struct { int weights; size_t bytes, scale; } blocks[] = { /* scale: where the half that scales a block stands */
    [Q4_0] = {32, sizeof(qig_block_q4_0), 0}, [Q4_1] = {32, sizeof(qig_block_q4_1), 0}, [Q6_K] = {256, sizeof(qig_block_q6_k), offsetof(qig_block_q6_k, d)},
    [Q8_0] = {32, sizeof(qig_block_q8_0), 0}, [F16] = {1, 2, 0}, [F32] = {1, 4, 0}};

static size_t weight_row_bytes(weight_type t, int k) { return blocks[t].bytes * (size_t)(k / blocks[t].weights); }
static size_t input_row_bytes(weight_type t, int k) { return t <= Q8_0 ? sizeof(qig_block_a8) * (size_t)(k / 32) : (size_t)k * 4u; }

static double weight_at(weight_type t, const char *row, int i) {
    if (t == Q4_0) {
        const qig_block_q4_0 *b = (const qig_block_q4_0 *)(const void *)row + i / 32;
        const int j = i % 32;
        return half_value(b->d) * ((j < 16 ? b->qs[j] & 15 : b->qs[j - 16] >> 4) - 8);
    }
    if (t == Q4_1) {
        const qig_block_q4_1 *b = (const qig_block_q4_1 *)(const void *)row + i / 32;
        const int j = i % 32;
        return half_value(b->d) * (j < 16 ? b->qs[j] & 15 : b->qs[j - 16] >> 4) + half_value(b->m);
    }
    if (t == Q6_K) {
        const qig_block_q6_k *b = (const qig_block_q6_k *)(const void *)row + i / 256;
        const int e = i % 256, half = e / 128, part = e / 32 % 4, at = e % 32, byte = b->ql[64 * half + part % 2 * 32 + at];
        return half_value(b->d) * b->scales[e / 16] * (((part / 2 ? byte >> 4 : byte & 15) | (b->qh[32 * half + at] >> 2 * part & 3) * 16) - 32);
    }
    if (t == Q8_0) {
        const qig_block_q8_0 *b = (const qig_block_q8_0 *)(const void *)row + i / 32;
        return half_value(b->d) * b->qs[i % 32];
    }
    return t == F16 ? half_value(((const uint16_t *)(const void *)row)[i]) : (double)((const float *)(const void *)row)[i];
}
static double input_at(weight_type t, const char *row, int i) {
    if (t > Q8_0) return (double)((const float *)(const void *)row)[i];
    const qig_block_a8 *b = (const qig_block_a8 *)(const void *)row + i / 32;
    return (double)b->d * b->qs[i % 32];
}

typedef enum { RANDOM, UNIT_SCALES, EXTREMES, ZERO_INPUT } filling;

/* EXTREMES: unit scales, weights and activations at the ends of their ranges (-8, 7; -128, 127; +-127). */
static void fill_weights(weight_type t, char *row, int k, filling f) {
    if (t == F32)
        for (int i = 0; i < k; i++) ((float *)(void *)row)[i] = f == RANDOM ? rng_float() : (float)rng_int(-128, 127);
    else if (t == F16)
        for (int i = 0; i < k; i++) ((uint16_t *)(void *)row)[i] = f == RANDOM ? random_half() : (uint16_t)(0x3c00 | (rng() & 0x8000));
    else
        for (int b = 0; b < k / blocks[t].weights; b++) {
            uint8_t *block = (uint8_t *)row + (size_t)b * blocks[t].bytes;
            const int exact = f == UNIT_SCALES || f == EXTREMES;
            const uint16_t d = exact ? 0x3c00 : random_half(), m = exact ? 0x3c00 : random_half();
            for (size_t i = 0; i < blocks[t].bytes; i++)
                block[i] = (uint8_t)(f != EXTREMES ? rng() : t == Q4_0 || t == Q4_1 ? (rng() & 1 ? 0x0fu : 0xf0u) * (rng() & 1) : t == Q6_K ? 0xffu * (rng() & 1) : rng() & 1 ? 0x80u : 0x7fu);
            if (t == Q6_K && exact) /* larger ones would leave what float32 sums exactly */
                for (int i = 0; i < 16; i++) ((qig_block_q6_k *)(void *)block)->scales[i] = rng() & 1 ? 1 : -1;
            if (t == Q4_1) memcpy(block + 2, &m, 2);
            memcpy(block + blocks[t].scale, &d, 2);
        }
}
static void fill_input(weight_type t, char *row, int k, filling f) {
    if (t > Q8_0)
        for (int i = 0; i < k; i++) ((float *)(void *)row)[i] = f == ZERO_INPUT ? 0.0f : f == RANDOM ? rng_float() : (float)rng_int(-127, 127);
    else
        for (int b = 0; b < k / 32; b++) {
            qig_block_a8 *x = (qig_block_a8 *)(void *)row + b;
            x->d = f == ZERO_INPUT ? 0.0f : f == RANDOM ? 0.01f * (1.5f + rng_float()) : 1.0f;
            for (int i = 0; i < 32; i++) x->qs[i] = (int8_t)(f == ZERO_INPUT ? 0 : f == EXTREMES ? (rng() & 1 ? 127 : -127) : rng_int(-127, 127));
        }
}

enum { MAX_K = 8480 };

static void matmul_case(qig_matmul_fn *matmul, weight_type t, int k, int row0, int row1, int n, filling f) {
    static double weights[MAX_K], minima[MAX_K]; /* of a row */
    const size_t wb = weight_row_bytes(t, k), xb = input_row_bytes(t, k), pad = (size_t)rng_int(0, 1) * 36;
    const size_t ws = wb + pad, xs = xb + pad, ys = (size_t)row1 + (size_t)rng_int(0, 5), yn = (size_t)(n - 1) * ys + (size_t)row1;
    begin_case();
    char *w = guarded((size_t)(row1 - 1) * ws + wb), *x = guarded((size_t)(n - 1) * xs + xb);
    float *y = guarded(yn * sizeof *y), *z = guarded(yn * sizeof *z);
    for (int r = 0; r < row1; r++) fill_weights(t, w + (size_t)r * ws, k, f);
    for (int j = 0; j < n; j++) fill_input(t, x + (size_t)j * xs, k, f);
    memcpy(z, y, yn * sizeof *y);
    matmul(w, ws, x, xs, y, ys, k, row0, row1, n);

    for (size_t i = 0; i < yn; i++) {
        const int r = (int)(i % ys);
        if (r < row0 || r >= row1) CHECK(!memcmp(&y[i], &z[i], sizeof y[i]), "k %d rows %d..%d n %d: wrote outside at row %d", k, row0, row1, n, r);
    }
    /* float64 for three tokens at most: all of them are held to the floats of one at a time below */
    const int tokens[] = {0, n - 1, rng_int(0, n - 1)};
    for (int r = row0; r < row1; r++) {
        for (int e = 0; e < k; e++) weights[e] = weight_at(t, w + (size_t)r * ws, e);
        for (int e = 0; e < k && t == Q4_1; e++) minima[e] = half_value(((const qig_block_q4_1 *)(const void *)(w + (size_t)r * ws))[e / 32].m);
        for (int m = 0; m < (n < 3 ? n : 3); m++) {
            const int j = tokens[m];
            const float got = y[(size_t)j * ys + (size_t)r];
            double want = 0.0, size = 0.0;
            for (int e = 0; e < k; e++) {
                const double a = input_at(t, x + (size_t)j * xs, e), p = weights[e] * a;
                want += p;
                size += fabs(p);
                if (t == Q4_1) size += 2.0 * fabs(minima[e] * a); /* nibbles and minima are summed apart, and may cancel */
            }
            /* each of the (at most k / 4 + 8) roundings on a lane's way is half an EPS of what has been summed; all-integer sums are exact */
            const double tol = f == RANDOM ? (double)(k / (t <= Q8_0 ? t == Q4_1 ? 16 : 32 : 4) + 8) * 0.5 * EPS * size * 1.5 : 0.0;
            CHECK_NEAR(got, want, tol, "k %d rows %d..%d n %d filling %d: [%d, %d] = %.9g, want %.9g +- %.3g", k, row0, row1, n, (int)f, r, j, (double)got, want, tol);
        }
    }
    for (int j = 0; j < n; j++) matmul(w, ws, x + (size_t)j * xs, xs, z + (size_t)j * ys, ys, k, row0, row1, 1);
    CHECK(!memcmp(y, z, yn * sizeof *y), "k %d rows %d..%d: %d tokens at once differ from one at a time", k, row0, row1, n);
    const int cut0 = rng_int(row0, row1), cut1 = rng_int(cut0, row1);
    memset(z, 0xa5, yn * sizeof *z);
    matmul(w, ws, x, xs, z, ys, k, row0, cut0, n);
    matmul(w, ws, x, xs, z, ys, k, cut0, cut1, n);
    matmul(w, ws, x, xs, z, ys, k, cut1, row1, n);
    CHECK(!memcmp(y, z, yn * sizeof *y), "k %d n %d: rows %d..%d cut at %d and %d differ", k, n, row0, row1, cut0, cut1);
    end_case();
    release_buffers();
}

static void test_matmul(any_fn *f, weight_type t) {
    static const int quantized_k[] = {32, 64, 96, 160, 416, 1056}, super_k[] = {256, 512, 768, 1280, 1792, 2048}, plain_k[] = {1, 7, 8, 33, 77, 99, 200, 264}, tokens[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 33};
    static const int rows[][2] = {{0, 1}, {0, 4}, {1, 6}, {3, 11}, {2, 19}, {3, 19}, {1, 34}, {5, 5}};
    qig_matmul_fn *matmul = (qig_matmul_fn *)f;
    const int *ks = t == Q6_K ? super_k : t <= Q8_0 ? quantized_k : plain_k, nk = t <= Q8_0 ? 6 : 8;
    for (int i = 0; i < nk; i++) {
        for (int r = 0; r < 8; r++)
            for (int n = 0; n < 11; n++) matmul_case(matmul, t, ks[i], rows[r][0], rows[r][1], tokens[n], RANDOM);
        matmul_case(matmul, t, ks[i], 1, 8, 3, UNIT_SCALES);
        matmul_case(matmul, t, ks[i], 0, 7, 2, EXTREMES);
        matmul_case(matmul, t, ks[i], 0, 6, 3, ZERO_INPUT);
    }
    /* more blocks than a kernel may take of many tokens at once: tiles over whole and over partial sums, a last tile of rows that overlaps another */
    const int longest = t == Q6_K ? 8448 : MAX_K;
    for (int n = 31; n < 34; n++) matmul_case(matmul, t, longest, 1, 24, n, RANDOM);
    matmul_case(matmul, t, longest, 2, 9, 32, RANDOM);
}
static void test_matmul_q4_0(any_fn *f) { test_matmul(f, Q4_0); }
static void test_matmul_q4_1(any_fn *f) { test_matmul(f, Q4_1); }
static void test_matmul_q6_k(any_fn *f) { test_matmul(f, Q6_K); }
static void test_matmul_q8_0(any_fn *f) { test_matmul(f, Q8_0); }
static void test_matmul_f16(any_fn *f) { test_matmul(f, F16); }
static void test_matmul_f32(any_fn *f) { test_matmul(f, F32); }

/* --- sum_rows: random rows of a matrix, by a rising list ---------------------------------------------------------------------------- */

static void sum_rows_case(qig_sum_rows_fn *sum_rows, weight_type t, int d, int col0, int col1, int rows, int n, filling f) {
    const size_t wb = weight_row_bytes(t, d), ws = wb + (size_t)rng_int(0, 1) * 36;
    begin_case();
    char *w = guarded((size_t)(rows - 1) * ws + wb);
    int32_t *units = guarded((size_t)n * sizeof *units);
    float *a = guarded((size_t)n * sizeof *a), *y = guarded((size_t)d * sizeof *y), *z = guarded((size_t)d * sizeof *z);
    for (int r = 0; r < rows; r++) fill_weights(t, w + (size_t)r * ws, d, f);
    for (int i = 0, left = n, r = 0; i < n; r++) /* each row with its share of the chance: any n rows, rising */
        if (rng_int(0, rows - r - 1) < left) units[i++] = r, left--;
    for (int i = 0; i < n; i++) a[i] = f == RANDOM ? rng_float() * rng_float() * 3.0f : (float)rng_int(1, 127);
    memcpy(z, y, (size_t)d * sizeof *y);
    sum_rows(w, ws, units, a, n, y, col0, col1);

    for (int c = 0; c < d; c++) {
        if (c < col0 || c >= col1) {
            CHECK(!memcmp(&y[c], &z[c], sizeof *y), "d %d columns %d..%d: wrote outside at %d", d, col0, col1, c);
            continue;
        }
        double want = 0.0, size = 0.0;
        for (int i = 0; i < n; i++) {
            const double p = (double)a[i] * weight_at(t, w + (size_t)units[i] * ws, c);
            want += p;
            /* Q4_0 may be summed with its offset of 8, which is as large as the largest weight */
            size += fabs(p) + (t == Q4_0 ? 8.0 * fabs((double)a[i] * half_value(((const qig_block_q4_0 *)(const void *)(w + (size_t)units[i] * ws))[c / 32].d)) : 0.0);
        }
        /* n roundings of the sum and one of each product; all-integer sums are exact */
        const double tol = f == RANDOM ? (double)(n + 2) * 0.5 * EPS * size * 1.5 : 0.0;
        CHECK_NEAR(y[c], want, tol, "d %d columns %d..%d %d of %d rows filling %d: [%d] = %.9g, want %.9g +- %.3g", d, col0, col1, n, rows, (int)f, c, (double)y[c], want, tol);
    }
    const int unit = t <= Q8_0 ? 32 : 1, cut = col0 + rng_int(0, (col1 - col0) / unit) * unit;
    memset(z, 0xa5, (size_t)d * sizeof *z);
    sum_rows(w, ws, units, a, n, z, col0, cut);
    sum_rows(w, ws, units, a, n, z, cut, col1);
    CHECK(!memcmp(y + col0, z + col0, (size_t)(col1 - col0) * sizeof *y), "d %d n %d: columns %d..%d cut at %d differ", d, n, col0, col1, cut);
    end_case();
    release_buffers();
}

static void test_sum_rows(any_fn *f, weight_type t) {
    static const int quantized_d[] = {32, 64, 96, 160, 416}, plain_d[] = {1, 7, 8, 33, 77, 99}, counts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 33};
    qig_sum_rows_fn *sum_rows = (qig_sum_rows_fn *)f;
    const int *ds = t <= Q8_0 ? quantized_d : plain_d, nd = t <= Q8_0 ? 5 : 6, unit = t <= Q8_0 ? 32 : 1;
    for (int i = 0; i < nd; i++) {
        const int d = ds[i];
        for (int m = 0; m < 10; m++)
            for (int range = 0; range < 3; range++) {
                const int col0 = range ? rng_int(0, d / unit) * unit : 0, col1 = range ? rng_int(col0 / unit, d / unit) * unit : d;
                sum_rows_case(sum_rows, t, d, col0, col1, counts[m] + rng_int(counts[m] == 0, 9), counts[m], RANDOM);
            }
        sum_rows_case(sum_rows, t, d, 0, d, 20, 9, UNIT_SCALES);
        sum_rows_case(sum_rows, t, d, 0, d, 9, 9, EXTREMES);
    }
    sum_rows_case(sum_rows, t, 192, 0, 192, 2000, 700, RANDOM);
}
static void test_sum_rows_q4_0(any_fn *f) { test_sum_rows(f, Q4_0); }
static void test_sum_rows_q8_0(any_fn *f) { test_sum_rows(f, Q8_0); }
static void test_sum_rows_f16(any_fn *f) { test_sum_rows(f, F16); }
static void test_sum_rows_f32(any_fn *f) { test_sum_rows(f, F32); }

/* --- quantize_a8 ----------------------------------------------------------------------------------------------------------------- */

static void test_quantize_a8(any_fn *f) {
    qig_quantize_a8_fn *quantize = (qig_quantize_a8_fn *)f;
    static const float scales[] = {1.0f, 1e-3f, 1e30f, 1e-30f, 3e-37f, 1e-42f, 0.0f};
    static const int ks[] = {0, 32, 64, 96, 1056};
    for (int i = 0; i < 5; i++)
        for (int s = 0; s < 7; s++) {
            const int k = ks[i];
            begin_case();
            float *x = guarded((size_t)k * sizeof *x);
            qig_block_a8 *y = guarded((size_t)(k / 32) * sizeof *y);
            for (int j = 0; j < k; j++) x[j] = rng_float() * scales[s];
            quantize(x, y, k);
            for (int b = 0; b < k / 32; b++) {
                float amax = 0.0f;
                for (int j = 0; j < 32; j++) amax = fmaxf(amax, fabsf(x[32 * b + j]));
                const int zero = amax < 3.7e-37f; /* 127 / amax overflows */
                CHECK(y[b].d == (zero ? 0.0f : amax / 127.0f), "k %d scale %g: d = %g, amax %g", k, (double)scales[s], (double)y[b].d, (double)amax);
                for (int j = 0; j < 32; j++) {
                    const float v = x[32 * b + j];
                    const int want = zero ? 0 : (int)nearbyintf(v * (127.0f / amax));
                    CHECK(y[b].qs[j] == want, "k %d: q = %d, want %d of %.9g with amax %.9g", k, y[b].qs[j], want, (double)v, (double)amax);
                    if (!zero) CHECK_NEAR(y[b].d * (float)y[b].qs[j], v, 0.5001 * (double)y[b].d, "k %d: more than half a step off", k);
                }
            }
            end_case();
            release_buffers();
        }
    begin_case(); /* with amax 127 a step is 1: halves go to even */
    static const float halves[32] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 125.5f, -126.5f};
    static const int8_t want[32] = {127, 0, 2, 2, 0, -2, -2, 126, -126};
    float *x = guarded_copy(halves, sizeof halves);
    qig_block_a8 *y = guarded(sizeof *y);
    quantize(x, y, 32);
    CHECK(y->d == 1.0f && !memcmp(y->qs, want, 32), "halves do not go to even");
    end_case();
    release_buffers();
}

/* --- vectors --------------------------------------------------------------------------------------------------------------------- */

static const int lengths[] = {0, 1, 2, 7, 8, 9, 31, 33, 64, 77, 99, 768};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static float *random_floats(int n, float scale) {
    float *p = guarded((size_t)n * sizeof *p);
    for (int i = 0; i < n; i++) p[i] = rng_float() * scale;
    return p;
}

static void test_rmsnorm(any_fn *f) {
    qig_rmsnorm_fn *rmsnorm = (qig_rmsnorm_fn *)f;
    static const float scales[] = {1.0f, 1e-8f, 1e6f, 0.0f};
    for (int i = 1; i < N_LENGTHS; i++) /* no mean of nothing */
        for (int s = 0; s < 4; s++) {
            const int d = lengths[i];
            const float eps = 1e-5f;
            begin_case();
            float *x = random_floats(d, scales[s]), *g = random_floats(d, 2.0f), *y = guarded((size_t)d * sizeof *y);
            double sum = 0.0;
            for (int j = 0; j < d; j++) sum += (double)x[j] * (double)x[j];
            const double r = 1.0 / sqrt(sum / d + (double)eps);
            rmsnorm(x, g, y, d, eps);
            for (int j = 0; j < d; j++) {
                const double want = (double)x[j] * r * (double)g[j];
                CHECK_NEAR(y[j], want, (d / 8 + 8) * EPS * fabs(want), "d %d: y[%d] = %.9g, want %.9g", d, j, (double)y[j], want);
            }
            rmsnorm(x, g, x, d, eps);
            CHECK(!memcmp(x, y, (size_t)d * sizeof *y), "d %d: in place differs", d);
            x[d / 2] = NAN;
            rmsnorm(x, g, y, d, eps);
            for (int j = 0; j < d; j++) CHECK(isnan(y[j]), "d %d: a NaN did not reach y[%d]", d, j);
            end_case();
            release_buffers();
        }
}

static void test_relu2(any_fn *f) {
    qig_relu2_fn *relu2 = (qig_relu2_fn *)f;
    for (int i = 0; i < N_LENGTHS; i++) {
        const int n = lengths[i];
        begin_case();
        float *x = random_floats(n, 3.0f);
        if (n) x[0] = -0.0f;
        if (n > 2) x[1] = INFINITY, x[2] = -INFINITY;
        float *y = guarded_copy(x, (size_t)n * sizeof *x);
        if (n > 8) y[8] = x[8] = NAN;
        relu2(y, n);
        for (int j = 0; j < n; j++) CHECK(same_bits(y[j], x[j] < 0.0f ? 0.0f : x[j] * x[j]), "n %d: %g became %g", n, (double)x[j], (double)y[j]);
        end_case();
        release_buffers();
    }
}

static void test_add(any_fn *f) {
    qig_add_fn *add = (qig_add_fn *)f;
    for (int i = 0; i < N_LENGTHS; i++) {
        const int n = lengths[i];
        begin_case();
        float *x = random_floats(n, 3.0f), *y = random_floats(n, 3.0f);
        if (n) y[n - 1] = NAN;
        float *z = guarded_copy(y, (size_t)n * sizeof *y);
        add(z, x, n);
        for (int j = 0; j < n; j++) CHECK(same_bits(z[j], x[j] + y[j]), "n %d: %g + %g = %g", n, (double)y[j], (double)x[j], (double)z[j]);
        end_case();
        release_buffers();
    }
}

static void test_dot(any_fn *f) {
    qig_dot_fn *dot = (qig_dot_fn *)f;
    for (int i = 0; i < N_LENGTHS; i++) {
        const int n = lengths[i];
        begin_case();
        float *a = random_floats(n, 2.0f), *b = random_floats(n, 2.0f);
        double want = 0.0, size = 0.0;
        for (int j = 0; j < n; j++) want += (double)a[j] * (double)b[j], size += fabs((double)a[j] * (double)b[j]);
        const float got = dot(a, b, n);
        CHECK_NEAR(got, want, (n / 8 + 8) * EPS * size, "n %d: %.9g, want %.9g", n, (double)got, want);
        CHECK(dot(a, b, 0) == 0.0f, "the empty sum is %g", (double)dot(a, b, 0));
        if (n) a[n - 1] = NAN;
        CHECK(!n || isnan(dot(a, b, n)), "n %d: a NaN got lost", n);
        end_case();
        release_buffers();
    }
}

/* --- logits: the floats are those of ref, bit for bit; what ref computes is tested in test_engine.c --------------------------------------------- */

static void test_logit_part(any_fn *f) {
    static const int sizes[] = {1, 2, 15, 16, 17, 31, 32, 100, 2047, 2048};
    for (int i = 0; i < 10; i++)
        for (int kind = 0; kind < 4; kind++) {
            const int n = sizes[i];
            begin_case();
            float *l = guarded((size_t)n * sizeof *l);
            for (int j = 0; j < n; j++) l[j] = kind == 0 ? rng_float() : 100.0f * rng_float();
            if (kind == 2) l[rng_int(0, n - 1)] = -INFINITY;
            if (kind == 3) l[rng_int(0, n - 1)] = NAN;
            qig_logit_part want, got;
            qig_logit_part__ref(l, n, &want);
            ((qig_logit_part_fn *)f)(l, n, &got);
            CHECK(same_bits(got.max, want.max) && same_bits(got.sum, want.sum) && same_bits(got.sum2, want.sum2), "n %d kind %d: %g %g %g, not %g %g %g", n, kind,
                  (double)got.max, (double)got.sum, (double)got.sum2, (double)want.max, (double)want.sum, (double)want.sum2);
            end_case();
            release_buffers();
        }
}

#include "ops_attention_test.h"
#include "ops_dense_test.h"
#include "ops_not_finite_test.h"

/* --- the table, the helpers ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *op, *isa, *name;
    any_fn *kernel;
    void (*test)(any_fn *), (*not_finite)(any_fn *);
    size_t field; /* offset in qig_ops */
} kernels[] = {
#define QIG_KERNEL(op, contract, isa) {#op, #isa, "qig_" #op "__" #isa, (any_fn *)qig_##op##__##isa, test_##op, not_finite_##op, offsetof(qig_ops, op)},
#include "../kernels.inc"
#undef QIG_KERNEL
};
enum { N_KERNELS = sizeof kernels / sizeof *kernels };

static any_fn *table_entry(const qig_ops *ops, size_t field) {
    any_fn *f;
    memcpy(&f, (const char *)ops + field, sizeof f);
    return f;
}

/* qig_<op>[_<types>]__<isa>: lower case letters and digits in words joined by single underscores, the ISA one that the ladder knows. */
static void test_names(void) {
    static const char *const isas[] = {"ref", "neon", "neon_dotprod", "neon_i8mm", "avx2", "avx512_vnni"};
    for (int i = 0; i < N_KERNELS; i++) {
        current = kernels[i].name;
        begin_case();
        const char *op = kernels[i].op;
        CHECK(op[0] >= 'a' && op[0] <= 'z' && op[strlen(op) - 1] != '_' && !strstr(op, "__"), "not a name");
        CHECK(strspn(op, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(op), "not a name");
        int known = 0, twins = 0, has_ref = 0;
        for (size_t j = 0; j < sizeof isas / sizeof *isas; j++) known += !strcmp(kernels[i].isa, isas[j]);
        for (int j = 0; j < N_KERNELS; j++) {
            twins += !strcmp(kernels[i].name, kernels[j].name);
            has_ref += !strcmp(op, kernels[j].op) && !strcmp(kernels[j].isa, "ref");
        }
        CHECK(known == 1, "unknown ISA");
        CHECK(twins == 1, "%d lines", twins);
        CHECK(has_ref == 1, "no ref kernel of %s", op);
        end_case();
    }
}

static void test_table(void) {
    current = "table";
    begin_case();
    const qig_ops *best = qig_ops_get(NULL), *ref = qig_ops_get("ref");
    CHECK(best && best == qig_ops_get("auto") && ref, "no kernel set");
    CHECK(!qig_ops_get("nope") && !qig_ops_get(""), "a kernel set of no name");
    const char *list = qig_ops_list();
    CHECK(best && !strncmp(list, best->isa, strlen(best->isa)) && strlen(list) >= 3 && !strcmp(list + strlen(list) - 3, "ref"), "the list is '%s'", list);
    for (int i = 0; i < N_KERNELS; i++) {
        const qig_ops *ops = qig_ops_get(kernels[i].isa);
        if (ops) CHECK(table_entry(ops, kernels[i].field) == kernels[i].kernel, "%s is not in its set", kernels[i].name);
        if (best) CHECK(table_entry(best, kernels[i].field) != NULL, "%s has no %s", best->isa, kernels[i].op);
    }
    end_case();
}

static void test_half(void) {
    current = "qig_half_to_float";
    for (uint32_t h = 0; h < 65536; h++) {
        begin_case();
        CHECK(same_bits(qig_half_to_float((uint16_t)h), (float)half_value((uint16_t)h)), "%04x is %g", h, (double)qig_half_to_float((uint16_t)h));
        end_case();
    }
}

static void test_quantize_i8(void) {
    current = "qig_quantize_i8";
    for (int i = 0; i < N_WIDTHS; i++) {
        const int c = widths[i];
        begin_case();
        float *x = random_floats(c, 2.0f), amax = 0.0f;
        int8_t *q = guarded((size_t)c);
        const float unit = qig_quantize_i8(x, q, c, 1), plain = qig_quantize_i8(x, q, c, 0);
        double norm2 = 0.0;
        for (int j = 0; j < c; j++) amax = fmaxf(amax, fabsf(x[j])), norm2 += (double)q[j] * q[j];
        for (int j = 0; j < c; j++) CHECK(q[j] == (int)nearbyintf(x[j] * (127.0f / amax)), "c %d: q[%d] = %d", c, j, q[j]);
        CHECK(plain == amax / 127.0f, "c %d: scale %g", c, (double)plain);
        CHECK_NEAR((double)unit * (double)unit * norm2, 1.0, 4.0 * EPS, "c %d: not a unit vector", c);
        for (int j = 0; j < c; j++) x[j] = 0.0f;
        CHECK(qig_quantize_i8(x, q, c, 1) == 0.0f && qig_quantize_i8(x, q, c, 0) == 0.0f && q[c - 1] == 0, "c %d: zero has a scale", c);
        x[c / 2] = NAN;
        CHECK(isnan(qig_quantize_i8(x, q, c, 1)) && q[c / 2] == 0, "c %d: a NaN has a scale", c);
        end_case();
        release_buffers();
    }
}

/* Every kernel of an operation sees the same cases, once with guard pages behind its buffers, once before them. Returns how many. */
static long run_both_ways(void (*test)(any_fn *), any_fn *kernel, uint64_t seed) {
    const long before = cases_run;
    for (guard_front = 0; guard_front < 2; guard_front++) {
        rng_state = seed + (uint64_t)guard_front;
        test(kernel);
    }
    guard_front = 0;
    return cases_run - before;
}

int main(int argc, char **argv) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240229;
    printf("seed %llu, kernel sets here: %s\n", (unsigned long long)seed, qig_ops_list());
    test_names();
    test_table();
    test_half();
    test_quantize_i8();
    test_sketch();
    int ran = 0;
    for (int i = 0; i < N_KERNELS; i++) {
        if (!asked_for(kernels[i].isa, argc, argv)) continue;
        if (!qig_ops_get(kernels[i].isa)) {
            printf("%-32s skipped: this CPU has no %s\n", kernels[i].name, kernels[i].isa);
            continue;
        }
        current = kernels[i].name;
        const long plain = run_both_ways(kernels[i].test, kernels[i].kernel, seed), bad = run_both_ways(kernels[i].not_finite, kernels[i].kernel, seed);
        printf("%-32s %ld cases, %ld not finite\n", kernels[i].name, plain, bad);
        ran++;
        if (!plain || !bad) {
            fprintf(stderr, "%s: no cases ran\n", kernels[i].name);
            cases_failed++;
        }
    }
    printf("%ld passed, %ld failed\n", cases_run - cases_failed, cases_failed);
    return !ran || cases_failed != 0;
}
