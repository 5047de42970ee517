/* tokenizer_bpe.c - byte-level BPE: the text is cut into pieces (pretokenize.h), and the bytes of a piece are merged pair by pair, lowest rank
 * first and leftmost among equals. A pair in the heap that a merge beside it changed is recognised when it is taken out. */
#include "vocabulary.h"

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

static int encode_piece(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t len, token_sink *out) {
    if (len == 1) {
        emit(out, t->byte_id[p[0]]);
        return 1;
    }
    int32_t whole = t->whole_first ? token_of(t, (const char *)p, len) : -1;
    if (whole >= 0) {
        emit(out, whole);
        return 1;
    }
    if (!qig_workspace_grow(w, len)) return 0;
    size_t n = 0;
    uint64_t entry;
    for (size_t i = 0; i < len; i++) {
        w->id[i] = t->byte_id[p[i]];
        w->prev[i] = (int32_t)i - 1;
        w->next[i] = i + 1 < len ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i < len; i++)
        if (pair_entry(t, w, (int32_t)i, &entry)) w->heap[n++] = entry;
    qig_heap_make(w->heap, n);
    /* Every merge takes one entry out and puts at most two in, and there are fewer than len of them: 2 len entries suffice. */
    while (n > 0) {
        entry = qig_heap_pop(w->heap, &n);
        int32_t pos = (int32_t)(entry & 0xffffffff), right = w->next[pos];
        const merge *m = &t->merges[entry >> 32];
        if (right < 0 || w->id[pos] != m->left || w->id[right] != m->right) continue;
        w->id[pos] = m->merged;
        w->id[right] = -1; /* merged away */
        w->next[pos] = w->next[right];
        if (w->next[pos] >= 0) w->prev[w->next[pos]] = pos;
        if (w->prev[pos] >= 0 && pair_entry(t, w, w->prev[pos], &entry)) qig_heap_push(w->heap, &n, entry);
        if (pair_entry(t, w, pos, &entry)) qig_heap_push(w->heap, &n, entry);
    }
    for (int32_t pos = 0; pos >= 0; pos = w->next[pos]) emit(out, w->id[pos]);
    return 1;
}

int qig_encode_ranked(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t n, token_sink *out) {
    while (n > 0) {
        size_t len = qig_pre_length(t->pre, p, n);
        if (!encode_piece(t, w, p, len, out)) return 0;
        p += len;
        n -= len;
    }
    return 1;
}
