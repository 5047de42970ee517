/* main_keep.c - a conversation's own part of a kept session (docs/formats.md, "A kept session"): what was said, and where in the tokens each exchange begins. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "main.h"

static const char kind[8] = { 'Q', 'I', 'G', 'C', 'H', 'A', 'T', '\n' };
enum { NOTE_VERSION = 1 };

typedef struct {
    char kind[8];
    uint32_t version, system_tokens, turn_open, exchanges, system_bytes;
} note_head; /* 28 bytes, of which none is padding */

_Static_assert(sizeof(note_head) == 28, "these are the file's bytes");

int add_exchange(dialogue *c, int32_t start, const char *question, size_t len) {
    if (c->n == c->cap) {
        const int32_t cap = c->cap ? 2 * c->cap : 32;
        exchange *bigger = realloc(c->list, (size_t)cap * sizeof *bigger);
        if (!bigger) return fail("out of memory");
        c->list = bigger;
        c->cap = cap;
    }
    c->list[c->n] = (exchange){ .start = start };
    return add_bytes(&c->list[c->n++].question, question, len);
}

void drop_exchanges(dialogue *c, int32_t k, int32_t tokens) {
    for (int32_t i = 0; i < k; i++) {
        free(c->list[i].question.bytes);
        free(c->list[i].answer.bytes);
    }
    for (int32_t i = k; i < c->n; i++) {
        c->list[i - k] = c->list[i];
        c->list[i - k].start -= tokens;
    }
    c->n -= k;
}

void free_conversation(dialogue *c) {
    drop_exchanges(c, c->n, 0);
    free(c->list);
    free(c->system.bytes);
    *c = (dialogue){ 0 };
}

int check_save(const char *path) {
    struct stat is;
    if (stat(path, &is) == 0 && !S_ISREG(is.st_mode)) return fail("--save %s: it is no regular file", path);
    const char *slash = strrchr(path, '/');
    text_buffer folder = { 0 };
    int rc = add_bytes(&folder, slash ? path : "./", slash ? (size_t)(slash - path) + 1 : 2);
    if (rc == QIG_EXIT_OK) rc = add_bytes(&folder, "", 1);
    if (rc == QIG_EXIT_OK && access(folder.bytes, W_OK | X_OK) != 0) rc = fail("--save %s: the folder '%s' cannot be written to", path, folder.bytes);
    free(folder.bytes);
    return rc;
}

int save_conversation(const dialogue *c, const qig_session *s, const char *path) {
    char err[ERR_SIZE];
    note_head h = { .version = NOTE_VERSION, .system_tokens = (uint32_t)c->system_tokens, .turn_open = c->pending > 0, .exchanges = (uint32_t)c->n,
                    .system_bytes = (uint32_t)c->system.n };
    text_buffer note = { 0 };
    memcpy(h.kind, kind, sizeof kind);
    int rc = add_bytes(&note, (const char *)&h, sizeof h);
    if (rc == QIG_EXIT_OK) rc = add_bytes(&note, c->system.bytes ? c->system.bytes : "", c->system.n);
    for (int32_t i = 0; i < c->n && rc == QIG_EXIT_OK; i++) {
        const exchange *e = &c->list[i];
        const uint32_t sizes[3] = { (uint32_t)e->start, (uint32_t)e->question.n, (uint32_t)e->answer.n };
        rc = add_bytes(&note, (const char *)sizes, sizeof sizes);
        if (rc == QIG_EXIT_OK) rc = add_bytes(&note, e->question.bytes ? e->question.bytes : "", e->question.n);
        if (rc == QIG_EXIT_OK) rc = add_bytes(&note, e->answer.bytes ? e->answer.bytes : "", e->answer.n);
    }
    if (rc == QIG_EXIT_OK && qig_session_save(s, path, note.bytes, note.n, err, sizeof err) != QIG_OK) rc = fail("%s", err);
    free(note.bytes);
    return rc;
}

/* The next n bytes of the note, or NULL where it has no more so many. */
static const char *take(const char **at, size_t *left, size_t n) {
    const char *p = *at;
    if (n > *left) return NULL;
    *at += n;
    *left -= n;
    return p;
}

/* One exchange, which begins after the last one: 1, 0 where there is none, or -1 with the reason printed. */
static int take_exchange(dialogue *c, const char **at, size_t *left) {
    uint32_t sizes[3];
    const char *p = take(at, left, sizeof sizes);
    if (!p) return 0;
    memcpy(sizes, p, sizeof sizes);
    const char *question = take(at, left, sizes[1]), *said = take(at, left, question ? sizes[2] : SIZE_MAX);
    const int64_t least = c->n ? (int64_t)c->list[c->n - 1].start + 1 : c->system_tokens;
    if (!said || (int64_t)sizes[0] < least || sizes[0] > INT32_MAX || (!c->n && (int64_t)sizes[0] != least)) return 0;
    int rc = add_exchange(c, (int32_t)sizes[0], question, sizes[1]);
    if (rc == QIG_EXIT_OK) rc = add_bytes(&c->list[c->n - 1].answer, said, sizes[2]);
    return rc == QIG_EXIT_OK ? 1 : -1;
}

int load_conversation(dialogue *c, qig_session *s, const qig_model *m, const char *path) {
    char err[ERR_SIZE];
    if (qig_session_load(s, path, err, sizeof err) != QIG_OK) return fail("%s", err);
    size_t left = 0;
    const char *at = qig_session_note(s, &left);
    const int32_t pos = qig_session_pos(s);
    const char *head = take(&at, &left, sizeof(note_head)), *system;
    note_head h;
    if (!head || memcmp(head, kind, sizeof kind) != 0) return fail("'%s' is a kept session without a conversation", path);
    memcpy(&h, head, sizeof h);
    if (h.version != NOTE_VERSION) return fail("the conversation in '%s' is of version %u: this program reads version %d", path, (unsigned)h.version, NOTE_VERSION);
    system = take(&at, &left, h.system_bytes);
    int more = system && h.system_tokens <= (uint32_t)pos && h.turn_open <= (h.exchanges > 0);
    if (more) {
        c->system_tokens = (int32_t)h.system_tokens;
        if (add_bytes(&c->system, system, h.system_bytes) != QIG_EXIT_OK) return QIG_EXIT_USER;
    }
    for (uint32_t i = 0; more > 0 && i < h.exchanges; i++) more = take_exchange(c, &at, &left);
    if (more < 0) return QIG_EXIT_USER;
    if (!more || left || (c->n ? c->list[c->n - 1].start >= pos : c->system_tokens != pos)) return fail("'%s' is damaged: its conversation does not fit its tokens", path);
    if (c->system_tokens > qig_session_n_ctx(s) / 2)
        return fail("the system prompt in '%s' has %d tokens, more than half of the context of %d", path, (int)c->system_tokens, (int)qig_session_n_ctx(s));
    c->pending = h.turn_open ? (int32_t)qig_chat_end(m, NULL, 0) : 0;
    return QIG_EXIT_OK;
}
