/* kernels_bench.c - times single kernels on the shapes of real models, one thread.
 *
 *   qig-kernels-bench SHAPES [ISA] [OP]      SHAPES: bench/shapes.txt;  ISA: a kernel set (default: the best here) or "all";  OP: one operation
 *
 * A set's kernels are those that it runs, inherited ones too; "all" times every kernel once. A product of n > 1 columns is shown against its n = 1,
 * timed by turns with it.
 * A row is one kernel, one shape and one working set: `L1` and `L2` are as many rows of the matrix (at least 16) or keys of the cache as 16 and 256 KB hold, the
 * same ones in every call; `memory` is the whole shape, taken in turn from a buffer larger than any cache, as in decode; vectors stay in the cache. A row's ceiling is
 * what plain reading reaches on a buffer of the working set's size, the mean of before and after it; it is no limit for a kernel with wider loads in L1.
 * Times are processor time, which leaves out what other programs take, medians of 7 trials; GB/s counts the matrix or cache, GMAC/s multiply-accumulates.
 */
#include "ops/kernels.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef void any_fn(void);

enum { TRIALS = 7, POOL_MB = 256, MAX_SIZES = 3, MAX_TURNS = 2, LEAST_ROWS = 16 };

static const double TRIAL_SECONDS = 0.02;
static const size_t POOL = (size_t)POOL_MB << 20;
static char *pool; /* POOL bytes */

static const struct {
    const char *name;
    size_t bytes;
} working_sets[] = {{"L1", 16 << 10}, {"L2", 256 << 10}, {"memory", (size_t)POOL_MB << 20}, {"cache", 16 << 10}};
enum { N_WORKING_SETS = 3, CACHE = 3 /* the one of vectors */ };
static size_t in_use = (size_t)POOL_MB << 20; /* bytes of the working set */

typedef struct {
    int size[MAX_SIZES]; /* as in the shapes file */
    int n_sizes;
} shape;

typedef struct {
    double seconds, bytes, macs; /* of one call */
    double one_column;           /* seconds of the same product with one column, timed by turns; 0: none */
} timing;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint32_t rng(void) { /* xorshift32: speed does not depend on its quality */
    static uint32_t s = 2463534242u;
    s ^= s << 13, s ^= s >> 17, s ^= s << 5;
    return s;
}

static void *checked(void *p) {
    if (!p) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return p;
}

