/* main_draw.c - an answer: the prompt evaluated, tokens drawn one by one, their text in whole characters, their state told. */
#include <stdlib.h>
#include <string.h>

#include "main.h"

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
    char bytes[4];
    unsigned char low, high;
    int n, missing;
} utf8_pending;

/* The start of a character that never became whole is shown as U+FFFD. */
static int drop_pending(utf8_pending *p, text_buffer *out) {
    const int n = p->n;
    p->n = p->missing = 0;
    return n ? add_bytes(out, "\xEF\xBF\xBD", 3) : QIG_EXIT_OK;
}

/* Appends whole characters and keeps the start of one: the text is valid UTF-8 whatever the model draws. */
static int add_whole(utf8_pending *p, const char *text, size_t len, text_buffer *out) {
    int rc = QIG_EXIT_OK;
    for (size_t i = 0; i < len && rc == QIG_EXIT_OK; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (p->missing && (c < p->low || c > p->high)) rc = drop_pending(p, out);
        if (rc != QIG_EXIT_OK) break;
        if (p->missing) {
            p->bytes[p->n++] = text[i];
            p->low = 0x80, p->high = 0xbf;
            if (--p->missing == 0) {
                rc = add_bytes(out, p->bytes, (size_t)p->n);
                p->n = 0;
            }
        } else if (c < 0x80) {
            rc = add_bytes(out, text + i, 1);
        } else {
            *p = (utf8_pending){ .bytes = { text[i] }, .n = 1, .missing = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1, .low = 0x80, .high = 0xbf };
            if (c == 0xe0) p->low = 0xa0; /* no longer a form than needed */
            if (c == 0xed) p->high = 0x9f; /* no surrogates */
            if (c == 0xf0) p->low = 0x90;
            if (c == 0xf4) p->high = 0x8f; /* nothing above U+10FFFF */
            if (c < 0xc2 || c > 0xf4) rc = drop_pending(p, out); /* starts nothing */
        }
    }
    return rc;
}

/* The answer's text from byte `from` on, where text is what standard output gets. */
static int write_from(const options *o, const answer *a, size_t from) {
    if (o->json || o->telemetry_json || a->text.n == from) return QIG_EXIT_OK;
    fwrite(a->text.bytes + from, 1, a->text.n - from, stdout);
    return flush_stdout();
}

/* A token's state: printed at once as a line, or kept for the table. */
static int tell_token(const options *o, answer *a, const token_state *t) {
    if (o->telemetry_json) {
        print_token_line(stdout, a, t);
        int rc = flush_stdout();
        if (rc != QIG_EXIT_OK) return rc;
    }
    if (!o->telemetry) return QIG_EXIT_OK;
    if (a->n_trace == a->trace_cap) {
        const int32_t cap = a->trace_cap ? 2 * a->trace_cap : 256;
        token_state *bigger = realloc(a->trace, (size_t)cap * sizeof *bigger);
        if (!bigger) return fail("out of memory");
        a->trace = bigger;
        a->trace_cap = cap;
    }
    a->trace[a->n_trace++] = *t;
    return QIG_EXIT_OK;
}

/* Evaluates a token that was drawn, where the round that drew it did not, and tells its state; without room for it the answer ends. */
static int evaluate(const options *o, opened *m, int (*make_room)(void *), void *arg, int evaluated, answer *a, token_state *t) {
    char err[ERR_SIZE];
    if (!evaluated) {
        if (qig_session_pos(m->session) == qig_session_n_ctx(m->session) && !make_room(arg)) {
            a->end = "context";
            return QIG_EXIT_OK;
        }
        if (qig_session_eval(m->session, &t->token, 1, NULL, err, sizeof err) != QIG_OK) return fail("%s", err);
        t->pos = qig_session_pos(m->session) - 1;
    }
    if (qig_session_telemetry(m->session, t->pos, &t->telemetry) != QIG_OK) return fail("the session has no record of position %d", (int)t->pos);
    add_state(&a->state, &t->telemetry);
    if (m->pause && is_breakdown(&t->telemetry)) a->end = "breakdown";
    return tell_token(o, a, t);
}

/* The next tokens, at most `most`: all that a round of speculation gives, else one, which is not evaluated. */
static int draw_tokens(opened *m, int most, int32_t *tokens, int32_t *n) {
    char err[ERR_SIZE];
    qig_speculation_stats p;
    qig_session_speculation(m->session, &p);
    *n = 1;
    const int rounds = p.active && qig_session_pos(m->session) < qig_session_n_ctx(m->session);
    const int rc = rounds ? qig_session_next(m->session, tokens, most <= QIG_MAX_DRAFT ? most : QIG_MAX_DRAFT + 1, n, err, sizeof err)
                          : qig_session_sample(m->session, tokens, err, sizeof err);
    return rc == QIG_OK ? QIG_EXIT_OK : fail("%s", err);
}

