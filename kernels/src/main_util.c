/* main_util.c - what the commands of the program share. */
#include "main.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

int fail(const char *fmt, ...) {
    va_list args;
    fputs("qig: ", stderr);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    return QIG_EXIT_USER;
}

double now(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

uint64_t peak_rss(void) {
    FILE *f = fopen("/proc/self/status", "r");
    char line[128];
    unsigned long long kib = 0;
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu kB", &kib) == 1) break;
    if (f) fclose(f);
    if (kib) return (uint64_t)kib << 10;
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss << 10 : 0;
}

int flush_stdout(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return QIG_EXIT_OK;
    return fail("cannot write to standard output: %s", strerror(errno));
}

void print_json_string(FILE *f, const char *s) {
    fputc('"', f);
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') fprintf(f, "\\%c", c);
        else if (c < 0x20) fprintf(f, "\\u%04x", c);
        else fputc(c, f);
    }
    fputc('"', f);
}

void print_json_number(FILE *f, double v) {
    if (isfinite(v)) fprintf(f, "%.9g", v);
    else fputs("null", f);
}

int open_all(const options *o, opened *a, int n_ctx) {
    char err[ERR_SIZE];
    *a = (opened){ 0 };
    if (qig_model_open(o->model, o->isa, &a->model, err, sizeof err) != QIG_OK) return fail("%s", err);
    qig_session_params p = { .n_ctx = n_ctx, .n_threads = o->threads, .cache_type = o->cache };
    if (qig_session_new(a->model, &p, &a->session, err, sizeof err) != QIG_OK ||
        qig_session_set_sampler(a->session, &o->sampler, err, sizeof err) != QIG_OK) {
        close_all(a);
        return fail("%s", err);
    }
    return QIG_EXIT_OK;
}

void close_all(opened *a) {
    qig_session_free(a->session);
    qig_model_close(a->model);
    *a = (opened){ 0 };
}

/* Room for `more` ids; QIG_EXIT_OK or the exit code. */
static int reserve(id_list *l, int64_t more) {
    if (more > INT32_MAX - l->n) return fail("the text is too long");
    if (l->n + more <= l->cap) return QIG_EXIT_OK;
    int64_t cap = l->n + more + 256;
    int32_t *ids = realloc(l->ids, (size_t)cap * sizeof *ids);
    if (!ids) return fail("out of memory");
    l->ids = ids;
    l->cap = (int32_t)(cap < INT32_MAX ? cap : INT32_MAX);
    return QIG_EXIT_OK;
}

int add_id(id_list *l, int32_t id) {
    int rc = reserve(l, 1);
    if (rc == QIG_EXIT_OK) l->ids[l->n++] = id;
    return rc;
}

int add_text(id_list *l, const qig_model *m, const char *text, size_t len) {
    int64_t n = qig_tokenize(m, text, len, 0, NULL, 0);
    if (n < 0) return fail("the text cannot be encoded");
    int rc = reserve(l, n);
    if (rc != QIG_EXIT_OK) return rc;
    l->n += (int32_t)qig_tokenize(m, text, len, 0, l->ids + l->n, (size_t)n);
    return QIG_EXIT_OK;
}

int add_turn(id_list *l, const qig_model *m, const char *role, const char *content, size_t len) {
    int64_t n = qig_chat_turn(m, role, content, len, NULL, 0);
    if (n < 0) return fail("the turn cannot be encoded");
    int rc = reserve(l, n);
    if (rc != QIG_EXIT_OK) return rc;
    l->n += (int32_t)qig_chat_turn(m, role, content, len, l->ids + l->n, (size_t)n);
    return QIG_EXIT_OK;
}

char *read_all(FILE *f, size_t *len) {
    size_t cap = 4096, n = 0;
    char *buf = malloc(cap);
    while (buf) {
        n += fread(buf + n, 1, cap - n - 1, f);
        if (n < cap - 1) break;
        cap *= 2;
        char *bigger = realloc(buf, cap);
        if (!bigger) free(buf);
        buf = bigger;
    }
    if (!buf) {
        fail("out of memory");
        return NULL;
    }
    buf[n] = '\0';
    *len = n;
    return buf;
}

volatile sig_atomic_t interrupts;

static void on_interrupt(int sig) {
    (void)sig;
    interrupts++;
}

void catch_interrupts(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_interrupt;
    action.sa_flags = SA_RESTART; /* a write that waits for its reader goes on; waiting for input is pselect's, which always comes back */
    sigaction(SIGINT, &action, NULL);
}

int feed(qig_session *s, const int32_t *ids, int32_t n) {
    char err[ERR_SIZE];
    const int32_t start = qig_session_pos(s);
    for (int32_t i = 0; i < n; i += PROMPT_STEP) {
        int32_t count = n - i < PROMPT_STEP ? n - i : PROMPT_STEP;
        int rc = interrupts ? QIG_OK : qig_session_eval(s, ids + i, count, NULL, err, sizeof err);
        if (interrupts && qig_session_rollback(s, start, err, sizeof err) == QIG_OK) return 0;
        if (rc != QIG_OK || interrupts) {
            fail("%s", err);
            return -1;
        }
    }
    return 1;
}

