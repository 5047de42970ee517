/* test_session_file.c - kept sessions in C: what was saved goes on to the last bit, for random models of every kind; whatever else is in a file is refused in one
 * line with the session left as it was, or makes a session that can be used.
 *
 *     test_session_file [seed]
 */
#include <sys/stat.h>

#include "ops_test.h"

#include "../src/board.h"
#include "kept_session.h"
#include "tiny_models.h"
#include "tiny_open.h"

enum { TEXT = 21 };

static const qig_sampler_params drawing = {.temperature = 0.9f, .top_p = 0.95f, .repeat_penalty = 1.1f, .repeat_last_n = 16, .seed = 11};

static qig_session *open_session(qig_model *m, int32_t cache, int32_t n_ctx, int32_t threads, int32_t batch) {
    const qig_session_params p = {.n_ctx = n_ctx, .n_threads = threads, .n_batch = batch, .cache_type = cache};
    qig_session *s = NULL;
    char err[256];
    if (qig_session_new(m, &p, &s, err, sizeof err) || qig_session_set_sampler(s, &drawing, err, sizeof err) ||
        qig_session_set_speculation(s, m->draft.lag, err, sizeof err)) {
        fprintf(stderr, "%s\n", err);
        exit(1);
    }
    return s;
}

/* A session with a text in it, part of it drawn. */
static qig_session *read_text(qig_model *m, int32_t cache) {
    qig_session *s = open_session(m, cache, TINY_CONTEXT, 1, 8);
    int32_t text[TEXT], n, tokens[QIG_MAX_DRAFT + 1];
    for (int i = 0; i < TEXT; i++) text[i] = rng_int(0, 255);
    CHECK(qig_session_eval(s, text, TEXT, NULL, NULL, 0) == QIG_OK, "the text was refused");
    for (int i = 0; i < 2; i++) CHECK(qig_session_next(s, tokens, QIG_MAX_DRAFT + 1, &n, NULL, 0) == QIG_OK, "nothing was drawn");
    return s;
}

static void save(const qig_session *s, const char *note, kept_bytes *k) {
    char err[256] = "";
    k->n = 0;
    k->most = KEPT_ROOM;
    CHECK(qig_session_write(s, note, strlen(note), kept_sink, k, err, sizeof err) == QIG_OK, "not written: %s", err);
}

static void check_same(const qig_session *a, const qig_session *b, const char *when) {
    const int32_t n = qig_session_pos(a);
    CHECK(qig_session_pos(b) == n, "%s: at %d and %d", when, (int)n, (int)qig_session_pos(b));
    if (qig_session_pos(b) != n) return;
    CHECK(n == 0 || memcmp(qig_session_tokens(a), qig_session_tokens(b), (size_t)n * sizeof(int32_t)) == 0, "%s: other tokens", when);
    CHECK(n == 0 || memcmp(qig_session_logits(a), qig_session_logits(b), (size_t)a->model->vocab_size * sizeof(float)) == 0, "%s: other logits", when);
    CHECK(a->rng == b->rng && memcmp(a->rng_at, b->rng_at, ((size_t)n + 1) * sizeof *a->rng_at) == 0, "%s: other random numbers", when);
    for (int32_t i = 0; i < n; i++) {
        qig_telemetry x, y;
        qig_cache_reads rx, ry;
        qig_session_telemetry(a, i, &x), qig_session_telemetry(b, i, &y);
        qig_session_cache_reads(a, i, &rx), qig_session_cache_reads(b, i, &ry);
        CHECK(memcmp(&x, &y, offsetof(qig_telemetry, bytes_read)) == 0 && x.bytes_read == y.bytes_read, "%s: other telemetry at %d", when, (int)i);
        CHECK(memcmp(&rx, &ry, sizeof rx) == 0, "%s: other reads at %d", when, (int)i);
    }
}

static void step_both(qig_session *a, qig_session *b, const char *when) {
    int32_t x[QIG_MAX_DRAFT + 1], y[QIG_MAX_DRAFT + 1], n = -1, k = -2;
    const int rc = qig_session_next(a, x, QIG_MAX_DRAFT + 1, &n, NULL, 0);
    CHECK(qig_session_next(b, y, QIG_MAX_DRAFT + 1, &k, NULL, 0) == rc, "%s: one of them refused", when);
    CHECK(n == k, "%s: %d and %d tokens", when, (int)n, (int)k);
    if (rc == QIG_OK && n == k) CHECK(memcmp(x, y, (size_t)n * sizeof *x) == 0, "%s: other tokens drawn", when);
}

