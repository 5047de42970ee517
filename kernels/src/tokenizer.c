/* tokenizer.c - see tokenizer.h.
 *
 * Encoding: the text is cut at control tokens (when asked for), each stretch is split as GPT-2 does, and the bytes of a piece are merged
 * pair by pair, lowest rank first and leftmost among equals. The pairs wait in a heap as rank << 32 | position; a pair that a merge beside it
 * changed is recognised when it is taken out.
 */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "unicode.h"

enum {
    MAX_TOKENS = 1 << 20,
    MAX_TOKEN_BYTES = 1 << 16,
    MAX_CONTROL_BYTES = 256, /* bounds the search for control tokens at each position of a text */
    MAX_CHAT_BYTES = 4096,
    MAX_PROBES = 256,        /* at half load a sound table needs fewer than 100; more means a file made to collide */
    STACK_PIECE = 256        /* bytes of a piece that is merged without an allocation */
};

enum { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_END, N_CHAT };
static const char *const chat_names[N_CHAT] = {"system", "user", "assistant", "end"};

typedef struct { int32_t left, right, merged; } merge;

struct qig_tokenizer {
    int32_t n_tokens;
    char *bytes;         /* of all tokens, one after another: of a normal token what it stands for, of a control token its text */
    uint32_t *start;     /* [n_tokens + 1] into bytes */
    uint8_t *is_control; /* [n_tokens] */
    int32_t byte_id[256];
    merge *merges;       /* [n_merges] by rank */
    uint32_t n_merges;
    uint32_t *pairs;     /* hash table of rank + 1 by (left, right), 0: free */
    uint32_t pairs_mask;
    int32_t *controls;   /* [n_controls] ids of the control tokens, sorted by text */
    int32_t n_controls;
    uint8_t control_first[256]; /* bytes that a control token begins with */
    int32_t eos, eot;
    struct { int32_t *ids; int64_t n; } chat[N_CHAT]; /* ids NULL: no chat format */
};

static qig_str token_text(const qig_tokenizer *t, int32_t id) {
    return (qig_str){t->bytes + t->start[id], t->start[id + 1] - t->start[id]};
}

static uint32_t hash_mix(uint64_t h) {
    h *= 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return (uint32_t)(h >> 32);
}

static uint32_t hash_pair(int32_t left, int32_t right) { return hash_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right); }

static uint32_t hash_str(qig_str s) {
    uint64_t h = s.len;
    for (size_t i = 0; i < s.len; i++) h = (h ^ (uint8_t)s.p[i]) * 0x100000001b3u;
    return hash_mix(h);
}

/* Size of a hash table for n entries at half load at most. */
static uint32_t table_size(uint32_t n) {
    uint32_t size = 16;
    while (size < 2 * (uint64_t)n) size *= 2;
    return size;
}

/* --- encoding ---------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int32_t *out;
    size_t cap;
    int64_t n; /* ids so far, those beyond cap included */
} sink;

static void emit(sink *s, int32_t id) {
    if ((uint64_t)s->n < s->cap) s->out[s->n] = id;
    s->n++;
}

/* Buffers of one piece: on the stack for short ones, grown for long ones and kept for the rest of the call. */
typedef struct {
    uint64_t *heap; /* [2 n] */
    int32_t *id, *prev, *next; /* [n] symbols as a linked list by the position of their first byte; id -1: merged away */
    size_t n;
    void *block;
} workspace;

static int grow(workspace *w, size_t n) {
    if (n <= w->n) return 1;
    size_t size = n > 2 * w->n ? n : 2 * w->n;
    void *block = malloc(size * (2 * sizeof *w->heap + 3 * sizeof *w->id));
    if (!block) return 0;
    free(w->block);
    w->block = block;
    w->heap = block;
    w->id = (int32_t *)(w->heap + 2 * size);
    w->prev = w->id + size;
    w->next = w->prev + size;
    w->n = size;
    return 1;
}