static float *random_floats(size_t n, float low, float high) {
    float *p = checked(malloc((n + 1) * sizeof *p));
    for (size_t i = 0; i < n; i++) p[i] = low + (high - low) * (float)rng() * 0x1p-32f;
    return p;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Median seconds of a call in each of m contexts, tried by turns. Each call gets the next copy of its data, of which the pool holds `copies`. */
static void medians(void (*call)(void *context, int copy), void *const *contexts, int m, int copies, double *seconds) {
    double trial[MAX_TURNS][TRIALS];
    int calls[MAX_TURNS] = {0}, copy = 0;
    for (int i = 0; i < m; i++) { /* a round to count with, and to warm up */
        const double start = now();
        while (now() - start < TRIAL_SECONDS) {
            call(contexts[i], copy = (copy + 1) % copies);
            calls[i]++;
        }
    }
    for (int t = 0; t < TRIALS; t++)
        for (int i = 0; i < m; i++) {
            const double begin = now();
            for (int c = 0; c < calls[i]; c++) call(contexts[i], copy = (copy + 1) % copies);
            trial[i][t] = (now() - begin) / calls[i];
        }
    for (int i = 0; i < m; i++) {
        qsort(trial[i], TRIALS, sizeof *trial[i], by_value);
        seconds[i] = trial[i][TRIALS / 2];
    }
}

static double median_seconds(void (*call)(void *context, int copy), void *context, int copies) {
    double seconds;
    medians(call, &context, 1, copies, &seconds);
    return seconds;
}

/* Bytes a second of plain reading: the fastest of 5 trials over the working set, or over one part after another of a large one. Random sums, so that the
 * reads stay; four places side by side, each prefetched 2 KB ahead. */
static double ceiling(void) {
    enum { PART = 16 << 20, WORDS = 8, STREAMS = 4, AHEAD = 2048 / sizeof(uint64_t) };
    static size_t part;
    static volatile uint64_t keep;
    const size_t bytes = in_use < PART ? in_use : PART, words = bytes / sizeof(uint64_t) / STREAMS, passes = PART / bytes;
    double fastest = 0.0;
    for (int trial = 0; trial < 5; trial++) {
        const uint64_t *p = (const uint64_t *)(const void *)(pool + (part = (part + bytes) % in_use));
        uint64_t sum[WORDS] = {0};
        const double begin = now();
        for (size_t pass = 0; pass < passes; pass++)
            for (size_t i = 0; i < words; i += WORDS)
                for (size_t stream = 0; stream < STREAMS; stream++) {
                    const uint64_t *q = p + stream * words + i;
                    __builtin_prefetch(q + (i + AHEAD < words ? AHEAD : 0));
                    for (int j = 0; j < WORDS; j++) sum[j] += q[j];
                }
        const double seconds = now() - begin;
        for (int j = 0; j < WORDS; j++) keep += sum[j];
        if ((double)(passes * bytes) / seconds > fastest) fastest = (double)(passes * bytes) / seconds;
    }
    return fastest;
}

static int copies_of(size_t bytes) { return bytes && bytes < in_use ? (int)(in_use / bytes) : 1; }

/* How many of `rows` rows the working set holds: all, or a number of whole tiles. */
static int rows_in_use(int rows, size_t row_bytes) {
    const size_t fit = in_use / row_bytes / LEAST_ROWS * LEAST_ROWS, least = fit ? fit : LEAST_ROWS;
    return (size_t)rows < least ? rows : (int)least;
}

/* --- matmul ---------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    qig_matmul_fn *f;
    size_t row_bytes, input_bytes;
    int k, rows, n;
    char *x;
    float *y;
} matmul_call;

static void call_matmul(void *context, int copy) {
    const matmul_call *c = context;
    c->f(pool + (size_t)copy * (size_t)c->rows * c->row_bytes, c->row_bytes, c->x, c->input_bytes, c->y, (size_t)c->rows, c->k, 0, c->rows, c->n);
}

/* Blocks of `block` bytes with a half scale of about 2^-6 in front (0: plain elements of width bytes around 1), over at least `bytes` and the working set. */
static void fill_pool(size_t block, size_t width, size_t bytes) {
    const size_t all = bytes > in_use ? bytes : in_use;
    for (size_t i = 0; i < all / 4; i++) ((uint32_t *)(void *)pool)[i] = rng();
    for (size_t i = 0; block && i + block <= all; i += block) {
        const uint16_t d = (uint16_t)(0x2400 | (rng() & 255));
        memcpy(pool + i, &d, 2);
    }
    for (size_t i = 0; !block && i < all / width; i++) {
        if (width == 2) ((uint16_t *)(void *)pool)[i] = (uint16_t)(0x3800 | (rng() & 1023));
        else ((float *)(void *)pool)[i] = 0.5f + (float)(rng() & 1023) * 0x1p-10f;
    }
}

static timing bench_matmul_blocks(any_fn *f, const shape *s, size_t block, size_t width, int weights) {
    const int k = s->size[0], n = s->size[2];
    matmul_call c = {(qig_matmul_fn *)f, width * (size_t)k, sizeof(float) * (size_t)k, k, s->size[1], n, NULL, NULL};
    if (block) c.row_bytes = block * (size_t)(k / weights), c.input_bytes = sizeof(qig_block_a8) * (size_t)(k / 32);
    if (c.row_bytes * (size_t)c.rows > POOL || (block && k % weights)) {
        fprintf(stderr, "a matrix of %d x %d: larger than the buffer of %d MB, or rows not of whole blocks of %d\n", c.rows, k, (int)POOL_MB, weights);
        exit(2);
    }
    c.rows = rows_in_use(c.rows, c.row_bytes);
    const int rows = c.rows;
    const size_t bytes = c.row_bytes * (size_t)rows;
    fill_pool(block, width, bytes);
    float *x = random_floats((size_t)k * (size_t)n, -1.0f, 1.0f);
    c.x = (char *)x;
    if (block) {
        c.x = checked(malloc(c.input_bytes * (size_t)n));
        qig_quantize_a8__ref(x, (qig_block_a8 *)(void *)c.x, k * n);
    }
    c.y = random_floats((size_t)rows * (size_t)n, 0.0f, 0.0f);
    matmul_call alone = c;
    alone.n = 1;
    double seconds[2] = {0.0, 0.0};
    medians(call_matmul, (void *[]){&c, &alone}, n > 1 ? 2 : 1, copies_of(bytes), seconds);
    const timing t = {seconds[0], (double)bytes, (double)k * rows * n, seconds[1]};
    if (block) free(c.x);
    free(x);
    free(c.y);
    return t;
}
static timing bench_matmul(any_fn *f, const shape *s, size_t block, size_t width) { return bench_matmul_blocks(f, s, block, width, 32); }
static timing bench_matmul_q4_1(any_fn *f, const shape *s) { return bench_matmul(f, s, sizeof(qig_block_q4_1), 0); }
static timing bench_matmul_q6_k(any_fn *f, const shape *s) { return bench_matmul_blocks(f, s, sizeof(qig_block_q6_k), 0, 256); }
static timing bench_matmul_q4_0(any_fn *f, const shape *s) { return bench_matmul(f, s, sizeof(qig_block_q4_0), 0); }
static timing bench_matmul_q8_0(any_fn *f, const shape *s) { return bench_matmul(f, s, sizeof(qig_block_q8_0), 0); }
static timing bench_matmul_f16(any_fn *f, const shape *s) { return bench_matmul(f, s, 0, 2); }
static timing bench_matmul_f32(any_fn *f, const shape *s) { return bench_matmul(f, s, 0, 4); }

/* --- sum_rows: the same matrix transposed, a new list of rows for every call -------------------------------------------------------- */

enum { LISTS = 16 };

typedef struct {
    qig_sum_rows_fn *f;
    size_t row_bytes;
    int columns, rows, active;
    int32_t *units; /* [LISTS, active] */
    float *a, *y;
} sum_rows_call;

static void call_sum_rows(void *context, int copy) {
    const sum_rows_call *c = context;
    const int32_t *units = c->units + (size_t)(copy % LISTS) * (size_t)c->active;
    c->f(pool + (size_t)copy * (size_t)c->rows * c->row_bytes, c->row_bytes, units, c->a, c->active, c->y, 0, c->columns);
}

static timing bench_sum_rows(any_fn *f, const shape *s, size_t block, size_t width) {
    sum_rows_call c = {(qig_sum_rows_fn *)f, 0, s->size[0], s->size[1], s->size[2], NULL, NULL, NULL};
    c.row_bytes = block ? block * (size_t)(c.columns / 32) : width * (size_t)c.columns;
    if (c.row_bytes * (size_t)c.rows > POOL || (block && c.columns % 32) || c.active > c.rows) {
        fprintf(stderr, "%d of %d rows of %d: larger than the buffer of %d MB, rows not of whole blocks of 32, or more than there are\n", c.active, c.rows,
                c.columns, (int)POOL_MB);
        exit(2);
    }
    const int whole = c.rows; /* fewer rows, as large a share of them active */
    c.rows = rows_in_use(whole, c.row_bytes);
    c.active = (int)(((int64_t)c.active * c.rows + whole - 1) / whole);
    const size_t bytes = c.row_bytes * (size_t)c.rows;
    fill_pool(block, width, bytes);
    c.units = checked(malloc(LISTS * (size_t)c.active * sizeof *c.units));
    for (int list = 0; list < LISTS; list++)
        for (int r = 0, left = c.active; left; r++)
            if ((int)(rng() % (uint32_t)(c.rows - r)) < left) c.units[(list + 1) * c.active - left--] = r;
    c.a = random_floats((size_t)c.active, 0.1f, 1.0f);
    c.y = random_floats((size_t)c.columns, 0.0f, 0.0f);
    const timing t = {median_seconds(call_sum_rows, &c, copies_of(bytes)), (double)c.row_bytes * c.active, (double)c.columns * c.active, 0.0};
    free(c.units), free(c.a), free(c.y);
    return t;
}
static timing bench_sum_rows_q4_0(any_fn *f, const shape *s) { return bench_sum_rows(f, s, sizeof(qig_block_q4_0), 0); }
static timing bench_sum_rows_q8_0(any_fn *f, const shape *s) { return bench_sum_rows(f, s, sizeof(qig_block_q8_0), 0); }
static timing bench_sum_rows_f16(any_fn *f, const shape *s) { return bench_sum_rows(f, s, 0, 2); }
static timing bench_sum_rows_f32(any_fn *f, const shape *s) { return bench_sum_rows(f, s, 0, 4); }

/* --- attention ------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    any_fn *f;
    int c, keys;
    size_t bytes;
    float *x, *scales, *o;
    int8_t *q;
    float sum, sum2;
} cache_call;

static void call_overlap_i8(void *context, int copy) {
    const cache_call *c = context;
    ((qig_overlap_i8_fn *)c->f)(c->q, 0.01f, (int8_t *)pool + (size_t)copy * c->bytes, (size_t)c->c, c->scales, c->c, c->keys, c->o);
}
static void call_overlap_f32(void *context, int copy) {
    const cache_call *c = context;
    ((qig_overlap_f32_fn *)c->f)(c->x, (float *)(void *)(pool + (size_t)copy * c->bytes), (size_t)c->c, c->c, c->keys, c->o);
}
static void call_mix_i8(void *context, int copy) {
    const cache_call *c = context;
    ((qig_mix_i8_fn *)c->f)(c->x, NULL, (int8_t *)pool + (size_t)copy * c->bytes, (size_t)c->c, c->scales, c->c, c->keys, c->o);
}
static void call_mix_f32(void *context, int copy) {
    const cache_call *c = context;
    ((qig_mix_f32_fn *)c->f)(c->x, (float *)(void *)(pool + (size_t)copy * c->bytes), (size_t)c->c, c->c, c->keys, c->o);
}
static void call_score(void *context, int copy) {
    cache_call *c = context;
    const qig_score_params p = {.metric = QIG_METRIC_BURES, .scale = 10.0f, .slope = 0.01f, .max_distance = 1.5f, .margin = 8.0f};
    (void)copy;
    memcpy(c->o, c->x, (size_t)c->keys * sizeof *c->o);
    ((qig_score_fn *)c->f)(c->o, c->keys, &p, &c->sum, &c->sum2);
}

/* width: bytes of a cached entry, 0 for no cache. */
static timing bench_cache(any_fn *f, void (*call)(void *, int), int c, int keys, size_t width) {
    if (width) keys = rows_in_use(keys, (size_t)c * width);
    cache_call x = {f, c, keys, (size_t)c * (size_t)keys * width, NULL, NULL, NULL, NULL, 0.0f, 0.0f};
    const size_t longest = (size_t)(c > keys ? c : keys);
    if (width) fill_pool(0, 4, x.bytes);
    x.x = random_floats(longest, 0.001f, 0.999f);
    x.scales = random_floats(longest, 0.001f, 0.01f);
    x.o = random_floats(longest, 0.0f, 0.0f);
    x.q = checked(malloc((size_t)c + 1));
    for (int i = 0; i < c; i++) x.q[i] = (int8_t)(rng() % 255 - 127);
    const timing t = {median_seconds(call, &x, copies_of(x.bytes)), (double)x.bytes, (double)c * keys, 0.0};
    free(x.x), free(x.scales), free(x.o), free(x.q);
    return t;
}
static timing bench_overlap_i8(any_fn *f, const shape *s) { return bench_cache(f, call_overlap_i8, s->size[0], s->size[1], 1); }
static timing bench_overlap_f32(any_fn *f, const shape *s) { return bench_cache(f, call_overlap_f32, s->size[0], s->size[1], 4); }
static timing bench_mix_i8(any_fn *f, const shape *s) { return bench_cache(f, call_mix_i8, s->size[0], s->size[1], 1); }
static timing bench_mix_f32(any_fn *f, const shape *s) { return bench_cache(f, call_mix_f32, s->size[0], s->size[1], 4); }
static void call_softmax(void *context, int copy) {
    cache_call *c = context;
    (void)copy;
    memcpy(c->o, c->x, (size_t)c->keys * sizeof *c->o);
    ((qig_softmax_fn *)c->f)(c->o, c->keys, 4.0f, &c->sum, &c->sum2);
}
static timing bench_softmax(any_fn *f, const shape *s) { return bench_cache(f, call_softmax, 0, s->size[0], 0); }
static timing bench_score(any_fn *f, const shape *s) { return bench_cache(f, call_score, 0, s->size[0], 0); }

typedef struct {
    any_fn *f;
    qig_sift_keys in;
    size_t words; /* of a sketch */
    float *o;
    int32_t *rows;
} sift_call;

static void call_sift(void *context, int copy) {
    sift_call *c = context;
    const qig_score_params p = {.metric = QIG_METRIC_BURES, .scale = 20.0f, .slope = 1e-5f, .max_distance = INFINITY, .margin = 4.0f};
    qig_sift_reads reads;
    c->in.sketch = (uint32_t *)(void *)pool + (size_t)(copy + 1) * c->words - qig_sketch_words(c->in.c);
    ((qig_sift_i8_fn *)c->f)(&c->in, &p, c->o, c->rows, &reads);
}

/* The sketches of random keys, of which a query equal to the newest one needs no other: what the sketch itself costs. Bytes and products are the sketch's. */
static timing bench_sift_i8(any_fn *f, const shape *s) {
    const int c = s->size[0], n = s->size[1];
    sift_call x = {.f = f, .words = (size_t)(n / QIG_SKETCH_BLOCK) * qig_sketch_words(c)};
    int8_t *keys = checked(malloc((size_t)c * (size_t)n));
    float *scales = random_floats((size_t)n, 0.0f, 0.0f), *key = NULL;
    const int copies = copies_of(x.words * sizeof(uint32_t));
    for (int j = 0; j < n; j++, free(key)) {
        key = random_floats((size_t)c, -1.0f, 1.0f);
        scales[j] = qig_quantize_i8(key, keys + (size_t)j * (size_t)c, c, 1);
        if (j < n / QIG_SKETCH_BLOCK * QIG_SKETCH_BLOCK) qig_sketch_key(keys + (size_t)j * (size_t)c, scales[j], c, (uint32_t *)(void *)pool + x.words - qig_sketch_words(c), j);
    }
    for (int i = 1; i < copies; i++) memcpy(pool + (size_t)i * x.words * sizeof(uint32_t), pool, x.words * sizeof(uint32_t));
    x.in = (qig_sift_keys){.q = keys + (size_t)c * (size_t)(n - 1), .qs = scales[n - 1], .k = keys, .k_stride = (size_t)c, .ks = scales, .c = c, .n = n};
    x.o = random_floats((size_t)n, 0.0f, 0.0f);
    x.rows = checked(malloc((size_t)n * sizeof *x.rows));
    const timing t = {median_seconds(call_sift, &x, copies), (double)(x.words * sizeof(uint32_t)), (double)c * n, 0.0};
    free(keys), free(scales), free(x.o), free(x.rows);
    return t;
}

/* --- vectors: they stay in the cache, as in the forward pass --------------------------------------------------------------------- */

typedef struct {
    any_fn *f;
    int n;
    float *x, *g, *y;
    void *out;
} vector_call;

static void call_quantize_a8(void *context, int copy) {
    const vector_call *c = context;
    (void)copy;
    ((qig_quantize_a8_fn *)c->f)(c->x, c->out, c->n);
}
static void call_rmsnorm(void *context, int copy) {
    const vector_call *c = context;
    (void)copy;
    ((qig_rmsnorm_fn *)c->f)(c->x, c->g, c->y, c->n, 1e-5f);
}
static void call_relu2(void *context, int copy) {
    const vector_call *c = context;
    (void)copy;
    ((qig_relu2_fn *)c->f)(c->y, c->n); /* values in [0, 1] sink to 0 and stay there */
}
static void call_swiglu(void *context, int copy) {
    const vector_call *c = context;
    (void)copy;
    ((qig_swiglu_fn *)c->f)(c->y, c->g, c->n); /* values sink to 0 and stay there */
}
static void call_add(void *context, int copy) {
    const vector_call *c = context;
    (void)copy;
    ((qig_add_fn *)c->f)(c->y, c->x, c->n);
}
static void call_dot(void *context, int copy) {
    const vector_call *c = context;
    (void)copy;
    c->y[0] = ((qig_dot_fn *)c->f)(c->x, c->g, c->n);
}

static void call_logit_part(void *context, int copy) {
    const vector_call *c = context;
    (void)copy;
    ((qig_logit_part_fn *)c->f)(c->x, c->n, c->out);
}

static timing bench_vector(any_fn *f, void (*call)(void *, int), const shape *s) {
    const size_t n = (size_t)s->size[0];
    vector_call c = {f, s->size[0], random_floats(n, -1.0f, 1.0f), random_floats(n, 0.5f, 1.0f), random_floats(n, 0.0f, 0.0f), NULL};
    c.out = checked(malloc(2 * n + sizeof(qig_block_a8)));
    const timing t = {median_seconds(call, &c, 1), 0.0, 0.0, 0.0};
    free(c.x), free(c.g), free(c.y), free(c.out);
    return t;
}
static timing bench_quantize_a8(any_fn *f, const shape *s) { return bench_vector(f, call_quantize_a8, s); }
static timing bench_rmsnorm(any_fn *f, const shape *s) { return bench_vector(f, call_rmsnorm, s); }
static timing bench_relu2(any_fn *f, const shape *s) { return bench_vector(f, call_relu2, s); }
static timing bench_swiglu(any_fn *f, const shape *s) { return bench_vector(f, call_swiglu, s); }
static timing bench_add(any_fn *f, const shape *s) { return bench_vector(f, call_add, s); }
static timing bench_dot(any_fn *f, const shape *s) { return bench_vector(f, call_dot, s); }
static timing bench_logit_part(any_fn *f, const shape *s) { return bench_vector(f, call_logit_part, s); }

/* --- the rows -------------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *op, *isa, *name;
    any_fn *kernel;
    timing (*bench)(any_fn *, const shape *);
    size_t field; /* offset in qig_ops */
} kernels[] = {
#define QIG_KERNEL(op, contract, isa) {#op, #isa, "qig_" #op "__" #isa, (any_fn *)qig_##op##__##isa, bench_##op, offsetof(qig_ops, op)},
#include "../kernels.inc"
#undef QIG_KERNEL
};
enum { N_KERNELS = sizeof kernels / sizeof *kernels };