/* Everything that may follow. */
static void test_goes_on(qig_model *m, int32_t cache, kept_bytes *k) {
    static const int32_t others[][3] = {{TINY_CONTEXT, 1, 8}, {TINY_CONTEXT + 9, 2, 5}, {TINY_CONTEXT - 5, 3, 4}}; /* n_ctx, threads, n_batch, which is room for a round */
    static const int32_t slide[2] = {2, 9};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        begin_case();
        qig_session *a = read_text(m, cache), *b = open_session(m, cache, others[i][0], others[i][1], others[i][2]);
        char err[256] = "";
        size_t len = 0;
        if (i) qig_session_eval(b, (int32_t[]){7, 8, 9}, 3, NULL, NULL, 0); /* what it held before is gone */
        CHECK(qig_session_note(b, &len) == NULL && len == 0, "a note before any file");
        save(a, "a note", k);
        CHECK(qig_session_read(b, k->bytes, k->n, "kept", err, sizeof err) == QIG_OK, "not read: %s", err);
        const char *note = qig_session_note(b, &len);
        CHECK(note && len == 6 && memcmp(note, "a note", 6) == 0, "the note is another");
        check_same(a, b, "at once");
        for (int t = 0; t < 3; t++) step_both(a, b, "next");
        check_same(a, b, "after tokens");
        const int32_t back = TEXT - 4;
        CHECK(!qig_session_rollback(a, back, NULL, 0) && !qig_session_rollback(b, back, NULL, 0), "no rollback");
        check_same(a, b, "after a rollback");
        step_both(a, b, "after a rollback");
        CHECK(!qig_session_slide(a, slide[0], slide[1], NULL, 0) && !qig_session_slide(b, slide[0], slide[1], NULL, 0), "no slide");
        for (int t = 0; t < 3; t++) step_both(a, b, "after a slide");
        CHECK(!qig_session_rollback(a, 0, NULL, 0) && !qig_session_rollback(b, 0, NULL, 0), "no way back to the start");
        check_same(a, b, "at the start");
        save(a, "", k);
        CHECK(qig_session_read(b, k->bytes, k->n, "kept", err, sizeof err) == QIG_OK && qig_session_pos(b) == 0, "an empty session: %s", err);
        qig_session_free(a);
        qig_session_free(b);
        end_case();
    }
}

/* b stays what it was after the bytes of k are refused. */
static void refused(qig_session *b, const kept_bytes *k, size_t n, const char *expected, size_t at) {
    char err[256] = "";
    const int32_t pos = qig_session_pos(b);
    const uint64_t rng = b->rng;
    CHECK(qig_session_read(b, k->bytes, n, "kept", err, sizeof err) != QIG_OK, "byte %zu: taken (%s)", at, expected);
    CHECK(strstr(err, expected) != NULL, "byte %zu: '%s' instead of '%s'", at, err, expected);
    CHECK(qig_session_pos(b) == pos && b->rng == rng, "byte %zu: the session has moved", at);
}