static void sift_down(uint64_t *heap, size_t n, size_t i) {
    uint64_t v = heap[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        if (c + 1 < n && heap[c + 1] < heap[c]) c++;
        if (v <= heap[c]) break;
        heap[i] = heap[c];
    }
    heap[i] = v;
}

static void heap_push(uint64_t *heap, size_t *n, uint64_t v) {
    size_t i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2] > v; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = v;
}

/* Heap entry of the symbol at pos and the one after it; 0 when they do not merge. */
static int pair_entry(const qig_tokenizer *t, const workspace *w, int32_t pos, uint64_t *entry) {
    int32_t right = w->next[pos];
    if (right < 0) return 0;
    for (uint32_t i = hash_pair(w->id[pos], w->id[right]);; i++) {
        uint32_t rank = t->pairs[i & t->pairs_mask];
        if (rank == 0) return 0;
        const merge *m = &t->merges[rank - 1];
        if (m->left != w->id[pos] || m->right != w->id[right]) continue;
        *entry = (uint64_t)(rank - 1) << 32 | (uint32_t)pos;
        return 1;
    }
}

static int encode_piece(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t len, sink *out) {
    if (len == 1) {
        emit(out, t->byte_id[p[0]]);
        return 1;
    }
    if (!grow(w, len)) return 0;
    size_t n = 0;
    uint64_t entry;
    for (size_t i = 0; i < len; i++) {
        w->id[i] = t->byte_id[p[i]];
        w->prev[i] = (int32_t)i - 1;
        w->next[i] = i + 1 < len ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i < len; i++)
        if (pair_entry(t, w, (int32_t)i, &entry)) w->heap[n++] = entry;
    for (size_t i = n / 2; i-- > 0;) sift_down(w->heap, n, i);
    /* Every merge takes one entry out and puts at most two in, and there are fewer than len of them: 2 len entries suffice. */
    while (n > 0) {
        int32_t pos = (int32_t)(w->heap[0] & 0xffffffff), right = w->next[pos];
        const merge *m = &t->merges[w->heap[0] >> 32];
        w->heap[0] = w->heap[--n];
        if (n > 0) sift_down(w->heap, n, 0);
        if (right < 0 || w->id[pos] != m->left || w->id[right] != m->right) continue;
        w->id[pos] = m->merged;
        w->id[right] = -1;
        w->next[pos] = w->next[right];
        if (w->next[pos] >= 0) w->prev[w->next[pos]] = pos;
        if (w->prev[pos] >= 0 && pair_entry(t, w, w->prev[pos], &entry)) heap_push(w->heap, &n, entry);
        if (pair_entry(t, w, pos, &entry)) heap_push(w->heap, &n, entry);
    }
    for (int32_t pos = 0; pos >= 0; pos = w->next[pos]) emit(out, w->id[pos]);
    return 1;
}

/* Bytes of the characters of class c from p on. */
static size_t run_length(const uint8_t *p, size_t n, qig_char_class c) {
    size_t i = 0, len;
    while (i < n && qig_char_class_at(p + i, n - i, &len) == c) i += len;
    return i;
}

/* Length of the first piece of p, n >= 1, as 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ splits it.
 * A byte that is no UTF-8 is a piece of its own. */
static size_t piece_length(const uint8_t *p, size_t n) {
    if (p[0] == '\'' && n >= 2) {
        if (p[1] == 's' || p[1] == 't' || p[1] == 'm' || p[1] == 'd') return 2;
        if (n >= 3 && ((p[1] == 'r' && p[2] == 'e') || (p[1] == 'v' && p[2] == 'e') || (p[1] == 'l' && p[2] == 'l'))) return 3;
    }
    size_t len, skip = p[0] == ' ' && n >= 2;
    qig_char_class c = qig_char_class_at(p + skip, n - skip, &len);
    if (c == QIG_CHAR_INVALID) return 1; /* itself, or the space before it */
    if (c != QIG_CHAR_SPACE) return skip + run_length(p + skip, n - skip, c);
    size_t end = 0, last = 0;
    for (; end < n && qig_char_class_at(p + end, n - end, &len) == QIG_CHAR_SPACE; end += len) last = end;
    return end == n || last == 0 ? end : last; /* the last white space before a word belongs to what follows */
}