int draw(const options *o, opened *m, int max, int (*make_room)(void *), void *arg, answer *a) {
    char err[ERR_SIZE];
    utf8_pending pending = { 0 };
    int rc = QIG_EXIT_OK;
    int32_t tokens[QIG_MAX_DRAFT + 1], n = 0, next = 0, told = qig_session_pos(m->session); /* drawn, told of those; position up to which all are */
    qig_speculation_stats before;
    qig_session_speculation(m->session, &before);
    const double start = now();
    for (a->end = NULL; !a->end && rc == QIG_EXIT_OK;) {
        token_state t = { .from = a->text.n, .pos = told };
        if (a->tokens == max) a->end = "length";
        else if (interrupts) a->end = "stopped";
        if (a->end) break;
        if (next == n) {
            rc = draw_tokens(m, max - a->tokens, tokens, &n);
            next = 0;
            if (rc != QIG_EXIT_OK) break;
        }
        t.token = tokens[next++];
        if (t.token == qig_token_eos(m->model) || t.token == qig_token_eot(m->model)) {
            a->end = "end";
            break;
        }
        size_t len;
        const char *bytes = qig_token_bytes(m->model, t.token, 0, &len);
        rc = add_whole(&pending, bytes, len, &a->text);
        t.len = a->text.n - t.from;
        if (rc == QIG_EXIT_OK) rc = write_from(o, a, t.from);
        a->tokens++;
        a->decode_s = now() - start;
        if (rc == QIG_EXIT_OK) rc = evaluate(o, m, make_room, arg, qig_session_pos(m->session) > told, a, &t);
        told = t.pos + 1;
    }
    /* what of a round came after the end of the answer; "context" leaves told behind the last token, which was not evaluated */
    if (rc == QIG_EXIT_OK && qig_session_pos(m->session) > told && qig_session_rollback(m->session, told, err, sizeof err) != QIG_OK) rc = fail("%s", err);
    qig_session_speculation(m->session, &a->speculation);
    a->speculation.rounds -= before.rounds;
    a->speculation.tokens -= before.tokens;
    a->speculation.tested -= before.tested;
    a->speculation.accepted -= before.accepted;
    a->threads = qig_session_n_threads(m->session);
    a->threads_batch = qig_session_n_threads_batch(m->session);
    const size_t from = a->text.n;
    if (rc == QIG_EXIT_OK) rc = drop_pending(&pending, &a->text);
    return rc == QIG_EXIT_OK ? write_from(o, a, from) : rc;
}

/* What speculation brought, where it was on. */
static void print_speculation(const qig_speculation_stats *p) {
    if (!p->active || !p->rounds) return;
    fprintf(stderr, "; drafts: %.2f tokens a round", (double)p->tokens / (double)p->rounds);
    if (p->tested) fprintf(stderr, ", %.0f%% of %llu right", 100 * (double)p->accepted / (double)p->tested, (unsigned long long)p->tested);
}

static void print_stats(const options *o, const opened *m, const answer *a) {
    qig_model_info info;
    qig_model_get_info(m->model, &info);
    fprintf(stderr, "prompt %d tokens in %.0f ms", (int)a->prompt_tokens, a->prefill_s * 1e3);
    if (a->prefill_s > 0) fprintf(stderr, " (%.1f/s)", a->prompt_tokens / a->prefill_s);
    fprintf(stderr, "; answer %d tokens", (int)a->tokens);
    if (a->tokens > 1 && a->decode_s > 0) fprintf(stderr, " at %.1f/s", (a->tokens - 1) / a->decode_s);
    fprintf(stderr, " (%s)", a->end);
    print_state_part(stderr, &a->state, m->adaptive, info.n_layers);
    print_speculation(&a->speculation);
    fprintf(stderr, "; memory %.1f MiB, model %.1f, cache %.1f; %s, %d threads (%d for the prompt), seed %llu\n", (double)peak_rss() / 0x1p20, (double)info.file_bytes / 0x1p20,
            (double)qig_session_cache_bytes(m->session) / 0x1p20, info.isa, (int)a->threads, (int)a->threads_batch, (unsigned long long)o->sampler.seed);
}

int finish_answer(const options *o, const opened *m, const answer *a, const char *message, size_t len) {
    int rc = QIG_EXIT_OK;
    if (o->json) {
        utf8_pending pending = { 0 };
        text_buffer whole = { 0 };
        rc = add_whole(&pending, message ? message : "", message ? len : 0, &whole);
        if (rc == QIG_EXIT_OK) rc = drop_pending(&pending, &whole);
        if (rc == QIG_EXIT_OK) print_answer_json(a, message ? &whole : NULL);
        free(whole.bytes);
    } else if (!o->telemetry_json) {
        putchar('\n');
    }
    if (rc == QIG_EXIT_OK) rc = flush_stdout();
    if (rc == QIG_EXIT_OK && o->telemetry && !message) rc = print_token_table(a);
    if (rc != QIG_EXIT_OK) return rc;
    if (o->telemetry) print_state_summary(&a->state);
    print_state_notice(a, message != NULL);
    if (o->stats) print_stats(o, m, a);
    return QIG_EXIT_OK;
}

void free_answer(answer *a) {
    free(a->text.bytes);
    free(a->trace);
    *a = (answer){ 0 };
}
