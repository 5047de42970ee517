/* main_bench.c - qig bench: what the model costs on this machine, beside the ceiling that its memory sets.
 *
 * Decode reads every weight once a token, so tokens/s <= bandwidth / bytes a token; the ceiling is measured in the same run with the same threads
 * on a buffer of the model's size. Tokens are pseudo-random ids, or those of a text, again and again: what a model that adapts runs depends on
 * what it reads. Memory is read off before that buffer exists. Where keys are left out that the gate cuts, the same decode is timed by turns with
 * a second session that reads them all: same floats, and the ratio of two times of one moment.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "main.h"
#include "topology.h"

enum { FIRST_TOKEN_PROMPT = 32, BANDWIDTH_ROUNDS = 5, LOADS = 5 };

typedef struct { double *samples; int n; } series;

typedef struct {
    int depth, fits;
    double bytes_per_token, blocks_run, agency; /* means over the tokens of a test */
    series rate;            /* tokens a second */
    double seen, sketched, sketch_bytes, keys, values; /* of the cache, means over the same tokens: qig_cache_reads */
    series gain; /* time of a test that reads all keys over the time of one that does not; empty where none are left out */
} decode_result;

typedef struct {
    const options *o;
    opened a;
    int32_t *ids; /* [n_ctx] */
    qig_model_info info;
    series load_ms, first_ms, prefill;
    int prefill_fits;
    decode_result decode[MAX_DEPTHS];
    char cpu[128];
    uint64_t rss, buffer_bytes;
    double ceiling; /* bytes a second */
} bench;

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double sorted_at(const series *s, double where) { /* where 0: lowest, 0.5: median, 1: highest */
    double copy[1000]; /* --repeat's limit */
    if (s->n == 0) return NAN;
    memcpy(copy, s->samples, (size_t)s->n * sizeof *copy);
    qsort(copy, (size_t)s->n, sizeof *copy, compare);
    double at = where * (s->n - 1);
    int i = (int)at;
    return i + 1 < s->n ? copy[i] + (at - i) * (copy[i + 1] - copy[i]) : copy[i];
}

static double median(const series *s) { return sorted_at(s, 0.5); }

static int new_series(series *s, int n) {
    s->samples = calloc((size_t)n, sizeof *s->samples);
    return s->samples ? QIG_EXIT_OK : fail("out of memory");
}

static int eval(bench *b, qig_session *s, int32_t n) {
    char err[ERR_SIZE];
    return qig_session_eval(s, b->ids + qig_session_pos(s), n, NULL, err, sizeof err) == QIG_OK ? QIG_EXIT_OK : fail("%s", err);
}

static int go_back(qig_session *s, int32_t pos) {
    char err[ERR_SIZE];
    return qig_session_rollback(s, pos, err, sizeof err) == QIG_OK ? QIG_EXIT_OK : fail("%s", err);
}

/* One test of decoding at a depth whose tokens the session holds; its seconds. */
static int decode_once(bench *b, qig_session *s, int32_t depth, double *seconds) {
    int rc = go_back(s, depth);
    const double start = now();
    for (int k = 0; k < b->o->decode && rc == QIG_EXIT_OK; k++) rc = eval(b, s, 1);
    *seconds = now() - start;
    return rc;
}

/* The session at a depth; what it holds of it is not evaluated again. */
static int go_to(bench *b, qig_session *s, int32_t depth) {
    const int32_t pos = qig_session_pos(s);
    return pos < depth ? eval(b, s, depth - pos) : go_back(s, depth);
}

static int measure_load(bench *b) {
    char err[ERR_SIZE];
    int rc = new_series(&b->load_ms, LOADS);
    for (int i = -1; i < LOADS && rc == QIG_EXIT_OK; i++) { /* the first one warms the page cache */
        qig_model *m;
        double start = now();
        if (qig_model_open(b->o->model, b->o->isa, &m, err, sizeof err) != QIG_OK) return fail("%s", err);
        if (i >= 0) b->load_ms.samples[b->load_ms.n++] = (now() - start) * 1e3;
        qig_model_close(m);
    }
    return rc;
}