static int encode_text(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t n, sink *out) {
    while (n > 0) {
        size_t len = piece_length(p, n);
        if (!encode_piece(t, w, p, len, out)) return 0;
        p += len;
        n -= len;
    }
    return 1;
}

/* The longest control token that the text at p begins with, or -1. */
static int32_t control_at(const qig_tokenizer *t, const uint8_t *p, size_t n) {
    int32_t found = -1, low = 0, high = t->n_controls;
    if (!t->control_first[p[0]]) return -1;
    for (size_t depth = 0; depth < n && low < high; depth++) {
        /* [low, high): the control tokens that begin with p[0, depth); narrowed to those with p[depth] next. */
        int32_t a = low, b = high;
        while (a < b) {
            int32_t mid = a + (b - a) / 2;
            qig_str s = token_text(t, t->controls[mid]);
            if (s.len <= depth || (uint8_t)s.p[depth] < p[depth]) a = mid + 1;
            else b = mid;
        }
        low = a;
        b = high;
        while (a < b) {
            int32_t mid = a + (b - a) / 2;
            if ((uint8_t)token_text(t, t->controls[mid]).p[depth] == p[depth]) a = mid + 1;
            else b = mid;
        }
        high = a;
        if (low < high && token_text(t, t->controls[low]).len == depth + 1) found = t->controls[low];
    }
    return found;
}

static int encode_special(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t n, sink *out) {
    size_t start = 0;
    for (size_t i = 0; i < n;) {
        int32_t id = control_at(t, p + i, n - i);
        if (id < 0) {
            i++;
            continue;
        }
        if (!encode_text(t, w, p + start, i - start, out)) return 0;
        emit(out, id);
        start = i += token_text(t, id).len;
    }
    return encode_text(t, w, p + start, n - start, out);
}

static int encode_into(const qig_tokenizer *t, const char *text, size_t len, int parse_special, sink *out) {
    if (len == 0) return QIG_OK;
    if (len > INT32_MAX || !text) return QIG_ERR_ARG;
    uint64_t heap[2 * STACK_PIECE];
    int32_t list[3 * STACK_PIECE];
    workspace w = {.heap = heap, .id = list, .prev = list + STACK_PIECE, .next = list + 2 * STACK_PIECE, .n = STACK_PIECE};
    const uint8_t *p = (const uint8_t *)text;
    int ok = parse_special ? encode_special(t, &w, p, len, out) : encode_text(t, &w, p, len, out);
    free(w.block);
    return ok ? QIG_OK : QIG_ERR_MEMORY;
}

int64_t qig_tokenizer_encode(const qig_tokenizer *t, const char *text, size_t len, int parse_special, int32_t *out, size_t cap) {
    sink s = {.out = out, .cap = out ? cap : 0};
    int rc = encode_into(t, text, len, parse_special, &s);
    return rc ? rc : s.n;
}

static void emit_chat(const qig_tokenizer *t, int part, sink *s) {
    for (int64_t i = 0; i < t->chat[part].n; i++) emit(s, t->chat[part].ids[i]);
}

int64_t qig_tokenizer_chat_turn(const qig_tokenizer *t, const char *role, const char *content, size_t len, int32_t *out, size_t cap) {
    if (!t->chat[CHAT_END].ids) return QIG_ERR_UNSUPPORTED;
    int part = CHAT_SYSTEM;
    while (part < CHAT_END && strcmp(role, chat_names[part])) part++;
    if (part == CHAT_END) return QIG_ERR_ARG;
    sink s = {.out = out, .cap = out ? cap : 0};
    emit_chat(t, part, &s);
    if (!content) return s.n;
    int rc = encode_into(t, content, len, 0, &s);
    if (rc) return rc;
    emit_chat(t, CHAT_END, &s);
    return s.n;
}