/* thorough: every length and every byte, which one model of a few is enough for. */
static void test_damage(qig_model *m, int32_t cache, int thorough, kept_bytes *k, kept_bytes *spare) {
    qig_session *a = read_text(m, cache), *b = open_session(m, cache, TINY_CONTEXT, 1, 8), *before = open_session(m, cache, TINY_CONTEXT, 1, 8);
    uint8_t *p = (uint8_t *)spare->bytes;
    char err[256];
    const size_t dense = sizeof(qig_kept_header) + 256; /* where every byte is tried: header, settings, note, counts */
    long taken = 0, inner = 0;
    save(a, "hello", k);
    for (int i = 0; i < 2; i++) qig_session_eval(i ? b : before, (int32_t[]){5, 6, 7}, 3, NULL, NULL, 0);
    begin_case();
    for (size_t n = 0; n < k->n; n += thorough || n < dense ? 1 : (size_t)rng_int(1, 60)) refused(b, k, n, n < sizeof(qig_kept_header) ? "no kept session" : "truncated", n);
    memcpy(p, k->bytes, k->n);
    memset(p + k->n, 0, 8);
    refused(b, spare, k->n + 8, "more bytes", k->n);
    end_case();
    begin_case();
    for (size_t i = 0; i < k->n; i += thorough || i < dense ? 1 : (size_t)rng_int(1, 60)) {
        memcpy(p, k->bytes, k->n);
        p[i] ^= (uint8_t)(1 << rng_int(0, 7));
        refused(b, spare, k->n, "kept", i);
    }
    check_same(b, before, "after damage");
    end_case();
    /* the same with the sums put right */
    begin_case();
    for (size_t i = 0; i < k->n; i += i < dense ? 1 : (size_t)rng_int(1, 24)) {
        memcpy(p, k->bytes, k->n);
        p[i] ^= (uint8_t)rng_int(1, 255);
        kept_fix(p, k->n);
        qig_session *s = open_session(m, cache, TINY_CONTEXT, 1, 8);
        err[0] = 0;
        if (qig_session_read(s, p, k->n, "kept", err, sizeof err) == QIG_OK) {
            CHECK(kept_use(s), "byte %zu: a session that cannot be used", i);
            taken++;
        } else {
            CHECK(err[0] && qig_session_pos(s) == 0, "byte %zu: refused without a line, or moved", i);
            inner++;
        }
        qig_session_free(s);
    }
    CHECK(taken > 100 && inner > 100, "%ld taken, %ld refused", taken, inner);
    end_case();
    begin_case();
    for (spare->most = 0; spare->most < k->n; spare->most += 1 + spare->most / 16) {
        spare->n = 0;
        err[0] = 0;
        CHECK(qig_session_write(a, "hello", 5, kept_sink, spare, err, sizeof err) == QIG_ERR_IO, "written to a full disk of %zu", spare->most);
    }
    end_case();
    qig_session_free(a);
    qig_session_free(b);
    qig_session_free(before);
}

typedef struct { size_t at; uint32_t value; const char *expected; } lie;

/* Lies of the header and what is said of each. */
static void test_lies(qig_model *m, kept_bytes *k, kept_bytes *spare) {
    static const lie lies[] = {
        {offsetof(qig_kept_header, magic), 0, "no kept session"},
        {offsetof(qig_kept_header, order), 0x04030201, "other order of bytes"},
        {offsetof(qig_kept_header, version), 2, "of version 2 of the format: this program reads version 1"},
        {offsetof(qig_kept_header, bytes), 1 << 30, "truncated"},
        {offsetof(qig_kept_header, bytes), 64, "more bytes"},
        {offsetof(qig_kept_header, model), 1, "another model file"},
        {offsetof(qig_kept_header, pos), 1 << 20, "holds 1048576 tokens, the context has room for"},
        {offsetof(qig_kept_header, pos), 0xffffffff, "does not fit its model"},
        {offsetof(qig_kept_header, pos), 3, "damaged"},
        {offsetof(qig_kept_header, cache_type), QIG_CACHE_F32, "a cache of type float, this session one of type int8"},
        {offsetof(qig_kept_header, cache_type), 9, "does not fit its model"},
        {offsetof(qig_kept_header, n_caches), 1 << 30, "does not fit its model"},
        {offsetof(qig_kept_header, vocab), 1, "does not fit its model"},
        {offsetof(qig_kept_header, n_settings), 0xffffffff, "does not fit its model"},
        {offsetof(qig_kept_header, note_bytes), 0xffffffff, "does not fit its model"},
        {offsetof(qig_kept_header, note_bytes), 1 << 20, "damaged"},
    };
    qig_session *a = read_text(m, QIG_CACHE_I8), *b = open_session(m, QIG_CACHE_I8, TINY_CONTEXT, 1, 8), *small = open_session(m, QIG_CACHE_I8, TEXT - 1, 1, 8);
    uint8_t *p = (uint8_t *)spare->bytes;
    save(a, "", k);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        begin_case();
        memcpy(p, k->bytes, k->n);
        memcpy(p + lies[i].at, &lies[i].value, sizeof lies[i].value);
        kept_fix(p, k->n);
        refused(b, spare, k->n, lies[i].expected, lies[i].at);
        end_case();
    }
    begin_case();
    refused(small, k, k->n, "the context has room for 20", 0);
    end_case();
    qig_session_free(a);
    qig_session_free(b);
    qig_session_free(small);
}