/* Times of evaluating n tokens from the start: into s as milliseconds, or as tokens a second. */
static int measure_prompt(bench *b, int32_t n, int as_rate, series *s) {
    int rc = new_series(s, b->o->repeat);
    for (int i = -1; i < b->o->repeat && rc == QIG_EXIT_OK; i++) { /* the first one touches the weights */
        rc = go_back(b->a.session, 0);
        double start = now();
        if (rc == QIG_EXIT_OK) rc = eval(b, b->a.session, n);
        double t = now() - start;
        if (i >= 0 && rc == QIG_EXIT_OK) s->samples[s->n++] = as_rate ? n / t : t * 1e3;
    }
    return rc;
}

/* first: of these tests; one goes before it in which the session may still try out its thread count. */
static int measure_decode(bench *b, decode_result *r, int first) {
    qig_session *s = b->a.session;
    const int n = b->o->decode;
    int rc = new_series(&r->rate, b->o->repeat);
    if (rc == QIG_EXIT_OK) rc = go_to(b, s, r->depth);
    for (int i = first ? -1 : 0; i < b->o->repeat && rc == QIG_EXIT_OK; i++) {
        double seconds;
        rc = decode_once(b, s, r->depth, &seconds);
        if (rc == QIG_EXIT_OK && i >= 0) r->rate.samples[r->rate.n++] = n / seconds;
    }
    for (int k = 0; k < n && rc == QIG_EXIT_OK; k++) { /* every test's tokens are these */
        qig_telemetry t;
        qig_cache_reads c;
        if (qig_session_telemetry(s, r->depth + k, &t) != QIG_OK || qig_session_cache_reads(s, r->depth + k, &c) != QIG_OK)
            return fail("the session has no record of position %d", r->depth + k);
        r->bytes_per_token += (double)t.bytes_read / n;
        r->blocks_run += (double)t.blocks_run / n;
        r->agency += (double)t.agency / n;
        r->seen += (double)c.keys_seen / n;
        r->sketched += (double)c.keys_sketched / n;
        r->sketch_bytes += (double)c.sketch_bytes / n;
        r->keys += (double)c.keys_read / n;
        r->values += (double)c.values_read / n;
    }
    return rc;
}

/* The gains, by turns with a session that reads all keys. */
static int measure_gains(bench *b) {
    const options *o = b->o;
    char err[ERR_SIZE];
    qig_session *all = NULL;
    int rc = QIG_EXIT_OK;
    for (int i = 0; i < o->n_depths && rc == QIG_EXIT_OK; i++) {
        decode_result *r = &b->decode[i];
        if (!r->fits || r->sketched == 0) continue;
        const qig_session_params p = { .n_ctx = qig_session_n_ctx(b->a.session), .n_threads = qig_session_n_threads(b->a.session),
                                       .n_threads_batch = qig_session_n_threads_batch(b->a.session), .cache_type = o->cache, .all_keys = 1 };
        if (!all && qig_session_new(b->a.model, &p, &all, err, sizeof err) != QIG_OK) return fail("%s", err);
        rc = new_series(&r->gain, o->repeat);
        if (rc == QIG_EXIT_OK) rc = go_to(b, b->a.session, r->depth);
        if (rc == QIG_EXIT_OK) rc = go_to(b, all, r->depth);
        for (int k = 0; k < o->repeat && rc == QIG_EXIT_OK; k++) {
            double seconds[2];
            for (int turn = 0; turn < 2 && rc == QIG_EXIT_OK; turn++) {
                const int second = (turn + k) % 2; /* who goes first changes */
                rc = decode_once(b, second ? all : b->a.session, r->depth, &seconds[second]);
            }
            if (rc == QIG_EXIT_OK) r->gain.samples[r->gain.n++] = seconds[1] / seconds[0];
        }
    }
    qig_session_free(all);
    return rc;
}

