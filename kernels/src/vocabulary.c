/* vocabulary.c - reads a tokenizer from a file's tokenizer.ggml.* keys, and refuses what it could not encode every text with. */
#include "vocabulary.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "unicode.h"

typedef struct {
    qig_tokenizer *t;
    const qig_gguf *g;
    const char *file;
    char *err;
    size_t errlen;
    int16_t byte_of[324]; /* byte that a character of a token's text stands for; -1: none */
} builder;

#define FAIL(b, status, ...) qig_fail((b)->err, (b)->errlen, status, __VA_ARGS__)

static int no_memory(builder *b) { return FAIL(b, QIG_ERR_MEMORY, "%s: out of memory for the tokenizer", b->file); }

/* --- single keys ------------------------------------------------------------------------------------------------------------------- */

static int array_of(builder *b, const char *key, uint32_t elem_type, const char *what, const qig_kv **kv) {
    *kv = qig_gguf_find(b->g, key);
    if (!*kv) return FAIL(b, QIG_ERR_FORMAT, "%s: no tokenizer: key '%s' is missing", b->file, key);
    if ((*kv)->type != QIG_KV_ARRAY || (*kv)->elem_type != elem_type)
        return FAIL(b, QIG_ERR_FORMAT, "%s: key '%s' must be an array of %s", b->file, key, what);
    return QIG_OK;
}

/* Which of the known names (NULL at the end) a key gives. */
static int read_choice(builder *b, const char *key, const char *const *known, int *choice) {
    char q[QIG_QUOTE_SIZE], list[96] = "";
    qig_str s;
    const qig_kv *kv = qig_gguf_find(b->g, key);
    if (!kv) return FAIL(b, QIG_ERR_FORMAT, "%s: no tokenizer: key '%s' is missing", b->file, key);
    if (!qig_kv_str(kv, &s)) return FAIL(b, QIG_ERR_FORMAT, "%s: key '%s' must be a string", b->file, key);
    for (*choice = 0; known[*choice]; ++*choice)
        if (s.len == strlen(known[*choice]) && memcmp(s.p, known[*choice], s.len) == 0) return QIG_OK;
    for (int i = 0; known[i]; i++) snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", known[i]);
    return FAIL(b, QIG_ERR_UNSUPPORTED, "%s: %s '%s' is not run by this build (%s)", b->file, key, qig_quote(q, s.p, s.len), list);
}

/* The token id that a key names; -1 where the key is absent. */
static int read_id(builder *b, const char *key, int32_t *id) {
    const qig_kv *kv = qig_gguf_find(b->g, key);
    uint32_t v;
    *id = -1;
    if (!kv) return QIG_OK;
    if (!qig_kv_u32(kv, &v)) return FAIL(b, QIG_ERR_FORMAT, "%s: key '%s' must be a u32", b->file, key);
    if (v >= (uint32_t)b->t->n_tokens) return FAIL(b, QIG_ERR_FORMAT, "%s: %s is %u, the vocabulary has %d tokens", b->file, key, v, b->t->n_tokens);
    *id = (int32_t)v;
    return QIG_OK;
}

/* *value keeps what it is where the key is absent. */
static int read_bool(builder *b, const char *key, int *value) {
    const qig_kv *kv = qig_gguf_find(b->g, key);
    if (kv && !qig_kv_bool(kv, value)) return FAIL(b, QIG_ERR_FORMAT, "%s: key '%s' must be a bool", b->file, key);
    return QIG_OK;
}

/* --- tokens ------------------------------------------------------------------------------------------------------------------------ */

/* GPT-2 writes each byte as a printable character: those of Latin-1 that are printable stand for themselves, the other 68 follow from U+0100. */
static void fill_byte_map(builder *b) {
    int next = 256;
    for (int c = 0; c < 324; c++) b->byte_of[c] = -1;
    for (int c = 0; c < 256; c++) {
        int printable = (c >= '!' && c <= '~') || (c >= 0xa1 && c <= 0xac) || c >= 0xae;
        b->byte_of[printable ? c : next++] = (int16_t)c;
    }
}