static int sizes_wanted(const char *op) {
    return !strncmp(op, "matmul", 6) || !strncmp(op, "sum_rows", 8) ? 3 : !strncmp(op, "overlap", 7) || !strncmp(op, "mix", 3) || !strncmp(op, "sift", 4) ? 2 : 1;
}

static int runs(const qig_ops *set, int i) {
    any_fn *f;
    memcpy(&f, (const char *)set + kernels[i].field, sizeof f);
    return f == kernels[i].kernel;
}

static void print_row(int i, const shape *s, int set) {
    in_use = working_sets[set].bytes;
    const double before = ceiling();
    const timing t = kernels[i].bench(kernels[i].kernel, s);
    const double most = 0.5 * (before + ceiling());
    char sizes[64] = "";
    for (int j = 0; j < s->n_sizes; j++) snprintf(sizes + strlen(sizes), sizeof sizes - strlen(sizes), "%s%d", j ? " x " : "", s->size[j]);
    printf("%-32s %-18s %-6s %11.2f", kernels[i].name, sizes, working_sets[set].name, t.seconds * 1e6);
    if (t.bytes > 0.0) {
        const double rate = t.bytes / t.seconds;
        printf(" %8.2f %8.2f %5.0f%% %9.2f", rate * 1e-9, most * 1e-9, 100.0 * rate / most, t.macs / t.seconds * 1e-9);
    }
    if (t.one_column > 0.0) printf(" %6.2f", t.seconds / t.one_column);
    putchar('\n');
    fflush(stdout);
}