/* The tokens to evaluate: of the text that was given, from its start again where it is short, else pseudo-random. */
static int fill_ids(bench *b, int32_t n_ctx) {
    id_list text = { 0 };
    b->ids = malloc((size_t)n_ctx * sizeof *b->ids);
    if (!b->ids) return fail("out of memory");
    if (b->o->text) {
        size_t len = 0;
        FILE *f = fopen(b->o->text, "rb");
        char *bytes = f ? read_all(f, &len) : NULL;
        const int bad = !f || ferror(f);
        if (f) fclose(f);
        int rc = bad ? fail("--text %s: the file cannot be read", b->o->text) : bytes ? add_text(&text, b->a.model, bytes, len) : QIG_EXIT_USER;
        free(bytes);
        if (rc == QIG_EXIT_OK && text.n == 0) rc = fail("--text %s: the file is empty", b->o->text);
        for (int32_t i = 0; i < n_ctx && rc == QIG_EXIT_OK; i++) b->ids[i] = text.ids[i % text.n];
        free(text.ids);
        return rc;
    }
    uint32_t x = 1;
    for (int32_t i = 0; i < n_ctx; i++) {
        x = x * 1664525u + 1013904223u;
        b->ids[i] = (int32_t)((x >> 8) % (uint32_t)b->info.vocab_size);
    }
    return QIG_EXIT_OK;
}

static int measure(bench *b) {
    const options *o = b->o;
    const int32_t n_ctx = qig_session_n_ctx(b->a.session);
    int rc = fill_ids(b, n_ctx);
    if (rc == QIG_EXIT_OK) rc = measure_load(b);
    const int32_t prompt = n_ctx < FIRST_TOKEN_PROMPT ? n_ctx : FIRST_TOKEN_PROMPT;
    if (rc == QIG_EXIT_OK) rc = measure_prompt(b, prompt, 0, &b->first_ms);
    b->prefill_fits = o->prefill <= n_ctx;
    if (rc == QIG_EXIT_OK && b->prefill_fits) rc = measure_prompt(b, o->prefill, 1, &b->prefill);
    int first = 1;
    for (int i = 0; i < o->n_depths && rc == QIG_EXIT_OK; i++) {
        b->decode[i].depth = o->depths[i];
        b->decode[i].fits = o->depths[i] + o->decode <= n_ctx;
        if (b->decode[i].fits) rc = measure_decode(b, &b->decode[i], first);
        if (b->decode[i].fits) first = 0;
    }
    if (rc != QIG_EXIT_OK) return rc;
    b->rss = peak_rss();
    rc = measure_gains(b);
    if (rc != QIG_EXIT_OK) return rc;
    b->buffer_bytes = b->info.file_bytes < 1u << 30 ? b->info.file_bytes : 1u << 30;
    b->ceiling = qig_read_bandwidth(b->buffer_bytes, qig_session_n_threads(b->a.session), BANDWIDTH_ROUNDS);
    if (!(b->ceiling > 0)) return fail("no memory for a buffer of %llu bytes to measure the bandwidth on", (unsigned long long)b->buffer_bytes);
    return QIG_EXIT_OK;
}

static double bytes_per_second(const decode_result *r) { return r->bytes_per_token * median(&r->rate); }

static void print_row(const char *what, const series *s, const char *unit) {
    printf("%-24s %10.2f %-6s  %.2f to %.2f\n", what, median(s), unit, sorted_at(s, 0), sorted_at(s, 1));
}

