/* tokenizer.c - see tokenizer.h. The text is cut at special tokens; what lies between them is merged by tokenizer_bpe.c or tokenizer_spm.c. */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "vocabulary.h"

enum { STACK_PIECE = 256 }; /* bytes of a piece that is merged without an allocation */

static const char *const chat_names[N_CHAT] = {"system", "user", "assistant", "end"};

int32_t qig_special_at(const qig_tokenizer *t, const uint8_t *p, size_t n, int asked) {
    int32_t found = -1, low = 0, high = t->n_specials;
    if (!(t->special_first[p[0]] & (asked ? SPECIAL_ASKED | SPECIAL_ALWAYS : SPECIAL_ALWAYS))) return -1;
    for (size_t depth = 0; depth < n && low < high; depth++) {
        /* [low, high): the special tokens that begin with p[0, depth); narrowed to those with p[depth] next. */
        int32_t a = low, b = high;
        while (a < b) {
            int32_t mid = a + (b - a) / 2;
            qig_str s = token_text(t, t->specials[mid]);
            if (s.len <= depth || (uint8_t)s.p[depth] < p[depth]) a = mid + 1;
            else b = mid;
        }
        low = a;
        b = high;
        while (a < b) {
            int32_t mid = a + (b - a) / 2;
            if ((uint8_t)token_text(t, t->specials[mid]).p[depth] == p[depth]) a = mid + 1;
            else b = mid;
        }
        high = a;
        if (low < high && token_text(t, t->specials[low]).len == depth + 1 && (asked || t->kind[t->specials[low]] == KIND_USER_DEFINED))
            found = t->specials[low];
    }
    return found;
}

static int encode_plain(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t n, int begins, token_sink *out) {
    if (n == 0) return 1;
    return t->by_score ? qig_encode_scored(t, w, p, n, begins, out) : qig_encode_ranked(t, w, p, n, out);
}

static int encode_between(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t n, int asked, int begins, token_sink *out) {
    size_t start = 0;
    for (size_t i = 0; i < n;) {
        int32_t id = qig_special_at(t, p + i, n - i, asked);
        if (id < 0) {
            i++;
            continue;
        }
        if (!encode_plain(t, w, p + start, i - start, begins, out)) return 0;
        emit(out, id);
        begins = 1;
        start = i += token_text(t, id).len;
    }
    return encode_plain(t, w, p + start, n - start, begins, out);
}

int qig_encode_spans(const qig_tokenizer *t, const char *text, size_t len, int parse_special, int begins, token_sink *out) {
    if (len == 0) return QIG_OK;
    if (len >= INT32_MAX || !text) return QIG_ERR_ARG;
    uint64_t heap[2 * STACK_PIECE];
    int32_t list[3 * STACK_PIECE];
    workspace w = {.heap = heap, .id = list, .prev = list + STACK_PIECE, .next = list + 2 * STACK_PIECE, .n = STACK_PIECE};
    int ok = encode_between(t, &w, (const uint8_t *)text, len, parse_special, begins, out);
    free(w.block);
    free(w.text);
    return ok ? QIG_OK : QIG_ERR_MEMORY;
}

int64_t qig_tokenizer_encode(const qig_tokenizer *t, const char *text, size_t len, int parse_special, int32_t *out, size_t cap) {
    token_sink s = {.out = out, .cap = out ? cap : 0};
    int rc = qig_encode_spans(t, text, len, parse_special, 1, &s);
    return rc ? rc : s.n;
}

/* The tail of a header and the content after it, merged as one text. */
static int encode_content(const qig_tokenizer *t, const chat_part *header, const char *content, size_t len, int begins, token_sink *out) {
    if (header->tail_len == 0) return qig_encode_spans(t, content, len, 0, begins, out);
    if (len >= INT32_MAX) return QIG_ERR_ARG;
    char *text = malloc(header->tail_len + len);
    if (!text) return QIG_ERR_MEMORY;
    memcpy(text, header->tail, header->tail_len);
    if (len) memcpy(text + header->tail_len, content, len);
    int rc = qig_encode_spans(t, text, header->tail_len + len, 0, begins, out);
    free(text);
    return rc;
}

int64_t qig_tokenizer_chat_turn(const qig_tokenizer *t, const char *role, const char *content, size_t len, int first, int32_t *out, size_t cap) {
    if (t->eot < 0) return QIG_ERR_UNSUPPORTED;
    int part = CHAT_SYSTEM;
    while (part < CHAT_END && strcmp(role, chat_names[part])) part++;
    if (part == CHAT_END) return QIG_ERR_ARG;
    const chat_part *header = &t->chat[part], *end = &t->chat[CHAT_END];
    token_sink s = {.out = out, .cap = out ? cap : 0};
    for (int64_t i = 0; i < header->n; i++) emit(&s, header->ids[i]);
    int rc = encode_content(t, header, content, content ? len : 0, first || header->n > 0, &s);
    if (rc) return rc;
    for (int64_t i = 0; content && i < end->n; i++) emit(&s, end->ids[i]);
    return s.n;
}

int64_t qig_tokenizer_chat_end(const qig_tokenizer *t, int32_t *out, size_t cap) {
    if (t->eot < 0) return QIG_ERR_UNSUPPORTED;
    token_sink s = {.out = out, .cap = out ? cap : 0};
    for (int64_t i = 0; i < t->chat[CHAT_END].n; i++) emit(&s, t->chat[CHAT_END].ids[i]);
    return s.n;
}

const char *qig_tokenizer_bytes(const qig_tokenizer *t, int32_t token, int special, size_t *len) {
    *len = 0;
    if (token < 0 || token >= t->n_tokens) return NULL;
    qig_str s = token_text(t, token);
    const int hidden = t->kind[token] == KIND_CONTROL || t->kind[token] == KIND_UNKNOWN || t->kind[token] == KIND_UNUSED;
    if (!hidden || special) *len = s.len;
    return s.p;
}

int32_t qig_tokenizer_size(const qig_tokenizer *t) { return t->n_tokens; }
int qig_tokenizer_space_prefix(const qig_tokenizer *t) { return t->space_prefix; }
int32_t qig_tokenizer_bos(const qig_tokenizer *t) { return t->bos; }
int32_t qig_tokenizer_eos(const qig_tokenizer *t) { return t->eos; }
int32_t qig_tokenizer_eot(const qig_tokenizer *t) { return t->eot; }