const char *qig_tokenizer_bytes(const qig_tokenizer *t, int32_t token, int special, size_t *len) {
    *len = 0;
    if (token < 0 || token >= t->n_tokens) return NULL;
    qig_str s = token_text(t, token);
    if (!t->is_control[token] || special) *len = s.len;
    return s.p;
}

int32_t qig_tokenizer_size(const qig_tokenizer *t) { return t->n_tokens; }
int32_t qig_tokenizer_eos(const qig_tokenizer *t) { return t->eos; }
int32_t qig_tokenizer_eot(const qig_tokenizer *t) { return t->eot; }

/* --- building ---------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    qig_tokenizer *t;
    const qig_gguf *g;
    const char *file;
    char *err;
    size_t errlen;
    int16_t byte_of[324]; /* byte that a character of a token's text stands for; -1: none */
    int32_t *ids;         /* hash table of id + 1 by the bytes of normal tokens, 0: free */
    uint32_t mask;
} builder;

#define FAIL(b, status, ...) qig_fail((b)->err, (b)->errlen, status, __VA_ARGS__)

static int no_memory(builder *b) { return FAIL(b, QIG_ERR_MEMORY, "%s: out of memory for the tokenizer", b->file); }

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

/* Slot of the normal token of these bytes, or the free one where it belongs; NULL: too many collisions. */
static int32_t *id_slot(const builder *b, qig_str s) {
    uint32_t h = hash_str(s);
    for (uint32_t i = 0; i < MAX_PROBES; i++) {
        int32_t *slot = &b->ids[(h + i) & b->mask];
        if (*slot == 0) return slot;
        qig_str have = token_text(b->t, *slot - 1);
        if (have.len == s.len && memcmp(have.p, s.p, s.len) == 0) return slot;
    }
    return NULL;
}

static int32_t id_of(const builder *b, const char *p, int64_t len) {
    const int32_t *slot = id_slot(b, (qig_str){p, (size_t)len});
    return slot ? *slot - 1 : -1;
}

static int array_of(builder *b, const char *key, uint32_t elem_type, const char *what, const qig_kv **kv) {
    *kv = qig_gguf_find(b->g, key);
    if (!*kv) return FAIL(b, QIG_ERR_FORMAT, "%s: no tokenizer: key '%s' is missing", b->file, key);
    if ((*kv)->type != QIG_KV_ARRAY || (*kv)->elem_type != elem_type)
        return FAIL(b, QIG_ERR_FORMAT, "%s: key '%s' must be an array of %s", b->file, key, what);
    return QIG_OK;
}

static int check_kind(builder *b, const char *key, const char *want) {
    char q[QIG_QUOTE_SIZE];
    qig_str s;
    const qig_kv *kv = qig_gguf_find(b->g, key);
    if (!kv) return FAIL(b, QIG_ERR_FORMAT, "%s: no tokenizer: key '%s' is missing", b->file, key);
    if (!qig_kv_str(kv, &s)) return FAIL(b, QIG_ERR_FORMAT, "%s: key '%s' must be a string", b->file, key);
    if (s.len != strlen(want) || memcmp(s.p, want, s.len))
        return FAIL(b, QIG_ERR_UNSUPPORTED, "%s: %s '%s' is not run by this build (%s)", b->file, key, qig_quote(q, s.p, s.len), want);
    return QIG_OK;
}

