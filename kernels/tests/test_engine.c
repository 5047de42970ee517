/* test_engine.c - the engine's parts in C: thread pool, sampler at its edges, sums over logits, and a session of a tiny random model. The numbers
 * of the forward pass are held to float64 in tests/kernels/test_engine.py. */
#include <pthread.h>
#include <signal.h>

#include "ops_test.h"

#include "../src/pool.h"
#include "../src/sampler.h"
#include "../src/session.h"
#include "../src/topology.h"
#include "tiny_random.h"

/* --- the pool ----------------------------------------------------------------------------------------------------------------------- */

enum { POOL_MAX = 9, ITEMS = 37 };
typedef struct {
    int n_threads, times[ITEMS], seen[ITEMS], before[ITEMS], held[POOL_MAX];
} pool_case;

/* Counts the item, and copies what the phase before left in its neighbour: one that runs too early or twice is seen. */
static void pool_item(void *arg, int item, int thread) {
    pool_case *c = arg;
    if (thread < 0 || thread >= c->n_threads || __atomic_fetch_add(&c->held[thread], 1, __ATOMIC_RELAXED) != 0) c->times[item] += 1000;
    c->times[item]++;
    c->seen[item] = c->before[(item + 1) % ITEMS];
    sigset_t blocked; /* Ctrl-C is the caller's */
    if (pthread_sigmask(SIG_BLOCK, NULL, &blocked) != 0 || sigismember(&blocked, SIGINT) != (thread > 0)) c->times[item] += 1000;
    __atomic_fetch_sub(&c->held[thread], 1, __ATOMIC_RELAXED);
}

static void test_pool(void) {
    const int counts[] = {1, 2, 3, 4, POOL_MAX};
    qig_topology machine;
    qig_topology_read(&machine);
    current = "pool";
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        const int n = counts[k];
        qig_pool *pool = qig_pool_new(n, &machine);
        pool_case c = {.n_threads = n};
        begin_case();
        CHECK(pool && qig_pool_threads(pool) == n, "%d threads refused", n);
        for (int run = 0; pool && run < 500; run++) {
            const int items = run % (ITEMS + 1);
            for (int i = 0; i < ITEMS; i++) c.times[i] = 0, c.before[i] = run * ITEMS + i;
            qig_pool_run(pool, n, pool_item, &c, items);
            for (int i = 0; i < ITEMS; i++) {
                CHECK(c.times[i] == (i < items), "%d threads, run %d: item %d ran %d times", n, run, i, c.times[i]);
                CHECK(i >= items || c.seen[i] == run * ITEMS + (i + 1) % ITEMS, "%d threads, run %d: item %d saw an old value", n, run, i);
            }
            if (run == 250) usleep(20000); /* the threads sleep now */
        }
        qig_pool_free(pool);
        end_case();
    }
    begin_case();
    CHECK(qig_pool_new(0, &machine) == NULL, "a pool of nobody");
    qig_pool_free(NULL);
    CHECK(machine.cpus >= 1 && machine.big >= 1 && machine.big <= machine.cpus, "%d of %d processors are big", machine.big, machine.cpus);
    end_case();
}

/* --- sampling ----------------------------------------------------------------------------------------------------------------------- */

static const qig_sampler_params neutral = {.temperature = 1, .top_p = 1, .repeat_penalty = 1};

static int draw_once(qig_sampler_params p, const float *logits, int n, const int32_t *history, int n_history, uint64_t seed, int32_t *token) {
    qig_candidate scratch[300];
    char err[128];
    uint64_t rng = qig_rng_seed(seed);
    return qig_sampler_draw(&p, logits, n, history, n_history, scratch, &rng, token, err, sizeof err);
}

