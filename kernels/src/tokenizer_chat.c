/* tokenizer_chat.c - finds a file's chat format: the keys qig.chat.*, else one of two known formats that tokenizer.chat_template is recognised as by
 * its markers. The template itself, a program, is not run.
 *
 *   ChatML   <|im_start|>role\ncontent<|im_end|>\n
 *   Zephyr   <|role|>\ncontent</s>\n      where </s> is the file's end of text
 */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "vocabulary.h"

typedef struct {
    qig_tokenizer *t;
    const qig_gguf *g;
    const char *file;
    char *err;
    size_t errlen;
} reader;

#define FAIL(r, status, ...) qig_fail((r)->err, (r)->errlen, status, __VA_ARGS__)

static const char *const names[N_CHAT] = {"system", "user", "assistant", "end"};

/* Splits a part's text behind its last special token: the ids of what stands before, the rest as text. All of the end of a turn is ids. */
static int set_part(reader *r, int part, qig_str text) {
    qig_tokenizer *t = r->t;
    chat_part *p = &t->chat[part];
    size_t head = part == CHAT_END ? text.len : 0;
    for (size_t i = 0; part != CHAT_END && i < text.len;) {
        int32_t id = qig_special_at(t, (const uint8_t *)text.p + i, text.len - i, 1);
        i += id < 0 ? 1 : token_text(t, id).len;
        if (id >= 0) head = i;
    }
    p->tail_len = text.len - head;
    p->tail = malloc(p->tail_len + 1);
    const size_t most = 2 * head + 1; /* a token stands for a byte at least, or for the space before a text */
    p->ids = malloc(most * sizeof *p->ids);
    if (!p->tail || !p->ids) return FAIL(r, QIG_ERR_MEMORY, "%s: out of memory for the chat format", r->file);
    memcpy(p->tail, text.p + head, p->tail_len);
    token_sink s = {.out = p->ids, .cap = most};
    int rc = qig_encode_spans(t, text.p, head, 1, 1, &s);
    if (rc) return FAIL(r, rc, "%s: out of memory for the chat format", r->file);
    p->n = s.n;
    return QIG_OK;
}

/* The strings around a turn: all four of them or none. *found: whether there are any. */
static int read_keys(reader *r, int *found) {
    qig_tokenizer *t = r->t;
    int n = 0, rc = QIG_OK;
    for (int part = 0; !rc && part < N_CHAT; part++) {
        char key[32];
        qig_str s;
        snprintf(key, sizeof key, "qig.chat.%s", names[part]);
        const qig_kv *kv = qig_gguf_find(r->g, key);
        if (!kv) continue;
        n++;
        if (!qig_kv_str(kv, &s) || s.len < 1 || s.len > MAX_CHAT_BYTES)
            return FAIL(r, QIG_ERR_FORMAT, "%s: key '%s' must be a string of 1 to %d bytes", r->file, key, MAX_CHAT_BYTES);
        rc = set_part(r, part, s);
    }
    *found = n > 0;
    if (rc || n == 0) return rc;
    if (n < N_CHAT) return FAIL(r, QIG_ERR_FORMAT, "%s: a chat format needs all of qig.chat.system, .user, .assistant and .end", r->file);
    for (int64_t i = 0; i < t->chat[CHAT_END].n; i++)
        if (t->chat[CHAT_END].ids[i] == t->eot) return QIG_OK;
    return FAIL(r, QIG_ERR_FORMAT, "%s: qig.chat.end does not hold the end-of-turn token tokenizer.ggml.eot_token_id", r->file);
}

/* Where the word begins in s, or NULL. */
static const char *find(qig_str s, const char *word) {
    const size_t n = strlen(word);
    for (size_t i = 0; n <= s.len && i <= s.len - n; i++)
        if (memcmp(s.p + i, word, n) == 0) return s.p + i;
    return NULL;
}

/* Zephyr's turns all end with the end of text: what the template writes from <|user|> on names it. Of the formats with the same headers, some end
 * turns with a token of their own, and some leave the user's without an end. */
static int is_zephyr(qig_str template) {
    const char *user = find(template, "<|user|>");
    if (!user || !find(template, "<|assistant|>")) return 0;
    qig_str rest = {user, template.len - (size_t)(user - template.p)};
    const char *close = find(rest, "}}");
    return close && find((qig_str){user, (size_t)(close - user)}, "eos_token");
}

static int32_t special_of(const qig_tokenizer *t, const char *text) {
    int32_t id = qig_special_at(t, (const uint8_t *)text, strlen(text), 1);
    return id >= 0 && token_text(t, id).len == strlen(text) ? id : -1;
}

/* The parts of a known format: a header is a role's name between two strings. */
static int set_known(reader *r, const char *before, const char *after, qig_str end_token) {
    char text[MAX_SPECIAL_BYTES + 32];
    int rc = QIG_OK;
    for (int part = 0; !rc && part < CHAT_END; part++) {
        int n = snprintf(text, sizeof text, "%s%s%s", before, names[part], after);
        rc = set_part(r, part, (qig_str){text, (size_t)n});
    }
    memcpy(text, end_token.p, end_token.len);
    text[end_token.len] = '\n';
    return rc ? rc : set_part(r, CHAT_END, (qig_str){text, end_token.len + 1});
}

int qig_read_chat(qig_tokenizer *t, const qig_gguf *g, const char *file, char *err, size_t errlen) {
    reader r = {t, g, file, err, errlen};
    int found = 0;
    int rc = read_keys(&r, &found);
    if (rc || found) return rc;
    t->eot = -1;
    const qig_kv *kv = qig_gguf_find(g, "tokenizer.chat_template");
    qig_str template = {"", 0};
    if (kv && !qig_kv_str(kv, &template)) return FAIL(&r, QIG_ERR_FORMAT, "%s: key 'tokenizer.chat_template' must be a string", file);
    const int32_t start = special_of(t, "<|im_start|>"), end = special_of(t, "<|im_end|>"), text_end = special_of(t, "<|endoftext|>");
    const int chatml = find(template, "<|im_start|>") != NULL;
    if (chatml && start >= 0 && end >= 0) {
        t->kind[start] = t->kind[end] = KIND_CONTROL; /* a turn is never ended by what a user typed */
        /* Files for conversation name the end of a turn as the end of text; what ends the texts that the model learnt from still ends one. */
        if (t->eos == end && text_end >= 0 && t->kind[text_end] == KIND_CONTROL) t->eos = text_end;
        t->eot = end;
        return set_known(&r, "<|im_start|>", "\n", token_text(t, end));
    }
    if (!chatml && is_zephyr(template) && t->kind[t->eos] == KIND_CONTROL) {
        static const char *const headers[] = {"<|system|>", "<|user|>", "<|assistant|>"};
        for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
            const int32_t header = special_of(t, headers[i]);
            if (header >= 0) t->kind[header] = KIND_CONTROL; /* nor is one begun, where the file has tokens for it */
        }
        t->eot = t->eos;
        return set_known(&r, "<|", "|>\n", token_text(t, t->eos));
    }
    return QIG_OK;
}
