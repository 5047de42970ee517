/* test_ops.c - every kernel of kernels.inc against an oracle written here, and against ref. usage: test_ops [seed]
 *
 * Shapes are ragged, buffers lie between guard pages, strides exceed rows. Integer parts must be exact; float tolerances follow from the length of the
 * sum and the magnitude of its terms. Results must not depend on the batch or on how rows are split.
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

static void matmul_case(qig_matmul_fn *matmul, weight_type t, int k, int row0, int row1, int n, filling f) {
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
        const int r = (int)(i % ys), j = (int)(i / ys);
        if (r < row0 || r >= row1) {
            CHECK(!memcmp(&y[i], &z[i], sizeof y[i]), "k %d rows %d..%d n %d: wrote outside at row %d", k, row0, row1, n, r);
            continue;
        }
        double want = 0.0, size = 0.0;
        for (int e = 0; e < k; e++) {
            const double p = weight_at(t, w + (size_t)r * ws, e) * input_at(t, x + (size_t)j * xs, e);
            want += p;
            size += fabs(p);
            /* Q4_1 sums nibbles and minima apart, which may cancel */
            if (t == Q4_1) size += 2.0 * fabs(half_value(((const qig_block_q4_1 *)(const void *)(w + (size_t)r * ws))[e / 32].m) * input_at(t, x + (size_t)j * xs, e));
        }
        /* each of the (at most k / 4 + 8) roundings on a lane's way is half an EPS of what has been summed; all-integer sums are exact */
        const double tol = f == RANDOM ? (double)(k / (t <= Q8_0 ? t == Q4_1 ? 16 : 32 : 4) + 8) * 0.5 * EPS * size * 1.5 : 0.0;
        CHECK_NEAR(y[i], want, tol, "k %d rows %d..%d n %d filling %d: [%d, %d] = %.9g, want %.9g +- %.3g", k, row0, row1, n, (int)f, r, j,
                   (double)y[i], want, tol);
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

/* A NaN in one token's input, an infinity in one row's weights: they reach their own results and no others. */
static void matmul_not_finite(qig_matmul_fn *matmul, weight_type t, int k) {
    enum { ROWS = 9, N = 5, BAD_ROW = 6, BAD_TOKEN = 3 };
    const size_t wb = weight_row_bytes(t, k), xb = input_row_bytes(t, k);
    begin_case();
    char *w = guarded(ROWS * wb), *x = guarded(N * xb);
    float *y = guarded(ROWS * N * sizeof *y);
    for (int r = 0; r < ROWS; r++) fill_weights(t, w + (size_t)r * wb, k, RANDOM);
    for (int j = 0; j < N; j++) fill_input(t, x + (size_t)j * xb, k, RANDOM);
    const float bad = NAN, huge = INFINITY;
    const uint16_t huge_half = 0x7c00;
    memcpy(x + BAD_TOKEN * xb, &bad, sizeof bad); /* a block starts with its scale */
    memcpy(w + BAD_ROW * wb + blocks[t].scale, t == F32 ? (const void *)&huge : &huge_half, t == F32 ? 4 : 2);
    matmul(w, wb, x, xb, y, ROWS, k, 0, ROWS, N);
    for (int j = 0; j < N; j++)
        for (int r = 0; r < ROWS; r++) {
            const float v = y[j * ROWS + r];
            if (j == BAD_TOKEN) CHECK(isnan(v), "k %d: a NaN input gave %g", k, (double)v);
            else CHECK((r == BAD_ROW) != !!isfinite(v), "k %d: an infinite weight in row %d gave %g in row %d", k, (int)BAD_ROW, (double)v, r);
        }
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
        matmul_not_finite(matmul, t, ks[i]);
    }
    /* more blocks than a kernel may take of many tokens at once: tiles over whole and over partial sums, a last tile of rows that overlaps another */
    const int longest = t == Q6_K ? 8448 : 8480;
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

/* A row that is not in the list is not read: not even a NaN shows. A NaN input reaches all columns, an infinite weight those of its block. */
static void sum_rows_not_finite(qig_sum_rows_fn *sum_rows, weight_type t, int d, int n) {
    enum { ROWS = 16 };
    const size_t wb = weight_row_bytes(t, d);
    begin_case();
    char *w = guarded(ROWS * wb);
    int32_t units[ROWS];
    float a[ROWS], *y = guarded((size_t)d * sizeof *y);
    for (int r = 0; r < ROWS; r++) fill_weights(t, w + (size_t)r * wb, d, RANDOM);
    for (int i = 0; i < n; i++) units[i] = 2 * i + 1, a[i] = 0.5f + rng_float();
    const float huge = INFINITY;
    const uint16_t huge_half = 0x7c00;
    const size_t bytes = t == F32 ? 4 : 2;
    const void *bad = t == F32 ? (const void *)&huge : &huge_half;
    for (int r = 0; r < ROWS; r += 2) memcpy(w + (size_t)r * wb, bad, bytes);
    sum_rows(w, wb, units, a, n, y, 0, d);
    for (int c = 0; c < d; c++) CHECK(isfinite(y[c]), "d %d n %d: column %d is %g from rows that are not in the list", d, n, c, (double)y[c]);
    memcpy(w + (size_t)units[n / 2] * wb, bad, bytes);
    sum_rows(w, wb, units, a, n, y, 0, d);
    for (int c = 0; c < d; c++) CHECK(!!isfinite(y[c]) == (c >= (t <= Q8_0 ? 32 : 1)), "d %d n %d: an infinite weight gave %g in column %d", d, n, (double)y[c], c);
    a[n / 2] = NAN;
    sum_rows(w, wb, units, a, n, y, 0, d);
    for (int c = 0; c < d; c++) CHECK(isnan(y[c]), "d %d n %d: a NaN input gave %g in column %d", d, n, (double)y[c], c);
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
        for (int n = 1; n < 8; n++) sum_rows_not_finite(sum_rows, t, d, n);
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
    float x[32] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 125.5f, -126.5f};
    static const int8_t want[32] = {127, 0, 2, 2, 0, -2, -2, 126, -126};
    qig_block_a8 y;
    quantize(x, &y, 32);
    CHECK(y.d == 1.0f && !memcmp(y.qs, want, 32), "halves do not go to even");
    end_case();
    for (int i = 0; i < 32; i++) /* in every lane */
        for (int kind = 0; kind < 3; kind++) {
            begin_case();
            for (int j = 0; j < 32; j++) x[j] = rng_float();
            x[i] = kind == 0 ? NAN : kind == 1 ? INFINITY : -INFINITY;
            quantize(x, &y, 32);
            int any = 0;
            for (int j = 0; j < 32; j++) any |= y.qs[j];
            CHECK(isnan(y.d) && !any, "%g at %d gave d = %g", (double)x[i], i, (double)y.d);
            end_case();
        }
}