static void test_sampler_edges(void) {
    current = "sampler";
    float logits[300];
    int32_t token = -1;
    const float bad[] = {NAN, INFINITY};
    for (int k = 0; k < 2; k++)
        for (int at = 0; at < 300; at += 299) {
            begin_case();
            for (int i = 0; i < 300; i++) logits[i] = rng_float();
            logits[at] = bad[k];
            for (int greedy = 0; greedy < 2; greedy++) {
                qig_sampler_params p = neutral;
                p.temperature = greedy ? 0.0f : 1.0f;
                CHECK(draw_once(p, logits, 300, NULL, 0, 1, &token) == QIG_ERR_ARG, "a logit of %f passes", (double)bad[k]);
            }
            end_case();
        }
    begin_case();
    for (int i = 0; i < 300; i++) logits[i] = -INFINITY;
    CHECK(draw_once(neutral, logits, 300, NULL, 0, 1, &token) == QIG_ERR_ARG, "nothing possible passes");
    logits[17] = -1e30f;
    for (uint64_t seed = 0; seed < 20; seed++) CHECK(draw_once(neutral, logits, 300, NULL, 0, seed, &token) == QIG_OK && token == 17, "the only possible token");
    end_case();

    begin_case(); /* ties go to the lower id, in every way of choosing */
    for (int i = 0; i < 300; i++) logits[i] = i >= 40 ? 2.0f : -1.0f;
    qig_sampler_params p = neutral;
    p.temperature = 0;
    CHECK(draw_once(p, logits, 300, NULL, 0, 1, &token) == QIG_OK && token == 40, "greedy tie: %d", (int)token);
    for (uint64_t seed = 0; seed < 200; seed++) {
        p = neutral;
        p.top_k = 3;
        CHECK(draw_once(p, logits, 300, NULL, 0, seed, &token) == QIG_OK && token >= 40 && token < 43, "top-k tie: %d", (int)token);
        p.top_k = 0;
        p.top_p = 0.01f; /* 260 equal tokens: three reach it */
        CHECK(draw_once(p, logits, 300, NULL, 0, seed, &token) == QIG_OK && token >= 40 && token < 43, "top-p tie: %d", (int)token);
    }
    end_case();

    begin_case(); /* the penalty counts a token once, leaves the caller's logits alone, and ignores ids out of range */
    for (int i = 0; i < 300; i++) logits[i] = 0;
    logits[5] = 3.0f, logits[6] = 2.9f, logits[7] = -1.0f;
    const int32_t history[] = {9, 5, 5, 5, -3, 4000};
    p = neutral;
    p.temperature = 0, p.repeat_penalty = 1.05f, p.repeat_last_n = 6; /* 3 / 1.05 = 2.857; twice counted it would be 2.72 */
    CHECK(draw_once(p, logits, 300, history, 6, 1, &token) == QIG_OK && token == 6 && logits[5] == 3.0f, "penalty: %d", (int)token);
    p.repeat_last_n = 2;
    CHECK(draw_once(p, logits, 300, history, 6, 1, &token) == QIG_OK && token == 5, "penalty out of reach: %d", (int)token);
    logits[6] = 2.8f, p.repeat_last_n = 1000;
    CHECK(draw_once(p, logits, 300, history, 6, 1, &token) == QIG_OK && token == 5, "penalty counted twice: %d", (int)token);
    end_case();

    static const struct { size_t field; float value; } refused[] = {
        {offsetof(qig_sampler_params, temperature), -0.1f}, {offsetof(qig_sampler_params, temperature), NAN}, {offsetof(qig_sampler_params, top_p), 0},
        {offsetof(qig_sampler_params, top_p), 1.1f}, {offsetof(qig_sampler_params, min_p), -1}, {offsetof(qig_sampler_params, min_p), NAN},
        {offsetof(qig_sampler_params, repeat_penalty), 0}, {offsetof(qig_sampler_params, repeat_penalty), NAN}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        begin_case();
        char err[128] = "";
        p = neutral;
        memcpy((char *)&p + refused[i].field, &refused[i].value, sizeof(float));
        CHECK(qig_sampler_check(&p, err, sizeof err) == QIG_ERR_ARG && err[0], "field at %zu takes %f", refused[i].field, (double)refused[i].value);
        end_case();
    }
    begin_case();
    CHECK(qig_sampler_check(&neutral, NULL, 0) == QIG_OK, "neutral values refused");
    uint64_t state = qig_rng_seed(3);
    double mean = 0;
    for (int i = 0; i < 20000; i++) {
        double u = qig_rng_uniform(&state);
        CHECK(u >= 0 && u < 1, "uniform %g", u);
        mean += u / 20000;
    }
    CHECK_NEAR(mean, 0.5, 0.01, "uniform mean %g", mean);
    end_case();
}

