/* tokenizer_spm.c - SentencePiece's BPE: the characters of a text are merged pair by pair, the pair first whose joined text is the token of the
 * highest score, leftmost among equals; a symbol that is no token in the end is written as the tokens of its bytes.
 *
 * Tokens write a space as U+2581. The vocabulary holds them with the space itself, so the text is brought to spaces instead: a U+2581 in it is one. A space
 * that is no token (no vocabulary was trained so) is written as its byte, not as the three of U+2581, so that it comes back.
 * No token that a text makes here is of another kind than normal or byte, whatever its text: typing "</s>" ends nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "unicode.h"
#include "vocabulary.h"

/* The text as tokens spell it, in w->text; its length, or -1: out of memory. */
static int64_t spell(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t n, int begins) {
    if (n + 1 > w->text_cap) {
        char *text = realloc(w->text, n + 1);
        if (!text) return -1;
        w->text = text;
        w->text_cap = n + 1;
    }
    size_t len = 0;
    if (begins && t->space_prefix) w->text[len++] = ' ';
    for (size_t i = 0; i < n;) {
        int mark = p[i] == 0xe2 && n - i >= 3 && p[i + 1] == 0x96 && p[i + 2] == 0x81;
        w->text[len++] = mark ? ' ' : (char)p[i];
        i += mark ? 3 : 1;
    }
    return (int64_t)len;
}

static size_t symbol_length(const workspace *w, int32_t pos, size_t n) { return (w->next[pos] < 0 ? n : (size_t)w->next[pos]) - (size_t)pos; }

/* Sets w->id[pos] to the token that the symbol at pos makes with the one after it, -1 none; 1 with its heap entry. */
static int pair_entry(const qig_tokenizer *t, const workspace *w, const char *p, size_t n, int32_t pos, uint64_t *entry) {
    int32_t right = w->next[pos];
    w->id[pos] = -1;
    if (right < 0) return 0;
    size_t len = symbol_length(w, pos, n) + symbol_length(w, right, n);
    if (len <= t->longest) w->id[pos] = token_of(t, p + pos, len);
    if (w->id[pos] < 0) return 0;
    *entry = (uint64_t)t->order[w->id[pos]] << 32 | (uint32_t)pos;
    return 1;
}

static void emit_symbol(const qig_tokenizer *t, const char *p, size_t len, token_sink *out) {
    int32_t id = len <= t->longest ? token_of(t, p, len) : -1;
    if (id >= 0) {
        emit(out, id);
        return;
    }
    for (size_t i = 0; i < len; i++) emit(out, t->byte_id[(uint8_t)p[i]]);
}

/* Characters that no token joins to what stands around them. w->id: the token that a symbol makes with the one after it. */
static int encode_word(const qig_tokenizer *t, workspace *w, const char *p, size_t len, token_sink *out) {
    if (!qig_workspace_grow(w, len)) return 0;
    size_t n = 0, size;
    uint64_t entry;
    int32_t last = -1;
    for (size_t i = 0; i < len; i += size) {
        qig_utf8_decode((const uint8_t *)p + i, len - i, &size);
        w->prev[i] = last;
        if (last >= 0) w->next[last] = (int32_t)i;
        w->next[i] = -1;
        last = (int32_t)i;
    }
    for (int32_t pos = 0; pos >= 0; pos = w->next[pos])
        if (pair_entry(t, w, p, len, pos, &entry)) w->heap[n++] = entry;
    qig_heap_make(w->heap, n);
    /* As in tokenizer_bpe.c, 2 len entries suffice. An entry whose pair has changed is stale, unless what its pair makes now comes at the same turn. */
    while (n > 0) {
        entry = qig_heap_pop(w->heap, &n);
        int32_t pos = (int32_t)(entry & 0xffffffff), right = w->next[pos];
        if (w->id[pos] < 0 || t->order[w->id[pos]] != entry >> 32) continue;
        w->id[right] = -1; /* merged away */
        w->next[pos] = w->next[right];
        if (w->next[pos] >= 0) w->prev[w->next[pos]] = pos;
        if (w->prev[pos] >= 0 && pair_entry(t, w, p, len, w->prev[pos], &entry)) qig_heap_push(w->heap, &n, entry);
        if (pair_entry(t, w, p, len, pos, &entry)) qig_heap_push(w->heap, &n, entry);
    }
    for (int32_t pos = 0; pos >= 0; pos = w->next[pos]) emit_symbol(t, p + pos, symbol_length(w, pos, len), out);
    return 1;
}

int qig_encode_scored(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t n, int begins, token_sink *out) {
    int64_t len = spell(t, w, p, n, begins);
    if (len < 0) return 0;
    for (size_t at = 0, end; at < (size_t)len; at = end) {
        for (end = at + 1; end < (size_t)len; end++)
            if (t->words_apart && w->text[end] == ' ' && w->text[end - 1] != ' ') break;
        if (!encode_word(t, w, w->text + at, end - at, out)) return 0;
    }
    return 1;
}