static int fail(const char *what, const char *value) {
    fprintf(stderr, "%s '%s'; usage: qig-kernels-bench SHAPES [ISA|all] [OP], kernel sets here: %s\n", what, value, qig_ops_list());
    return 2;
}

int main(int argc, char **argv) {
    if (argc < 2 || argc > 4) return fail("wrong number of arguments after", argv[0]);
    const int all = argc > 2 && !strcmp(argv[2], "all");
    const qig_ops *set = qig_ops_get(argc > 2 && !all ? argv[2] : NULL);
    const char *only = argc > 3 ? argv[3] : NULL;
    if (!set) return fail("no kernel set", argv[2]);
    FILE *file = fopen(argv[1], "r");
    if (!file) return fail("cannot open the shapes file", argv[1]);
    pool = checked(malloc(POOL));
    printf("%-32s %-18s %-6s %11s %8s %8s %6s %9s %6s\n", "kernel", "shape", "set", "us", "GB/s", "ceiling", "of it", "GMAC/s", "of n=1");

    char line[256];
    int rows = 0;
    while (fgets(line, sizeof line, file)) {
        char op[64];
        shape s = {{0}, 0};
        line[strcspn(line, "#\r\n")] = '\0';
        const int fields = sscanf(line, "%63s %d %d %d", op, &s.size[0], &s.size[1], &s.size[2]);
        if (fields < 1 || (only && strcmp(op, only))) continue;
        s.n_sizes = fields - 1;
        int known = 0, positive = s.n_sizes == sizes_wanted(op);
        for (int j = 0; j < s.n_sizes; j++) positive &= s.size[j] > 0;
        if (!positive) return fail("the sizes do not fit the operation in the line", line);
        for (int i = 0; i < N_KERNELS; i++) {
            if (strcmp(op, kernels[i].op)) continue;
            known = 1;
            if (all ? qig_ops_get(kernels[i].isa) == NULL : !runs(set, i)) continue;
            const int vector = sizes_wanted(op) == 1;
            for (int w = vector ? CACHE : 0; w < (vector ? CACHE + 1 : N_WORKING_SETS); w++) print_row(i, &s, w), rows++;
        }
        if (!known) return fail("unknown operation", op);
    }
    fclose(file);
    free(pool);
    return rows ? 0 : fail("no shape for the operation", only ? only : "");
}