/* The k best with penalties, against a selection by looking for the best k times; histories on both sides of what is looked for one by one. */
static void test_selection(void) {
    current = "selection";
    enum { VOCAB = 500, MOST = 400 };
    static const int ks[] = {1, 2, 7, 40, 499}, lengths[] = {0, 1, 10, 256, 257, MOST};
    static const float penalties[] = {1.3f, 0.7f};
    for (int kind = 0; kind < 2; kind++)
        for (int a = 0; a < 5; a++)
            for (int b = 0; b < 6; b++)
                for (int c = 0; c < 2; c++) {
                    float logits[VOCAB], left[VOCAB];
                    int32_t history[MOST];
                    const int k = ks[a], n = lengths[b];
                    begin_case();
                    for (int i = 0; i < VOCAB; i++) logits[i] = kind ? (float)rng_int(-3, 3) : 5.0f * rng_float(); /* many ties, or none */
                    for (int i = 0; i < n; i++) history[i] = rng_int(-2, VOCAB + 1);
                    memcpy(left, logits, sizeof left);
                    for (int i = 0; i < n; i++)
                        if (history[i] >= 0 && history[i] < VOCAB) {
                            const float l = logits[history[i]];
                            left[history[i]] = l > 0 ? l / penalties[c] : l * penalties[c];
                        }
                    qig_sampler_params p = neutral;
                    p.top_k = k, p.repeat_penalty = penalties[c], p.repeat_last_n = MOST;
                    if (k == 1) p.temperature = 0;
                    static qig_candidate scratch[VOCAB];
                    qig_choice out;
                    char err[100];
                    CHECK(qig_sampler_shape(&p, logits, VOCAB, history, n, scratch, &out, err, sizeof err) == QIG_OK && out.end - out.first == k, "k %d n %d: %d kept", k, n,
                          (int)(out.end - out.first));
                    for (int i = 0; i < k; i++) {
                        int best = 0, found = 0;
                        for (int j = 1; j < VOCAB; j++) best = left[j] > left[best] ? j : best;
                        for (int j = out.first; j < out.end; j++) found += out.c[j].id == best && same_bits(out.c[j].logit, left[best]);
                        CHECK(found == 1 && (i || out.best.id == best), "k %d n %d penalty %g: number %d of the best, token %d, is there %d times", k, n, (double)penalties[c], i,
                              best, found);
                        left[best] = -INFINITY;
                    }
                    end_case();
                }
}

/* --- sums over logits ---------------------------------------------------------------------------------------------------------------- */

static void test_logit_sums(void) {
    current = "logit sums";
    const int sizes[] = {1, 15, 16, 17, 2047, 2048, 2049, 5000};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int kind = 0; kind < 4; kind++) {
            const int n = sizes[k];
            static float values[5000];
            const float spread = kind == 0 ? 1.0f : kind == 1 ? 20.0f : kind == 2 ? 300.0f : 0.0f;
            begin_case();
            for (int i = 0; i < n; i++) values[i] = rng_float() * spread + 7.0f;
            float *l = guarded_copy(values, (size_t)n * sizeof *l);
            if (kind == 1 && n > 1) l[n / 2] = -INFINITY;
            double max = -INFINITY, sum = 0, sum2 = 0;
            for (int i = 0; i < n; i++) max = l[i] > max ? l[i] : max;
            for (int i = 0; i < n; i++) sum += exp(l[i] - max), sum2 += exp(2 * (l[i] - max));
            qig_logit_part parts[3];
            for (int at = 0; at < n; at += QIG_LOGIT_PART) qig_ops_get("auto")->logit_part(l + at, n - at < QIG_LOGIT_PART ? n - at : QIG_LOGIT_PART, &parts[at / QIG_LOGIT_PART]);
            qig_logit_stats got = qig_logits_combine(parts, qig_logit_parts(n));
            /* a float32 sum of 2048 / 16 terms a lane, and 2e-7 an exponential */
            CHECK_NEAR(got.lse, max + log(sum), 2e-6, "n %d spread %g: lse %.9g, not %.9g", n, (double)spread, got.lse, max + log(sum));
            CHECK_NEAR(got.purity, sum2 / (sum * sum), 4e-6 * sum2 / (sum * sum) + 1e-12, "n %d spread %g: purity %.9g", n, (double)spread, got.purity);
            l[n - 1] = NAN;
            qig_ops_get("auto")->logit_part(l + (n - 1) / QIG_LOGIT_PART * QIG_LOGIT_PART, (n - 1) % QIG_LOGIT_PART + 1, &parts[(n - 1) / QIG_LOGIT_PART]);
            got = qig_logits_combine(parts, qig_logit_parts(n));
            CHECK(isnan(got.purity), "n %d: a NaN disappears", n);
            end_case();
            release_buffers();
        }
}

