/* main_chat.c - qig chat: turns in the file's own format, kept as tokens.
 *
 * When the context is full the system prompt stays and the oldest whole exchanges (question and answer) are dropped; what is left is evaluated
 * anew, so that the session equals a fresh one. Ctrl-C stops the answer, twice leaves.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#include "board.h"
#include "main.h"

typedef struct {
    opened *a;
    dialogue said;
    int warned; /* of a slow board */
} chat;

/* Drops oldest whole exchanges until `wanted` positions are free or only `keep` of them are left; 1 when any went. */
static int drop(chat *c, int32_t wanted, int32_t keep) {
    qig_session *s = c->a->session;
    dialogue *said = &c->said;
    const int32_t pos = qig_session_pos(s), droppable = said->n - keep;
    int32_t free_now = qig_session_n_ctx(s) - pos, k = 1;
    if (droppable < 1) return 0;
#define END_OF(i) ((i) < said->n ? said->list[i].start : pos)
    while (k < droppable && free_now + END_OF(k) - said->list[0].start < wanted) k++;
    const int32_t gone = END_OF(k) - said->list[0].start;
#undef END_OF
    if (k == said->n) said->pending = 0;
    if (qig_session_slide(s, said->system_tokens, pos - said->system_tokens - gone, NULL, 0) != QIG_OK) return 0;
    drop_exchanges(said, k, gone);
    return 1;
}

static int make_room(void *arg) {
    chat *c = arg;
    return drop(c, 1 + qig_session_n_ctx(c->a->session) / 8, 1);
}

/* Once, where the board says that it is slower than it could be. */
static void warn_of_board(chat *c) {
    char troubles[128] = "";
    if (!c->warned) qig_board_troubles("", troubles, sizeof troubles);
    if (!troubles[0]) return;
    c->warned = 1;
    fprintf(stderr, "warning: this board reports %s: it runs slower than it could (a stronger power supply, or cooling)\n", troubles);
}

/* The next question: header, text and the cue for an answer, after the end of the last turn where that is still to come. */
static int question(const chat *c, const char *text, size_t len, id_list *ids) {
    const int first = qig_session_pos(c->a->session) == (qig_token_bos(c->a->model) >= 0);
    ids->n = 0;
    int rc = QIG_EXIT_OK;
    if (c->said.pending) rc = add_turn_end(ids, c->a->model);
    if (rc == QIG_EXIT_OK) rc = add_turn(ids, c->a->model, "user", text, len, first);
    if (rc == QIG_EXIT_OK) rc = add_turn(ids, c->a->model, "assistant", NULL, 0, 0);
    return rc;
}

static int reply(const options *o, chat *c, const char *text, size_t len, id_list *ids) {
    qig_session *s = c->a->session;
    const int32_t n_ctx = qig_session_n_ctx(s), room = n_ctx - c->said.system_tokens;
    int rc = question(c, text, len, ids);
    if (rc != QIG_EXIT_OK) return rc;
    if (ids->n - c->said.pending >= room) return fail("the message has %d tokens, the context has room for %d", (int)ids->n, (int)room - 1);
    /* an answer that begins with a quarter of the context free seldom has to slide in its middle */
    const int32_t reserve = o->n_tokens < n_ctx / 4 ? o->n_tokens : n_ctx / 4;
    if (ids->n + reserve > n_ctx - qig_session_pos(s) && drop(c, ids->n + reserve, 0)) {
        rc = question(c, text, len, ids);
        if (rc != QIG_EXIT_OK) return rc;
    }
    answer a = { .prompt_tokens = ids->n };
    const int32_t begin = qig_session_pos(s) + c->said.pending;
    double start = now();
    int fed = feed(s, ids->ids, ids->n);
    if (fed <= 0) return fed < 0 ? QIG_EXIT_USER : QIG_EXIT_OK;
    a.prefill_s = now() - start;
    rc = add_exchange(&c->said, begin, text, len);
    if (rc != QIG_EXIT_OK) return rc;
    c->said.pending = (int32_t)qig_chat_end(c->a->model, NULL, 0);
    rc = draw(o, c->a, o->n_tokens, make_room, c, &a);
    if (a.text.n > 0 && add_bytes(&c->said.list[c->said.n - 1].answer, a.text.bytes, a.text.n) != QIG_EXIT_OK) rc = QIG_EXIT_USER;
    if (rc == QIG_EXIT_OK) rc = finish_answer(o, c->a, &a, text, len);
    free_answer(&a);
    warn_of_board(c);
    return rc;
}

typedef struct {
    char *bytes;
    size_t n, cap, used; /* bytes[used .. n) are still to be read */
    int ended;
} input;

