/* main_util.c - what the commands of the program share. */
#include "main.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "topology.h"

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

size_t json_escape(char c, char out[8]) {
    static const char named[] = "\bb\tt\nn\ff\rr\"\"\\\\";
    for (size_t i = 0; i + 1 < sizeof named; i += 2)
        if (c == named[i]) {
            out[0] = '\\', out[1] = named[i + 1];
            return 2;
        }
    if ((unsigned char)c < 0x20) return (size_t)snprintf(out, 8, "\\u%04x", (unsigned)c);
    out[0] = c;
    return 1;
}

void print_json_text(FILE *f, const char *s, size_t len) {
    char escaped[8];
    fputc('"', f);
    for (size_t i = 0; i < len; i++) fwrite(escaped, 1, json_escape(s[i], escaped), f);
    fputc('"', f);
}

void print_json_string(FILE *f, const char *s) { print_json_text(f, s, strlen(s)); }

void print_json_number(FILE *f, double v) {
    if (isfinite(v)) fprintf(f, "%.9g", v);
    else fputs("null", f);
}

int open_model(const options *o, qig_model **m) {
    char err[ERR_SIZE];
    if (qig_model_open(o->model, o->isa, m, err, sizeof err) != QIG_OK) return fail("%s", err);
    for (int i = 0; i < o->n_settings; i++) {
        const char *value = strchr(o->settings[i], '=') + 1; /* the option was not taken without one */
        char key[MAX_KEY];
        snprintf(key, sizeof key, "%.*s", (int)(value - 1 - o->settings[i]), o->settings[i]);
        if (qig_model_set(*m, key, value, err, sizeof err) != QIG_OK) {
            qig_model_close(*m);
            *m = NULL;
            return fail("%s", err);
        }
    }
    return QIG_EXIT_OK;
}

/* A choice of feed-forwards, or loops of the integrator. */
static int has_routes(const qig_model *m) {
    qig_tensor_info t;
    for (int64_t i = 0; qig_model_tensor(m, i, &t) == QIG_OK; i++)
        if (strstr(t.name, ".ffn_route.") || strncmp(t.name, "integrator.", 11) == 0) return 1;
    return 0;
}

/* The program owns its process, so that the thread that calls the library is kept on the big cores as those of its pool are; but not where more threads were
 * asked for than there are big cores, since new threads begin where their maker may run. */
static void keep_on_big_cores(const options *o) {
    qig_topology machine;
    qig_topology_read(&machine);
    if (o->threads <= machine.big && o->threads_batch <= machine.big) qig_topology_pin(&machine);
}

int open_all(const options *o, opened *a, int n_ctx) {
    char err[ERR_SIZE];
    *a = (opened){ 0 };
    int rc = open_model(o, &a->model);
    if (rc != QIG_EXIT_OK) return rc;
    size_t len = 0;
    const char *on_breakdown = qig_model_meta_str(a->model, "qig.regime.on_breakdown", &len);
    a->pause = on_breakdown && len == 5 && memcmp(on_breakdown, "pause", 5) == 0;
    a->adaptive = on_breakdown || qig_model_meta_str(a->model, "qig.exit.rule", &len) || has_routes(a->model);
    keep_on_big_cores(o);
    qig_session_params p = { .n_ctx = n_ctx, .n_threads = o->threads, .n_threads_batch = o->threads_batch, .cache_type = o->cache };
    if (qig_session_new(a->model, &p, &a->session, err, sizeof err) != QIG_OK ||
        qig_session_set_sampler(a->session, &o->sampler, err, sizeof err) != QIG_OK ||
        qig_session_set_speculation(a->session, o->draft, err, sizeof err) != QIG_OK) {
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

int add_bytes(text_buffer *t, const char *bytes, size_t n) {
    if (n == 0) return QIG_EXIT_OK; /* there may be no memory yet */
    if (t->n + n > t->cap) {
        const size_t cap = 2 * (t->n + n) + 64;
        char *bigger = realloc(t->bytes, cap);
        if (!bigger) return fail("out of memory");
        t->bytes = bigger;
        t->cap = cap;
    }
    memcpy(t->bytes + t->n, bytes, n);
    t->n += n;
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

int add_start(id_list *l, const qig_model *m) {
    const int32_t bos = qig_token_bos(m);
    return bos < 0 ? QIG_EXIT_OK : add_id(l, bos);
}

int add_turn(id_list *l, const qig_model *m, const char *role, const char *content, size_t len, int first) {
    int64_t n = qig_chat_turn(m, role, content, len, first, NULL, 0);
    if (n < 0) return fail("the turn cannot be encoded");
    int rc = reserve(l, n);
    if (rc != QIG_EXIT_OK) return rc;
    l->n += (int32_t)qig_chat_turn(m, role, content, len, first, l->ids + l->n, (size_t)n);
    return QIG_EXIT_OK;
}

int add_turn_end(id_list *l, const qig_model *m) {
    int64_t n = qig_chat_end(m, NULL, 0);
    int rc = reserve(l, n);
    if (rc == QIG_EXIT_OK) l->n += (int32_t)qig_chat_end(m, l->ids + l->n, (size_t)n);
    return rc;
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