/* Other models, other settings, other types of cache. */
static void test_others(const tiny_file *f, const tiny_file *other, kept_bytes *k) {
    qig_model *m = open_tiny(f), *changed = open_tiny(f), *stranger = open_tiny(other);
    char err[256] = "";
    begin_case();
    CHECK(qig_model_set(changed, "gate.margin", "3.5", err, sizeof err) == QIG_OK, "%s", err);
    qig_session *a = read_text(m, QIG_CACHE_I8);
    save(a, "", k);
    qig_session *sessions[] = {open_session(changed, QIG_CACHE_I8, TINY_CONTEXT, 1, 8), open_session(stranger, QIG_CACHE_I8, TINY_CONTEXT, 1, 8),
                               open_session(m, QIG_CACHE_F32, TINY_CONTEXT, 1, 8)};
    const char *expected[] = {"with gate.margin = 4, it is 3.5 here", "another model file", "a cache of type int8, this session one of type float"};
    for (int i = 0; i < 3; i++) {
        refused(sessions[i], k, k->n, expected[i], 0);
        qig_session_free(sessions[i]);
    }
    qig_session_free(a);
    qig_model_close(m);
    qig_model_close(changed);
    qig_model_close(stranger);
    end_case();
}

/* One weight of a tensor's beginning is enough to be another model. */
static tiny_file changed_copy(const tiny_file *f) {
    tiny_file copy = *f;
    copy.p = malloc(f->n);
    if (!copy.p) abort();
    memcpy(copy.p, f->p, f->n);
    copy.p[f->data + 3] ^= 1;
    return copy;
}

static void write_flags(const char *root, const char *folder, const char *text) {
    char path[400];
    snprintf(path, sizeof path, "%s", root);
    static const char *const parts[] = {"/sys", "/devices", "/platform", "/soc"};
    for (int i = 0; i < 4; i++) {
        strncat(path, parts[i], sizeof path - strlen(path) - 1);
        mkdir(path, 0700);
    }
    strncat(path, folder, sizeof path - strlen(path) - 1);
    mkdir(path, 0700);
    strncat(path, "/get_throttled", sizeof path - strlen(path) - 1);
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0) exit(1);
}

static void test_board(void) {
    static const struct { const char *text, *want; } cases[] = {
        {"50000\n", ""}, {"0\n", ""}, {"1\n", "under-voltage"}, {"50005\n", "under-voltage, throttled"}, {"f\n", "under-voltage, frequency capped, throttled, soft temperature limit"},
        {"", ""}, {"no\n", ""}};
    char root[200], command[256], out[128] = "x";
    const char *where = getenv("TMPDIR");
    current = "board";
    snprintf(root, sizeof root, "%.80s/qig-board-%ld", where && *where ? where : "/tmp", (long)getpid());
    if (mkdir(root, 0700) != 0) exit(1);
    begin_case();
    qig_board_troubles(root, out, sizeof out);
    CHECK(!out[0], "'%s' without a board", out);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_flags(root, "/soc:firmware", cases[i].text);
        qig_board_troubles(root, out, sizeof out);
        CHECK(strcmp(out, cases[i].want) == 0, "'%s' for %s", out, cases[i].text);
    }
    snprintf(command, sizeof command, "rm -r '%s'", root);
    CHECK(system(command) == 0, "%s is left", root);
    end_case();
}

int main(int argc, char **argv) {
    static kept_bytes kept, spare;
    static char label[128];
    rng_state = argc > 1 ? strtoull(argv[1], NULL, 10) : 5;
    printf("test_session_file: seed %llu\n", (unsigned long long)rng_state);
    for (int i = 0; i < TINY_KINDS; i++) {
        tiny_file f = tiny_random(&tiny_kinds[i]);
        for (int32_t cache = QIG_CACHE_F32; cache <= QIG_CACHE_I8; cache++) {
            qig_model *m = open_tiny(&f);
            snprintf(label, sizeof label, "%s, %s cache", tiny_kinds[i].name, cache == QIG_CACHE_I8 ? "int8" : "float");
            current = label;
            test_goes_on(m, cache, &kept);
            test_damage(m, cache, i == 3 && cache == QIG_CACHE_I8, &kept, &spare);
            if (cache == QIG_CACHE_I8) test_lies(m, &kept, &spare);
            qig_model_close(m);
        }
        if (strcmp(tiny_kinds[i].architecture, "qig") == 0) {
            tiny_file other = changed_copy(&f);
            test_others(&f, &other, &kept);
            free(other.p);
        }
        free(f.p);
    }
    test_board();
    printf("test_session_file: %ld cases, %ld failed\n", cases_run, cases_failed);
    return cases_failed || !cases_run;
}
