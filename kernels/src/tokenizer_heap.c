/* tokenizer_heap.c - the pairs of a piece that wait to be merged: a binary heap of order << 32 | position, lowest first, leftmost among equals. */
#include <stdlib.h>

#include "vocabulary.h"

int qig_workspace_grow(workspace *w, size_t n) {
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

void qig_heap_make(uint64_t *heap, size_t n) {
    for (size_t i = n / 2; i-- > 0;) sift_down(heap, n, i);
}

void qig_heap_push(uint64_t *heap, size_t *n, uint64_t v) {
    size_t i = (*n)++;
    for (; i > 0 && heap[(i - 1) / 2] > v; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = v;
}

uint64_t qig_heap_pop(uint64_t *heap, size_t *n) {
    uint64_t top = heap[0];
    heap[0] = heap[--*n];
    if (*n > 0) sift_down(heap, *n, 0);
    return top;
}
