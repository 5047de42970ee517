/* fingerprint.c - see fingerprint.h. */
#include "fingerprint.h"

#include <string.h>

#include "model.h"

enum { SAMPLE = 256 };

/* For a given word the sum before decides the sum after and the other way round: xor, an odd factor and a shift that is folded back are all one to one. */
static uint64_t add_word(uint64_t sum, uint64_t word) {
    sum = (sum ^ word) * 0x9e3779b97f4a7c15u;
    return sum ^ sum >> 32;
}

uint64_t qig_sum(uint64_t sum, const void *data, size_t n) {
    const uint8_t *p = data;
    for (size_t i = 0; i + 8 <= n; i += 8) {
        uint64_t word;
        memcpy(&word, p + i, sizeof word);
        sum = add_word(sum, word);
    }
    return sum;
}

/* Any number of bytes, and how many they are. */
static uint64_t add_bytes(uint64_t sum, const uint8_t *p, size_t n) {
    uint64_t last = 0;
    sum = add_word(qig_sum(sum, p, n), n);
    memcpy(&last, p + n / 8 * 8, n % 8);
    return add_word(sum, last);
}

uint64_t qig_model_fingerprint(const qig_model *m) {
    const qig_gguf *g = m->gguf;
    uint64_t sum = add_word(0, g->size), first = g->size;
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (g->tensors[i].offset < first) first = g->tensors[i].offset;
    sum = add_bytes(sum, g->map, first);
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        const qig_gguf_tensor *t = &g->tensors[i];
        const size_t n = t->bytes < SAMPLE ? (size_t)t->bytes : SAMPLE;
        const uint8_t *data = g->map + t->offset;
        sum = add_bytes(sum, data, n);
        sum = add_bytes(sum, data + (t->bytes - n) / 2, n);
        sum = add_bytes(sum, data + (t->bytes - n), n);
    }
    return sum;
}