static void test_formulas(void) {
    current = "formulas";
    for (int i = 1; i < 10; i++) {
        begin_case();
        const double threshold = 0.1 * i, d = qig_gate_distance((float)threshold, QIG_METRIC_BURES);
        const double o = 1 - (d * d - 1e-6) / 2, p = (3 + o) / 4, coupling = 1 + p * log2(p) + (1 - p) * log2(1 - p);
        CHECK_NEAR(coupling, threshold, 1e-6, "coupling %g at the distance of %g", coupling, threshold);
        CHECK_NEAR(qig_gate_distance((float)threshold, QIG_METRIC_FISHER_RAO), 2 * asin(d / 2), 1e-6, "fisher-rao distance of %g", threshold);
        end_case();
    }
    begin_case();
    CHECK(isinf(qig_gate_distance(0, QIG_METRIC_BURES)), "no threshold cuts");
    const float a[7] = {1, 2, 3, 4, 5, 6, 7}, b[7] = {-2, 1, 0, 0, 0, 0, 0}, zero[7] = {0};
    CHECK_NEAR(qig_angle(a, a, 7), 0, 1e-7, "angle to itself");
    CHECK_NEAR(qig_angle(a, b, 7), acos(-1) / 2, 1e-12, "right angle");
    CHECK(qig_angle(a, zero, 7) == 0, "angle to nothing");
    CHECK_NEAR(qig_surprise(log(0.25)), sqrt(0.5), 1e-7, "surprise of a quarter");
    CHECK(qig_surprise(0) == 0 && qig_surprise(1e-9) == 0 && qig_surprise(-INFINITY) == 1, "surprise at its ends");
    end_case();
}

/* --- sessions of a tiny random model -------------------------------------------------------------------------------------------------- */

/* Counts what the library asks for; sanitizers have a malloc of their own. */
static long allocations;
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(SANITIZED)
enum { COUNTING = 1 };
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *malloc(size_t n) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_malloc(n);
}
void *calloc(size_t n, size_t size) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __libc_realloc(p, n);
}
#else
enum { COUNTING = 0 };
#endif

static qig_session *new_session(qig_model *m, qig_session_params p) {
    char err[256];
    qig_session *s = NULL;
    if (qig_session_new(m, &p, &s, err, sizeof err) != QIG_OK) {
        fprintf(stderr, "%s\n", err);
        exit(1);
    }
    return s;
}