/* Waits for input or Ctrl-C; the signal is let in only while waiting, so that none is lost between a look and the wait. 1: readable. */
static int wait_readable(void) {
    sigset_t block, before;
    fd_set fds;
    sigemptyset(&block);
    sigaddset(&block, SIGINT);
    sigprocmask(SIG_BLOCK, &block, &before);
    FD_ZERO(&fds);
    FD_SET(STDIN_FILENO, &fds);
    int ready = interrupts ? 0 : pselect(STDIN_FILENO + 1, &fds, NULL, NULL, NULL, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ready > 0;
}

/* One line without its end, as bytes that the next call overwrites. 1: got one, 0: end of input, -1: interrupted, -2: failed, and said so. */
static int read_line(input *in, char **line, size_t *len) {
    memmove(in->bytes, in->bytes + in->used, in->n - in->used);
    in->n -= in->used;
    in->used = 0;
    for (size_t looked = 0;;) {
        char *end = in->n > looked ? memchr(in->bytes + looked, '\n', in->n - looked) : NULL;
        if (end || (in->ended && in->n > 0)) {
            *line = in->bytes;
            *len = end ? (size_t)(end - in->bytes) : in->n;
            in->used = end ? *len + 1 : in->n;
            if (*len > 0 && in->bytes[*len - 1] == '\r') --*len;
            return 1;
        }
        if (in->ended) return 0;
        looked = in->n;
        if (in->n == in->cap) {
            char *bigger = realloc(in->bytes, 2 * in->cap);
            if (!bigger) {
                fail("out of memory");
                return -2;
            }
            in->bytes = bigger;
            in->cap *= 2;
        }
        if (!wait_readable()) return -1;
        ssize_t got = read(STDIN_FILENO, in->bytes + in->n, in->cap - in->n);
        if (got > 0) in->n += (size_t)got;
        else if (got == 0 || errno != EINTR) in->ended = 1;
    }
}

static int converse(const options *o, chat *c) {
    const int terminal = isatty(STDIN_FILENO);
    id_list ids = { 0 };
    input in = { .bytes = malloc(1024), .cap = 1024 };
    char *line = NULL;
    size_t len = 0;
    int rc = in.bytes ? QIG_EXIT_OK : fail("out of memory"), idle = 0;
    if (o->prompt && rc == QIG_EXIT_OK) rc = reply(o, c, o->prompt, strlen(o->prompt), &ids);
    while (!o->prompt && rc == QIG_EXIT_OK) {
        if (terminal) fputs("> ", stderr);
        int got = read_line(&in, &line, &len);
        if (got == 0) {
            if (terminal) fputc('\n', stderr);
            break;
        }
        if (got == -2) rc = QIG_EXIT_USER;
        if (got == -1) {
            if (idle++) break;
            interrupts = 0; /* before it is answered: one that comes after the answer counts */
            fputs("\n(Ctrl-C again leaves)\n", stderr);
            continue;
        }
        idle = 0;
        if (got < 0 || len == 0) continue;
        rc = reply(o, c, line, len, &ids);
        if (interrupts >= 2) break;
        if (rc == QIG_EXIT_USER && terminal) rc = QIG_EXIT_OK; /* said on stderr; the conversation is as it was */
        idle = interrupts > 0;
        interrupts = 0;
    }
    free(in.bytes);
    free(ids.ids);
    return rc;
}

/* What stands before the first question: evaluated, or loaded. */
static int begin(const options *o, chat *c) {
    id_list ids = { 0 };
    qig_session *s = c->a->session;
    if (o->load) {
        int loaded = load_conversation(&c->said, s, c->a->model, o->load);
        /* the numbers of a seed that is asked for, else those of the file */
        if (loaded == QIG_EXIT_OK && o->seed_given) qig_session_set_sampler(s, &o->sampler, NULL, 0);
        return loaded;
    }
    int rc = add_start(&ids, c->a->model);
    if (rc == QIG_EXIT_OK && o->system) {
        rc = add_turn(&ids, c->a->model, "system", o->system, strlen(o->system), 1);
        if (rc == QIG_EXIT_OK) rc = add_bytes(&c->said.system, o->system, strlen(o->system));
        if (rc == QIG_EXIT_OK && ids.n > qig_session_n_ctx(s) / 2)
            rc = fail("the system prompt has %d tokens, more than half of the context of %d", (int)ids.n, (int)qig_session_n_ctx(s));
    }
    if (rc == QIG_EXIT_OK && ids.n > 0 && feed(s, ids.ids, ids.n) < 0) rc = QIG_EXIT_USER;
    c->said.system_tokens = ids.n;
    free(ids.ids);
    return rc;
}

int run_chat(const options *o) {
    opened a;
    int rc = o->save ? check_save(o->save) : QIG_EXIT_OK;
    if (rc == QIG_EXIT_OK) rc = open_all(o, &a, o->ctx);
    if (rc != QIG_EXIT_OK) return rc;
    chat c = { .a = &a };
    if (qig_token_eot(a.model) < 0) rc = fail("this model has no chat format: use 'qig generate'");
    if (rc == QIG_EXIT_OK) rc = begin(o, &c);
    if (rc == QIG_EXIT_OK) {
        catch_interrupts();
        warn_of_board(&c);
        rc = converse(o, &c);
        if (o->save) { /* however it ended */
            const int kept = save_conversation(&c.said, a.session, o->save);
            if (rc == QIG_EXIT_OK) rc = kept;
        }
    }
    free_conversation(&c.said);
    close_all(&a);
    return rc;
}