/* What has come of a character: its first bytes, how many are to follow, and where the next one must lie (the tables of the Unicode standard). */
typedef struct {
    unsigned char bytes[4], low, high;
    int n, missing;
} utf8_pending;

/* The start of a character that never became whole is shown as U+FFFD. */
static void drop_pending(utf8_pending *p) {
    if (p->n) fputs("\xEF\xBF\xBD", stdout);
    p->n = p->missing = 0;
}

/* Writes whole characters and keeps the start of one: standard output is valid UTF-8 whatever the model draws. */
static void write_text(utf8_pending *p, const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (p->missing && (c < p->low || c > p->high)) drop_pending(p);
        if (p->missing) {
            p->bytes[p->n++] = c;
            p->low = 0x80, p->high = 0xbf;
            if (--p->missing == 0) {
                fwrite(p->bytes, 1, (size_t)p->n, stdout);
                p->n = 0;
            }
        } else if (c < 0x80) {
            fputc(c, stdout);
        } else {
            *p = (utf8_pending){ .bytes = { c }, .n = 1, .missing = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1, .low = 0x80, .high = 0xbf };
            if (c == 0xe0) p->low = 0xa0; /* no longer a form than needed */
            if (c == 0xed) p->high = 0x9f; /* no surrogates */
            if (c == 0xf0) p->low = 0x90;
            if (c == 0xf4) p->high = 0x8f; /* nothing above U+10FFFF */
            if (c < 0xc2 || c > 0xf4) drop_pending(p); /* starts nothing */
        }
    }
}

static void print_telemetry(const qig_session *s, int32_t pos) {
    qig_telemetry t;
    if (qig_session_telemetry(s, pos, &t) != QIG_OK) return;
    const struct { const char *name; double value; } fields[] = {
        { "phi", t.phi }, { "surprise", t.surprise }, { "confidence", t.confidence },
        { "agency", t.agency }, { "curvature", t.curvature }, { "kappa", t.kappa },
    };
    fprintf(stderr, "{\"pos\": %d, \"token\": %d", (int)pos, (int)qig_session_tokens(s)[pos]);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        fprintf(stderr, ", \"%s\": ", fields[i].name);
        print_json_number(stderr, fields[i].value);
    }
    fprintf(stderr, ", \"blocks_run\": %d, \"bytes_read\": %llu}\n", (int)t.blocks_run, (unsigned long long)t.bytes_read);
}

int draw(const options *o, opened *a, int max, int (*make_room)(void *), void *arg, answer_stats *stats) {
    char err[ERR_SIZE];
    utf8_pending pending = { 0 };
    int rc = QIG_EXIT_OK;
    double first = now();
    stats->end = "length";
    while (stats->tokens < max) {
        int32_t token;
        if (interrupts) {
            stats->end = "stopped";
            break;
        }
        if (qig_session_sample(a->session, &token, err, sizeof err) != QIG_OK) {
            rc = fail("%s", err);
            break;
        }
        if (token == qig_token_eos(a->model) || token == qig_token_eot(a->model)) {
            stats->end = "end";
            break;
        }
        size_t len;
        const char *bytes = qig_token_bytes(a->model, token, 0, &len);
        write_text(&pending, bytes, len);
        if ((rc = flush_stdout()) != QIG_EXIT_OK) break;
        if (stats->tokens++ == 0) first = now();
        stats->decode_s = now() - first;
        if (qig_session_pos(a->session) == qig_session_n_ctx(a->session) && !make_room(arg)) {
            stats->end = "context";
            break;
        }
        if (qig_session_eval(a->session, &token, 1, NULL, err, sizeof err) != QIG_OK) {
            rc = fail("%s", err);
            break;
        }
        if (o->telemetry) print_telemetry(a->session, qig_session_pos(a->session) - 1);
    }
    drop_pending(&pending);
    return rc;
}

void print_stats(const options *o, const opened *a, const answer_stats *stats) {
    qig_model_info info;
    qig_model_get_info(a->model, &info);
    fprintf(stderr, "prompt %d tokens in %.0f ms", (int)stats->prompt_tokens, stats->prefill_s * 1e3);
    if (stats->prefill_s > 0) fprintf(stderr, " (%.1f/s)", stats->prompt_tokens / stats->prefill_s);
    fprintf(stderr, "; answer %d tokens", (int)stats->tokens);
    if (stats->tokens > 1 && stats->decode_s > 0) fprintf(stderr, " at %.1f/s", (stats->tokens - 1) / stats->decode_s);
    fprintf(stderr, " (%s); memory %.1f MiB, model %.1f, cache %.1f; %s, %d threads, seed %llu\n", stats->end, (double)peak_rss() / 0x1p20,
            (double)info.file_bytes / 0x1p20, (double)qig_session_cache_bytes(a->session) / 0x1p20, info.isa,
            (int)qig_session_n_threads(a->session), (unsigned long long)o->sampler.seed);
}