/* Texts and kinds of all tokens. */
static int read_tokens(builder *b) {
    qig_tokenizer *t = b->t;
    char q[QIG_QUOTE_SIZE];
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
    t->is_control = malloc(texts->count);
    if (!t->bytes || !t->start || !t->is_control) return no_memory(b);
    uint64_t pos = 0;
    qig_str s;
    t->start[0] = 0;
    for (int32_t id = 0; id < t->n_tokens && qig_kv_next_str(texts, &pos, &s); id++) {
        int32_t kind;
        memcpy(&kind, kinds->data + 4 * (size_t)id, sizeof kind);
        if (kind != 1 && kind != 3)
            return FAIL(b, QIG_ERR_UNSUPPORTED, "%s: token %d is of type %d (this build knows 1, normal, and 3, control)", b->file, id, kind);
        t->is_control[id] = kind == 3;
        size_t most = kind == 3 ? MAX_CONTROL_BYTES : MAX_TOKEN_BYTES;
        if (s.len < 1 || s.len > most)
            return FAIL(b, QIG_ERR_FORMAT, "%s: token %d has %llu bytes of text (1 to %llu)", b->file, id, (unsigned long long)s.len,
                        (unsigned long long)most);
        char *to = t->bytes + t->start[id];
        int64_t n = kind == 3 ? (int64_t)s.len : text_to_bytes(b, s, to);
        if (kind == 3) memcpy(to, s.p, s.len);
        if (n < 0) return FAIL(b, QIG_ERR_FORMAT, "%s: token %d, '%s', is not the byte-level text of any bytes", b->file, id, qig_quote(q, s.p, s.len));
        t->start[id + 1] = t->start[id] + (uint32_t)n;
    }
    return QIG_OK;
}

/* Finds normal tokens by their bytes, and the token of each single byte. */
static int index_tokens(builder *b) {
    qig_tokenizer *t = b->t;
    uint32_t size = table_size((uint32_t)t->n_tokens);
    b->mask = size - 1;
    b->ids = calloc(size, sizeof *b->ids);
    if (!b->ids) return no_memory(b);
    for (int32_t id = 0; id < t->n_tokens; id++) {
        if (t->is_control[id]) continue;
        int32_t *slot = id_slot(b, token_text(t, id));
        if (!slot) return FAIL(b, QIG_ERR_FORMAT, "%s: the vocabulary is made to collide", b->file);
        if (*slot) return FAIL(b, QIG_ERR_FORMAT, "%s: tokens %d and %d have the same text", b->file, *slot - 1, id);
        *slot = id + 1;
    }
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        t->byte_id[c] = id_of(b, &byte, 1);
        if (t->byte_id[c] < 0) return FAIL(b, QIG_ERR_FORMAT, "%s: the vocabulary has no token for byte 0x%02x", b->file, c);
    }
    return QIG_OK;
}

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
        m->left = id_of(b, scratch, nl);
        m->right = id_of(b, scratch + nl, nr);
        m->merged = id_of(b, scratch, nl + nr);
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

typedef struct { qig_str text; int32_t id; } control;

static int control_order(const void *x, const void *y) {
    const control *a = x, *b = y;
    int c = memcmp(a->text.p, b->text.p, a->text.len < b->text.len ? a->text.len : b->text.len);
    return c ? c : (a->text.len > b->text.len) - (a->text.len < b->text.len);
}