/* --- vectors --------------------------------------------------------------------------------------------------------------------- */

static const int lengths[] = {1, 2, 7, 8, 9, 31, 33, 64, 77, 99, 768};
enum { N_LENGTHS = sizeof lengths / sizeof *lengths };

static float *random_floats(int n, float scale) {
    float *p = guarded((size_t)n * sizeof *p);
    for (int i = 0; i < n; i++) p[i] = rng_float() * scale;
    return p;
}

static void test_rmsnorm(any_fn *f) {
    qig_rmsnorm_fn *rmsnorm = (qig_rmsnorm_fn *)f;
    static const float scales[] = {1.0f, 1e-8f, 1e6f, 0.0f};
    for (int i = 0; i < N_LENGTHS; i++)
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
        x[0] = -0.0f;
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
        y[n - 1] = NAN;
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
        a[n - 1] = NAN;
        CHECK(isnan(dot(a, b, n)), "n %d: a NaN got lost", n);
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

/* --- attention ------------------------------------------------------------------------------------------------------------------- */

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
    for (int at = 0; at < 20; at++) { /* a NaN, in every lane and as the own pair: its weight and the sums; the rest is as without it */
        const qig_score_params p = {.metric = QIG_METRIC_BURES, .scale = 5.0f, .slope = 0.1f, .max_distance = at & 1 ? 1.3f : INFINITY, .margin = at & 2 ? 4.0f : INFINITY};
        float a[20], b[20], sum, sum2, s, s2;
        begin_case();
        for (int j = 0; j < 20; j++) a[j] = b[j] = rng_float();
        a[at] = NAN, b[at] = -1.0f;
        a[7] = b[7] = at == 7 ? b[7] : 1.0f; /* the maximum is elsewhere */
        if (at == 7) a[7] = NAN, b[7] = -1.0f, a[3] = b[3] = 1.0f, a[19] = b[19] = 1.0f;
        score(a, 20, &p, &sum, &sum2);
        score(b, 20, &p, &s, &s2);
        CHECK(isnan(a[at]) && isnan(sum) && isnan(sum2), "NaN at %d: weight %g, sums %g %g", at, (double)a[at], (double)sum, (double)sum2);
        for (int j = 0; j < 20; j++)
            if (j != at) CHECK(same_bits(a[j], b[j]), "NaN at %d: weight %d is %g, without %g", at, j, (double)a[j], (double)b[j]);
        a[at] = at & 1 ? INFINITY : -INFINITY;
        (void)score(a, 20, &p, &sum, &sum2); /* documented as garbage; must only come back */
        end_case();
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

#include "ops_dense_test.h"

/* --- the table, the helpers ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *op, *isa, *name;
    any_fn *kernel;
    void (*test)(any_fn *);
    size_t field; /* offset in qig_ops */
} kernels[] = {
#define QIG_KERNEL(op, contract, isa) {#op, #isa, "qig_" #op "__" #isa, (any_fn *)qig_##op##__##isa, test_##op, offsetof(qig_ops, op)},
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

int main(int argc, char **argv) {
    const uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 20240229;
    printf("seed %llu, kernel sets here: %s\n", (unsigned long long)seed, qig_ops_list());
    test_names();
    test_table();
    test_half();
    test_quantize_i8();
    test_sketch();
    for (int i = 0; i < N_KERNELS; i++) {
        if (!qig_ops_get(kernels[i].isa)) {
            printf("%-32s skipped: this CPU has no %s\n", kernels[i].name, kernels[i].isa);
            continue;
        }
        const long before = cases_run;
        current = kernels[i].name;
        for (guard_front = 0; guard_front < 2; guard_front++) {
            rng_state = seed + (uint64_t)guard_front; /* every kernel of an operation sees the same cases */
            kernels[i].test(kernels[i].kernel);
        }
        guard_front = 0;
        printf("%-32s %ld cases\n", kernels[i].name, cases_run - before);
        if (cases_run == before) {
            fprintf(stderr, "%s: no cases ran\n", kernels[i].name);
            cases_failed++;
        }
    }
    printf("%ld passed, %ld failed\n", cases_run - cases_failed, cases_failed);
    return cases_run == 0 || cases_failed != 0;
}