static void print_table(const bench *b) {
    char what[64];
    const int n_ctx = (int)qig_session_n_ctx(b->a.session);
    printf("%s  %s  %.2f MiB  %.1f M parameters\n", b->info.name, b->info.file_type, (double)b->info.file_bytes / 0x1p20, (double)b->info.n_params / 1e6);
    printf("%s, %s, %d threads (%d for prefill), context %d\n\n", b->cpu, b->info.isa, (int)qig_session_n_threads(b->a.session),
           (int)qig_session_n_threads_batch(b->a.session), n_ctx);
    printf("%-24s %10s %-6s  range of %d\n", "", "median", "", b->o->repeat);
    print_row("open", &b->load_ms, "ms");
    print_row("first token (32)", &b->first_ms, "ms");
    snprintf(what, sizeof what, "prefill %d", b->o->prefill);
    if (b->prefill_fits) print_row(what, &b->prefill, "tok/s");
    else printf("%-24s does not fit the context of %d\n", what, n_ctx);
    for (int i = 0; i < b->o->n_depths; i++) {
        const decode_result *r = &b->decode[i];
        snprintf(what, sizeof what, "decode %d at %d", b->o->decode, r->depth);
        if (r->fits) print_row(what, &r->rate, "tok/s");
        else printf("%-24s does not fit the context of %d\n", what, n_ctx);
    }
    printf("\nmemory %.2f MiB at its peak (model %.2f, cache %.2f)\n", (double)b->rss / 0x1p20, (double)b->info.file_bytes / 0x1p20,
           (double)qig_session_cache_bytes(b->a.session) / 0x1p20);
    printf("read bandwidth %.2f GB/s on %.2f MiB\n", b->ceiling / 1e9, (double)b->buffer_bytes / 0x1p20);
    for (int i = 0; i < b->o->n_depths; i++) {
        const decode_result *r = &b->decode[i];
        if (!r->fits) continue;
        printf("depth %d: %.2f MB a token, %.2f GB/s, %.0f%% of the ceiling; blocks %.2f of %d, pairs active %.0f%%\n", r->depth, r->bytes_per_token / 1e6,
               bytes_per_second(r) / 1e9, 100 * bytes_per_second(r) / b->ceiling, r->blocks_run, (int)b->info.n_layers, 100 * r->agency);
        if (r->gain.n)
            printf("          of %.0f keys %.1f%% sketched (%.2f MB), %.1f%% read, %.1f%% of the values; %.2f times as fast as reading all keys (%.2f to %.2f, by turns)\n",
                   r->seen, 100 * r->sketched / r->seen, r->sketch_bytes / 1e6, 100 * r->keys / r->seen, 100 * r->values / r->seen, median(&r->gain), sorted_at(&r->gain, 0),
                   sorted_at(&r->gain, 1));
    }
}

static void json_series(const char *name, const series *s) {
    printf("\"%s\": {\"median\": ", name);
    print_json_number(stdout, median(s));
    fputs(", \"min\": ", stdout);
    print_json_number(stdout, sorted_at(s, 0));
    fputs(", \"max\": ", stdout);
    print_json_number(stdout, sorted_at(s, 1));
    fputs(", \"spread\": ", stdout);
    print_json_number(stdout, sorted_at(s, 1) - sorted_at(s, 0));
    fputs(", \"samples\": [", stdout);
    for (int i = 0; i < s->n; i++) {
        if (i) fputs(", ", stdout);
        print_json_number(stdout, s->samples[i]);
    }
    fputs("]}", stdout);
}

static void json_text(const char *name, const char *value) {
    printf("\"%s\": ", name);
    print_json_string(stdout, value);
    fputs(", ", stdout);
}

static void json_count(const char *name, unsigned long long value) { printf("\"%s\": %llu, ", name, value); }

static void json_number(const char *name, double value) {
    printf("\"%s\": ", name);
    print_json_number(stdout, value);
}