static void test_sessions(void) {
    current = "session";
    tiny_file f;
    qig_model *m = random_tiny(&f);
    char err[256];
    int32_t ids[40];
    for (int i = 0; i < 40; i++) ids[i] = rng_int(0, TINY_VOCAB - 1);
    float want[TINY_VOCAB] = {0};
    for (int threads = 1; threads <= 4; threads++)
        for (int batch = 1; batch <= 9; batch += 4) {
            begin_case();
            qig_session *s = new_session(m, (qig_session_params){.n_threads = threads, .n_batch = batch, .prompt_telemetry = batch & 1});
            CHECK(qig_session_logits(s) == NULL && qig_session_pos(s) == 0 && qig_session_n_ctx(s) == 64 && qig_session_n_threads(s) == threads, "a fresh session");
            const long before = __atomic_load_n(&allocations, __ATOMIC_RELAXED);
            CHECK(before > 0 || !COUNTING, "allocations are not counted");
            CHECK(qig_session_eval(s, ids, 30, NULL, err, sizeof err) == QIG_OK, "eval");
            for (int i = 30; i < 40; i++) {
                int32_t token;
                CHECK(qig_session_sample(s, &token, err, sizeof err) == QIG_OK, "sample");
                CHECK(qig_session_eval(s, ids + i, 1, NULL, err, sizeof err) == QIG_OK, "eval");
            }
            CHECK(qig_session_rollback(s, 35, err, sizeof err) == QIG_OK && qig_session_eval(s, ids + 35, 5, NULL, err, sizeof err) == QIG_OK, "rollback");
            CHECK(__atomic_load_n(&allocations, __ATOMIC_RELAXED) == before, "the token loop allocates");
            if (threads == 1 && batch == 1) memcpy(want, qig_session_logits(s), sizeof want);
            CHECK(isfinite(want[0]) && want[0] != want[1], "these logits say nothing");
            for (int i = 0; i < TINY_VOCAB; i++) CHECK(same_bits(want[i], qig_session_logits(s)[i]), "%d threads, batch %d: logit %d is another", threads, batch, i);
            CHECK(qig_session_slide(s, 3, 10, err, sizeof err) == QIG_OK && qig_session_pos(s) == 13, "slide");
            CHECK(qig_session_eval(s, qig_session_tokens(s), 13, NULL, err, sizeof err) == QIG_OK && qig_session_pos(s) == 26, "the history itself as input");
            qig_session_free(s);
            end_case();
        }

    begin_case(); /* two sessions of one model are strangers */
    qig_session *a = new_session(m, (qig_session_params){.n_threads = 2}), *b = new_session(m, (qig_session_params){.n_threads = 1, .n_ctx = 100});
    for (int i = 0; i < 40; i++) {
        CHECK(qig_session_eval(a, ids + i, 1, NULL, err, sizeof err) == QIG_OK, "eval");
        CHECK(qig_session_eval(b, ids + 39 - i, 1, NULL, err, sizeof err) == QIG_OK, "eval");
    }
    CHECK(memcmp(want, qig_session_logits(a), sizeof want) == 0 && memcmp(want, qig_session_logits(b), sizeof want) != 0, "sessions mix");
    qig_session_free(b);
    qig_session_free(a);
    end_case();

    begin_case(); /* a model whose weights are NaN runs, reports NaN and draws nothing */
    qig_tensor_info t;
    for (int64_t i = 0; qig_model_tensor(m, i, &t) == QIG_OK; i++)
        if (strcmp(t.name, "output_norm.weight") == 0) {
            const float nan = NAN;
            memcpy(f.p + t.offset, &nan, sizeof nan);
        }
    qig_session *s = new_session(m, (qig_session_params){.n_threads = 1});
    qig_telemetry record;
    int32_t token;
    CHECK(qig_session_eval(s, ids, 3, NULL, err, sizeof err) == QIG_OK && qig_session_eval(s, ids, 1, NULL, err, sizeof err) == QIG_OK, "eval");
    CHECK(qig_session_sample(s, &token, err, sizeof err) == QIG_ERR_ARG && strstr(err, "not a number"), "draws from NaN: %s", err);
    CHECK(qig_session_telemetry(s, 3, &record) == QIG_OK && isnan(record.confidence), "confidence %f", (double)record.confidence);
    CHECK(qig_session_telemetry(s, 4, &record) == QIG_ERR_ARG && qig_session_telemetry(s, -1, &record) == QIG_ERR_ARG, "a record that is not there");
    qig_session_free(s);
    qig_session_free(NULL);
    end_case();
    qig_model_close(m);
    free(f.p);
}

static void test_bandwidth(void) {
    current = "bandwidth";
    begin_case();
    CHECK(qig_read_bandwidth(1 << 20, 2, 1) > 0 && qig_read_bandwidth(1, 1, 1) > 0, "nothing measured");
    CHECK(!(qig_read_bandwidth(1 << 20, -1, 1) > 0) && !(qig_read_bandwidth(1 << 20, 1, 0) > 0), "bad arguments");
    end_case();
}

int main(int argc, char **argv) {
    rng_state = argc > 1 ? strtoull(argv[1], NULL, 10) : 20;
    printf("test_engine: seed %llu\n", (unsigned long long)rng_state);
    test_pool();
    test_sampler_edges();
    test_selection();
    test_logit_sums();
    test_formulas();
    test_sessions();
    test_bandwidth();
    printf("test_engine: %ld cases, %ld failed\n", cases_run, cases_failed);
    return cases_failed || cases_run < 70;
}