static int sort_controls(builder *b) {
    qig_tokenizer *t = b->t;
    for (int32_t id = 0; id < t->n_tokens; id++) t->n_controls += t->is_control[id];
    size_t n = (size_t)t->n_controls + 1;
    control *list = malloc(n * sizeof *list);
    t->controls = malloc(n * sizeof *t->controls);
    int rc = list && t->controls ? QIG_OK : no_memory(b);
    int32_t k = 0;
    for (int32_t id = 0; !rc && id < t->n_tokens; id++) {
        if (!t->is_control[id]) continue;
        list[k++] = (control){token_text(t, id), id};
        t->control_first[(uint8_t)token_text(t, id).p[0]] = 1;
    }
    if (!rc) qsort(list, (size_t)k, sizeof *list, control_order);
    for (int32_t i = 0; !rc && i < k; i++) {
        if (i && control_order(&list[i - 1], &list[i]) == 0)
            rc = FAIL(b, QIG_ERR_FORMAT, "%s: control tokens %d and %d have the same text", b->file, list[i - 1].id, list[i].id);
        t->controls[i] = list[i].id;
    }
    free(list);
    return rc;
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

/* The strings around a turn, as tokens: all four of them or none. */
static int read_chat(builder *b) {
    qig_tokenizer *t = b->t;
    int n = 0;
    for (int part = 0; part < N_CHAT; part++) {
        char key[32];
        qig_str s;
        snprintf(key, sizeof key, "qig.chat.%s", chat_names[part]);
        const qig_kv *kv = qig_gguf_find(b->g, key);
        if (!kv) continue;
        n++;
        if (!qig_kv_str(kv, &s) || s.len < 1 || s.len > MAX_CHAT_BYTES)
            return FAIL(b, QIG_ERR_FORMAT, "%s: key '%s' must be a string of 1 to %d bytes", b->file, key, MAX_CHAT_BYTES);
        t->chat[part].ids = malloc(s.len * sizeof *t->chat[part].ids); /* a token stands for one byte at least */
        if (!t->chat[part].ids) return no_memory(b);
        t->chat[part].n = qig_tokenizer_encode(t, s.p, s.len, 1, t->chat[part].ids, s.len);
        if (t->chat[part].n < 0) return no_memory(b);
    }
    if (n == 0) {
        t->eot = -1;
        return QIG_OK;
    }
    if (n < N_CHAT) return FAIL(b, QIG_ERR_FORMAT, "%s: a chat format needs all of qig.chat.system, .user, .assistant and .end", b->file);
    for (int64_t i = 0; i < t->chat[CHAT_END].n; i++)
        if (t->chat[CHAT_END].ids[i] == t->eot) return QIG_OK;
    return FAIL(b, QIG_ERR_FORMAT, "%s: qig.chat.end does not hold the end-of-turn token tokenizer.ggml.eot_token_id", b->file);
}

static int build(builder *b) {
    fill_byte_map(b);
    int rc = check_kind(b, "tokenizer.ggml.model", "gpt2");
    if (!rc) rc = check_kind(b, "tokenizer.ggml.pre", "gpt-2");
    if (!rc) rc = read_tokens(b);
    if (!rc) rc = index_tokens(b);
    if (!rc) rc = read_merges(b);
    if (!rc) rc = sort_controls(b);
    if (!rc) rc = read_id(b, "tokenizer.ggml.eos_token_id", &b->t->eos);
    if (!rc && b->t->eos < 0) rc = FAIL(b, QIG_ERR_FORMAT, "%s: no tokenizer: key 'tokenizer.ggml.eos_token_id' is missing", b->file);
    if (!rc) rc = read_id(b, "tokenizer.ggml.eot_token_id", &b->t->eot);
    return rc ? rc : read_chat(b);
}

int qig_tokenizer_new(const qig_gguf *g, const char *file, qig_tokenizer **out, char *err, size_t errlen) {
    builder b = {.g = g, .file = file, .err = err, .errlen = errlen};
    *out = NULL;
    b.t = calloc(1, sizeof *b.t);
    if (!b.t) return no_memory(&b);
    int rc = build(&b);
    free(b.ids);
    if (rc) qig_tokenizer_free(b.t);
    else *out = b.t;
    return rc;
}

void qig_tokenizer_free(qig_tokenizer *t) {
    if (!t) return;
    for (int part = 0; part < N_CHAT; part++) free(t->chat[part].ids);
    free(t->controls);
    free(t->pairs);
    free(t->merges);
    free(t->is_control);
    free(t->start);
    free(t->bytes);
    free(t);
}