static void print_json(const bench *b) {
    const int n_ctx = (int)qig_session_n_ctx(b->a.session);
    putchar('{');
    json_text("version", qig_version());
    json_text("model", b->o->model);
    json_text("tokens", b->o->text ? b->o->text : "random");
    json_text("name", b->info.name);
    json_text("architecture", b->info.architecture);
    json_text("file_type", b->info.file_type);
    json_count("n_params", b->info.n_params);
    json_count("file_bytes", b->info.file_bytes);
    json_count("weight_bytes", b->info.weight_bytes);
    json_count("cache_bytes", qig_session_cache_bytes(b->a.session));
    json_count("n_layers", (unsigned long long)b->info.n_layers);
    json_count("context", (unsigned long long)n_ctx);
    json_text("isa", b->info.isa);
    json_count("threads", (unsigned long long)qig_session_n_threads(b->a.session));
    json_count("threads_batch", (unsigned long long)qig_session_n_threads_batch(b->a.session));
    json_text("cpu", b->cpu);
    json_series("load_ms", &b->load_ms);
    printf(", \"first_token\": {\"prompt\": %d, ", n_ctx < FIRST_TOKEN_PROMPT ? n_ctx : (int)FIRST_TOKEN_PROMPT);
    json_series("ms", &b->first_ms);
    printf("}, \"prefill\": {\"tokens\": %d, \"fits\": %s", b->o->prefill, b->prefill_fits ? "true" : "false");
    if (b->prefill_fits) {
        fputs(", ", stdout);
        json_series("tokens_per_second", &b->prefill);
    }
    fputs("}, \"decode\": [", stdout);
    for (int i = 0; i < b->o->n_depths; i++) {
        const decode_result *r = &b->decode[i];
        printf("%s{\"depth\": %d, \"tokens\": %d, \"fits\": %s", i ? ", " : "", r->depth, b->o->decode, r->fits ? "true" : "false");
        if (r->fits) {
            fputs(", ", stdout);
            json_series("tokens_per_second", &r->rate);
            fputs(", ", stdout);
            json_number("bytes_per_token", r->bytes_per_token);
            fputs(", ", stdout);
            json_number("blocks_run", r->blocks_run);
            fputs(", ", stdout);
            json_number("agency", r->agency);
            fputs(", ", stdout);
            json_number("keys_seen", r->seen);
            fputs(", ", stdout);
            json_number("keys_sketched", r->sketched);
            fputs(", ", stdout);
            json_number("sketch_bytes", r->sketch_bytes);
            fputs(", ", stdout);
            json_number("keys_read", r->keys);
            fputs(", ", stdout);
            json_number("values_read", r->values);
            fputs(", ", stdout);
            if (r->gain.n) {
                json_series("over_all_keys", &r->gain);
                fputs(", ", stdout);
            }
            json_number("bytes_per_second", bytes_per_second(r));
            fputs(", ", stdout);
            json_number("ceiling_fraction", bytes_per_second(r) / b->ceiling);
        }
        putchar('}');
    }
    fputs("], ", stdout);
    json_count("peak_rss_bytes", b->rss);
    json_count("bandwidth_buffer_bytes", b->buffer_bytes);
    json_number("bandwidth_bytes_per_second", b->ceiling);
    puts("}");
}

int run_bench(const options *o) {
    bench b = { .o = o };
    int rc = open_all(o, &b.a, o->ctx);
    if (rc != QIG_EXIT_OK) return rc;
    qig_model_get_info(b.a.model, &b.info);
    qig_cpu_name(b.cpu, sizeof b.cpu);
    rc = measure(&b);
    if (rc == QIG_EXIT_OK) {
        if (o->json) print_json(&b);
        else print_table(&b);
        rc = flush_stdout();
    }
    free(b.ids);
    free(b.load_ms.samples);
    free(b.first_ms.samples);
    free(b.prefill.samples);
    for (int i = 0; i < o->n_depths; i++) {
        free(b.decode[i].rate.samples);
        free(b.decode[i].gain.samples);
    }
    close_all(&b.a);
    return rc;
}