/* Bytes that a token's text stands for, written to out (as long as the text at most); -1: a character that stands for none. */
static int64_t text_to_bytes(const builder *b, qig_str s, char *out) {
    int64_t n = 0;
    for (size_t i = 0, len; i < s.len; i += len) {
        int32_t c = qig_utf8_decode((const uint8_t *)s.p + i, s.len - i, &len);
        if (c < 0 || c >= 324 || b->byte_of[c] < 0) return -1;
        out[n++] = (char)b->byte_of[c];
    }
    return n;
}

/* The same of a token found by its score: U+2581 stands for a space. */
static int64_t marks_to_spaces(qig_str s, char *out) {
    int64_t n = 0;
    for (size_t i = 0; i < s.len; n++) {
        int mark = s.len - i >= 3 && memcmp(s.p + i, "\xe2\x96\x81", 3) == 0;
        out[n] = mark ? ' ' : s.p[i];
        i += mark ? 3 : 1;
    }
    return n;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

/* The byte of <0x00> to <0xFF>; -1: another text. */
static int byte_of_text(qig_str s) {
    if (s.len != 6 || memcmp(s.p, "<0x", 3) || s.p[5] != '>') return -1;
    int high = hex_digit(s.p[3]), low = hex_digit(s.p[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* What token id is written as, into to; its length or a qig_status. */
static int64_t read_token(builder *b, int32_t id, int32_t kind, qig_str s, char *to) {
    char q[QIG_QUOTE_SIZE];
    const int by_score = b->t->by_score;
    if (kind < KIND_NORMAL || kind > (by_score ? KIND_BYTE : KIND_UNUSED))
        return FAIL(b, QIG_ERR_UNSUPPORTED, "%s: token %d is of type %d (this build knows 1, normal, 2, unknown, 3, control, 4, user-defined, 5, unused%s)",
                    b->file, id, kind, by_score ? ", and 6, byte" : "");
    const int special = kind == KIND_UNKNOWN || kind == KIND_CONTROL || kind == KIND_USER_DEFINED;
    const size_t most = special ? MAX_SPECIAL_BYTES : by_score ? MAX_SCORED_BYTES : MAX_TOKEN_BYTES;
    if (s.len < 1 || s.len > most)
        return FAIL(b, QIG_ERR_FORMAT, "%s: token %d has %llu bytes of text (1 to %llu)", b->file, id, (unsigned long long)s.len, (unsigned long long)most);
    if (kind == KIND_BYTE) {
        int byte = byte_of_text(s);
        if (byte < 0) return FAIL(b, QIG_ERR_FORMAT, "%s: token %d, '%s', is no byte from <0x00> to <0xFF>", b->file, id, qig_quote(q, s.p, s.len));
        to[0] = (char)byte;
        return 1;
    }
    if (kind == KIND_NORMAL) {
        int64_t n = by_score ? marks_to_spaces(s, to) : text_to_bytes(b, s, to);
        if (n < 0) return FAIL(b, QIG_ERR_FORMAT, "%s: token %d, '%s', is not the byte-level text of any bytes", b->file, id, qig_quote(q, s.p, s.len));
        return n;
    }
    memcpy(to, s.p, s.len);
    return (int64_t)s.len;
}

/* Texts and kinds of all tokens. */
static int read_tokens(builder *b) {
    qig_tokenizer *t = b->t;
    const qig_kv *texts, *kinds;
    int rc = array_of(b, "tokenizer.ggml.tokens", QIG_KV_STRING, "strings", &texts);
    if (!rc) rc = array_of(b, "tokenizer.ggml.token_type", QIG_KV_I32, "i32", &kinds);
    if (rc) return rc;
    if (texts->count < 1 || texts->count > MAX_TOKENS)
        return FAIL(b, QIG_ERR_UNSUPPORTED, "%s: a vocabulary of %llu tokens (this build reads 1 to %d)", b->file, (unsigned long long)texts->count,
                    MAX_TOKENS);
    if (kinds->count != texts->count)
        return FAIL(b, QIG_ERR_FORMAT, "%s: %llu tokens but %llu token types", b->file, (unsigned long long)texts->count, (unsigned long long)kinds->count);
    if (texts->bytes > UINT32_MAX) return FAIL(b, QIG_ERR_UNSUPPORTED, "%s: the vocabulary has more than 4 GiB of text", b->file);
    t->n_tokens = (int32_t)texts->count;
    t->bytes = malloc(texts->bytes);
    t->start = malloc((texts->count + 1) * sizeof *t->start);
    t->kind = malloc(texts->count);
    if (!t->bytes || !t->start || !t->kind) return no_memory(b);
    uint64_t pos = 0;
    qig_str s;
    t->start[0] = 0;
    for (int32_t id = 0; id < t->n_tokens && qig_kv_next_str(texts, &pos, &s); id++) {
        int32_t kind;
        memcpy(&kind, kinds->data + 4 * (size_t)id, sizeof kind);
        int64_t n = read_token(b, id, kind, s, t->bytes + t->start[id]);
        if (n < 0) return (int)n;
        t->kind[id] = (uint8_t)kind;
        t->start[id + 1] = t->start[id] + (uint32_t)n;
        /* A space that is none of U+2581's stands in no text that is to be merged. */
        if (t->by_score && kind == KIND_NORMAL && memchr(s.p, ' ', s.len)) t->kind[id] = KIND_UNUSED;
    }
    return QIG_OK;
}

/* --- finding tokens ---------------------------------------------------------------------------------------------------------------- */

static uint32_t hash_bytes(const char *p, size_t len) {
    uint64_t h = len;
    for (size_t i = 0; i < len; i++) h = (h ^ (uint8_t)p[i]) * 0x100000001b3u;
    return hash_mix(h);
}

/* Size of a hash table for n entries at half load at most. */
static uint32_t table_size(uint32_t n) {
    uint32_t size = 16;
    while (size < 2 * (uint64_t)n) size *= 2;
    return size;
}

int32_t *qig_id_slot(const qig_tokenizer *t, const char *p, size_t len) {
    uint32_t h = hash_bytes(p, len);
    for (uint32_t i = 0; i < MAX_PROBES; i++) {
        int32_t *slot = &t->ids[(h + i) & t->ids_mask];
        if (*slot == 0) return slot;
        qig_str have = token_text(t, *slot - 1);
        if (have.len == len && memcmp(have.p, p, len) == 0) return slot;
    }
    return NULL;
}

static int same_text(builder *b, int32_t one, int32_t other) {
    return FAIL(b, QIG_ERR_FORMAT, "%s: tokens %d and %d have the same text", b->file, one, other);
}

/* Finds normal tokens by their bytes, and the token of each single byte. */
static int index_tokens(builder *b) {
    qig_tokenizer *t = b->t;
    uint32_t size = table_size((uint32_t)t->n_tokens);
    t->ids_mask = size - 1;
    t->ids = calloc(size, sizeof *t->ids);
    if (!t->ids) return no_memory(b);
    for (int c = 0; c < 256; c++) t->byte_id[c] = -1;
    for (int32_t id = 0; id < t->n_tokens; id++) {
        qig_str s = token_text(t, id);
        if (t->kind[id] == KIND_BYTE) {
            int32_t *byte = &t->byte_id[(uint8_t)s.p[0]];
            if (*byte >= 0) return same_text(b, *byte, id);
            *byte = id;
        }
        if (t->kind[id] != KIND_NORMAL) continue;
        int32_t *slot = qig_id_slot(t, s.p, s.len);
        if (!slot) return FAIL(b, QIG_ERR_FORMAT, "%s: the vocabulary is made to collide", b->file);
        if (*slot) return same_text(b, *slot - 1, id);
        *slot = id + 1;
    }
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        if (!t->by_score) t->byte_id[c] = token_of(t, &byte, 1);
        if (t->byte_id[c] < 0) return FAIL(b, QIG_ERR_FORMAT, "%s: the vocabulary has no token for byte 0x%02x", b->file, c);
    }
    return QIG_OK;
}

/* --- merges ------------------------------------------------------------------------------------------------------------------------ */

/* Files the merge of this rank under its pair; a pair that comes again takes the later rank, as in `tokenizers`. */
static int add_pair(builder *b, uint32_t rank) {
    qig_tokenizer *t = b->t;
    const merge *m = &t->merges[rank];
    uint32_t h = hash_pair(m->left, m->right);
    for (uint32_t i = 0; i < MAX_PROBES; i++) {
        uint32_t *slot = &t->pairs[(h + i) & t->pairs_mask];
        const merge *have = *slot ? &t->merges[*slot - 1] : m;
        if (have->left != m->left || have->right != m->right) continue;
        *slot = rank + 1;
        return QIG_OK;
    }
    return FAIL(b, QIG_ERR_FORMAT, "%s: the merges are made to collide", b->file);
}

/* One merge from its text, "left right". scratch: 2 MAX_TOKEN_BYTES. */
static int read_merge(builder *b, uint32_t rank, qig_str s, char *scratch) {
    char q[QIG_QUOTE_SIZE];
    merge *m = &b->t->merges[rank];
    const char *space = memchr(s.p, ' ', s.len);
    size_t left = space ? (size_t)(space - s.p) : 0;
    if (left < 1 || left + 1 >= s.len || left > MAX_TOKEN_BYTES || s.len - left - 1 > MAX_TOKEN_BYTES)
        return FAIL(b, QIG_ERR_FORMAT, "%s: merge %u, '%s', is not two tokens with a space between them", b->file, rank, qig_quote(q, s.p, s.len));
    int64_t nl = text_to_bytes(b, (qig_str){s.p, left}, scratch);
    int64_t nr = nl < 0 ? -1 : text_to_bytes(b, (qig_str){space + 1, s.len - left - 1}, scratch + nl);
    if (nr >= 0) {
        m->left = token_of(b->t, scratch, (size_t)nl);
        m->right = token_of(b->t, scratch + nl, (size_t)nr);
        m->merged = token_of(b->t, scratch, (size_t)(nl + nr));
    }
    if (nr < 0 || m->left < 0 || m->right < 0 || m->merged < 0)
        return FAIL(b, QIG_ERR_FORMAT, "%s: merge %u, '%s', names or makes a token that is not in the vocabulary", b->file, rank, qig_quote(q, s.p, s.len));
    return add_pair(b, rank);
}

/* Absent merges are none: a vocabulary of bytes alone. */
static int read_merges(builder *b) {
    qig_tokenizer *t = b->t;
    const qig_kv *kv = NULL;
    if (qig_gguf_find(b->g, "tokenizer.ggml.merges")) {
        int rc = array_of(b, "tokenizer.ggml.merges", QIG_KV_STRING, "strings", &kv);
        if (rc) return rc;
        if (kv->count > MAX_TOKENS)
            return FAIL(b, QIG_ERR_UNSUPPORTED, "%s: %llu merges (this build reads at most %d)", b->file, (unsigned long long)kv->count, MAX_TOKENS);
        t->n_merges = (uint32_t)kv->count;
    }
    uint32_t size = table_size(t->n_merges);
    t->pairs_mask = size - 1;
    t->pairs = calloc(size, sizeof *t->pairs);
    t->merges = malloc((t->n_merges + 1) * sizeof *t->merges);
    char *scratch = malloc(2 * MAX_TOKEN_BYTES);
    int rc = t->pairs && t->merges && scratch ? QIG_OK : no_memory(b);
    uint64_t pos = 0;
    qig_str s;
    for (uint32_t rank = 0; !rc && rank < t->n_merges && qig_kv_next_str(kv, &pos, &s); rank++) rc = read_merge(b, rank, s, scratch);
    free(scratch);
    return rc;
}

/* --- scores ------------------------------------------------------------------------------------------------------------------------ */

/* Rises as the finite score falls; both zeros are one. */
static uint32_t order_of(float score) {
    uint32_t u;
    score += 0.0f;
    memcpy(&u, &score, sizeof u);
    return u >> 31 ? u : ~u & 0x7fffffff;
}

static int read_scores(builder *b) {
    qig_tokenizer *t = b->t;
    const qig_kv *kv;
    int rc = array_of(b, "tokenizer.ggml.scores", QIG_KV_F32, "f32", &kv);
    if (rc) return rc;
    if (kv->count != (uint64_t)t->n_tokens)
        return FAIL(b, QIG_ERR_FORMAT, "%s: %d tokens but %llu scores", b->file, t->n_tokens, (unsigned long long)kv->count);
    t->order = malloc((size_t)t->n_tokens * sizeof *t->order);
    if (!t->order) return no_memory(b);
    t->words_apart = 1;
    for (int32_t id = 0; id < t->n_tokens; id++) {
        float score;
        memcpy(&score, kv->data + 4 * (size_t)id, sizeof score);
        if (!isfinite(score)) return FAIL(b, QIG_ERR_FORMAT, "%s: the score of token %d is %g", b->file, id, (double)score);
        t->order[id] = order_of(score);
        if (t->kind[id] != KIND_NORMAL) continue;
        qig_str s = token_text(t, id);
        if (s.len > t->longest) t->longest = s.len;
        for (size_t i = 1; i < s.len; i++)
            if (s.p[i] == ' ' && s.p[i - 1] != ' ') t->words_apart = 0;
    }
    t->space_prefix = 1;
    rc = read_bool(b, "tokenizer.ggml.add_space_prefix", &t->space_prefix);
    int squeeze = 0;
    if (!rc) rc = read_bool(b, "tokenizer.ggml.remove_extra_whitespaces", &squeeze);
    if (!rc && squeeze)
        rc = FAIL(b, QIG_ERR_UNSUPPORTED, "%s: tokenizer.ggml.remove_extra_whitespaces is true: this build keeps all white space (false)", b->file);
    return rc;
}

/* --- special tokens ---------------------------------------------------------------------------------------------------------------- */

typedef struct { qig_str text; int32_t id; } special;

static int special_order(const void *x, const void *y) {
    const special *a = x, *b = y;
    int c = memcmp(a->text.p, b->text.p, a->text.len < b->text.len ? a->text.len : b->text.len);
    return c ? c : (a->text.len > b->text.len) - (a->text.len < b->text.len);
}

static int is_special(const qig_tokenizer *t, int32_t id) { return t->kind[id] >= KIND_UNKNOWN && t->kind[id] <= KIND_USER_DEFINED; }

static int sort_specials(builder *b) {
    qig_tokenizer *t = b->t;
    for (int32_t id = 0; id < t->n_tokens; id++) t->n_specials += is_special(t, id);
    size_t n = (size_t)t->n_specials + 1;
    special *list = malloc(n * sizeof *list);
    t->specials = malloc(n * sizeof *t->specials);
    int rc = list && t->specials ? QIG_OK : no_memory(b);
    int32_t k = 0;
    for (int32_t id = 0; !rc && id < t->n_tokens; id++)
        if (is_special(t, id)) list[k++] = (special){token_text(t, id), id};
    if (!rc) qsort(list, (size_t)k, sizeof *list, special_order);
    for (int32_t i = 0; !rc && i < k; i++) {
        if (i && special_order(&list[i - 1], &list[i]) == 0)
            rc = FAIL(b, QIG_ERR_FORMAT, "%s: control tokens %d and %d have the same text", b->file, list[i - 1].id, list[i].id);
        t->specials[i] = list[i].id;
        t->special_first[(uint8_t)list[i].text.p[0]] |= t->kind[list[i].id] == KIND_USER_DEFINED ? SPECIAL_ASKED | SPECIAL_ALWAYS : SPECIAL_ASKED;
    }
    free(list);
    return rc;
}

/* The tokens around a text. What ends one is never read from what a user typed, whatever kind the file gives it. */
static int read_ends(builder *b) {
    qig_tokenizer *t = b->t;
    int add_bos = t->by_score || t->pre == QIG_PRE_LLAMA_BPE;
    int rc = read_id(b, "tokenizer.ggml.bos_token_id", &t->bos);
    if (!rc) rc = read_bool(b, "tokenizer.ggml.add_bos_token", &add_bos);
    if (!rc && add_bos && t->bos < 0)
        rc = FAIL(b, QIG_ERR_FORMAT, "%s: a text begins with a token (tokenizer.ggml.add_bos_token), but key 'tokenizer.ggml.bos_token_id' is missing", b->file);
    if (!rc) rc = read_id(b, "tokenizer.ggml.eos_token_id", &t->eos);
    if (!rc && t->eos < 0) rc = FAIL(b, QIG_ERR_FORMAT, "%s: no tokenizer: key 'tokenizer.ggml.eos_token_id' is missing", b->file);
    if (!rc) rc = read_id(b, "tokenizer.ggml.eot_token_id", &t->eot);
    if (rc) return rc;
    const int32_t ends[] = {t->bos, t->eos, t->eot};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends[i] >= 0 && t->kind[ends[i]] == KIND_USER_DEFINED) t->kind[ends[i]] = KIND_CONTROL;
    if (!add_bos) t->bos = -1;
    return QIG_OK;
}

/* --- the whole --------------------------------------------------------------------------------------------------------------------- */

static int build(builder *b) {
    static const char *const models[] = {"gpt2", "llama", NULL};
    qig_tokenizer *t = b->t;
    int pre = QIG_PRE_GPT2;
    fill_byte_map(b);
    int rc = read_choice(b, "tokenizer.ggml.model", models, &t->by_score);
    if (!rc && !t->by_score) rc = read_choice(b, "tokenizer.ggml.pre", qig_pre_names, &pre);
    t->pre = (qig_pre)pre;
    t->whole_first = t->pre == QIG_PRE_LLAMA_BPE;
    if (!rc) rc = read_tokens(b);
    if (!rc) rc = index_tokens(b);
    if (!rc) rc = t->by_score ? read_scores(b) : read_merges(b);
    if (!rc) rc = read_ends(b);
    if (!rc) rc = sort_specials(b);
    return rc ? rc : qig_read_chat(t, b->g, b->file, b->err, b->errlen);
}

int qig_tokenizer_new(const qig_gguf *g, const char *file, qig_tokenizer **out, char *err, size_t errlen) {
    builder b = {.g = g, .file = file, .err = err, .errlen = errlen};
    *out = NULL;
    b.t = calloc(1, sizeof *b.t);
    if (!b.t) return no_memory(&b);
    int rc = build(&b);
    if (rc) qig_tokenizer_free(b.t);
    else *out = b.t;
    return rc;
}

void qig_tokenizer_free(qig_tokenizer *t) {
    if (!t) return;
    for (int part = 0; part < N_CHAT; part++) {
        free(t->chat[part].ids);
        free(t->chat[part].tail);
    }
    free(t->specials);
    free(t->order);
    free(t->pairs);
    free(t->merges);
    free(t->ids);
    free(t->kind);
    free(t->start);
    free(t->bytes);
    free(t);
}
