/* tiny_gguf.h - writes a valid model file of one block into memory, for C tests and fuzzers. The bytes are laid out here by hand, not by the
 * code under test. Every byte is a token; the merges and control tokens are below. D = b = hidden = 32, two query heads of 16, Q4_0. */
#ifndef QIG_TINY_GGUF_H
#define QIG_TINY_GGUF_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const tiny_merges[] = {"h e", "l l", "he ll", "hell o", "\xc4\xa0 t", "\xc4\xa0t he", "o o", "oo oo", "\xc3\x83 \xc2\xa9", "\xc4\xa0 \xc4\xa0"};
static const char *const tiny_controls[] = {"<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"};
enum {
    TINY_MERGES = sizeof tiny_merges / sizeof *tiny_merges,
    TINY_CONTROLS = sizeof tiny_controls / sizeof *tiny_controls,
    TINY_VOCAB = 256 + TINY_MERGES + TINY_CONTROLS,
    TINY_EOS = 256 + TINY_MERGES,
    TINY_EOT = TINY_VOCAB - 1
};

typedef struct {
    uint8_t *p;
    size_t n, cap;
    size_t data; /* where the tensor data starts */
    uint32_t n_kv, n_tensors;
} tiny_file;

static inline void tiny_put(tiny_file *f, const void *p, size_t n) {
    if (f->n + n > f->cap) {
        f->cap = 2 * (f->n + n);
        f->p = realloc(f->p, f->cap);
        if (!f->p) abort();
    }
    if (p) memcpy(f->p + f->n, p, n);
    else memset(f->p + f->n, 0, n);
    f->n += n;
}
static inline void tiny_u32(tiny_file *f, uint32_t v) { tiny_put(f, &v, 4); }
static inline void tiny_u64(tiny_file *f, uint64_t v) { tiny_put(f, &v, 8); }
static inline void tiny_text(tiny_file *f, const char *s) {
    tiny_u64(f, strlen(s));
    tiny_put(f, s, strlen(s));
}
static inline void tiny_key(tiny_file *f, const char *key, uint32_t type) {
    tiny_text(f, key);
    tiny_u32(f, type);
    f->n_kv++;
}
static inline void tiny_kv_u32(tiny_file *f, const char *key, uint32_t v) { tiny_key(f, key, 4); tiny_u32(f, v); }
static inline void tiny_kv_f32(tiny_file *f, const char *key, float v) { tiny_key(f, key, 6); tiny_put(f, &v, 4); }
static inline void tiny_kv_str(tiny_file *f, const char *key, const char *v) { tiny_key(f, key, 8); tiny_text(f, v); }
static inline void tiny_kv_array(tiny_file *f, const char *key, uint32_t type, uint64_t n) { tiny_key(f, key, 9); tiny_u32(f, type); tiny_u64(f, n); }

/* Byte-level text of one byte: itself where Latin-1 prints it, else U+0100 and following, in the order of the bytes. */
static inline void tiny_byte_text(int byte, char out[4]) {
    int c = 0, next = 256;
    for (int b = 0; b <= byte; b++) c = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae ? b : next++;
    if (c < 0x80) snprintf(out, 4, "%c", c);
    else snprintf(out, 4, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 0x3f));
}

static inline void tiny_tokens(tiny_file *f) {
    tiny_kv_array(f, "tokenizer.ggml.tokens", 8, TINY_VOCAB);
    for (int b = 0; b < 256; b++) {
        char text[4];
        tiny_byte_text(b, text);
        tiny_text(f, text);
    }
    for (int i = 0; i < TINY_MERGES; i++) {
        char text[32] = "";
        const char *space = strchr(tiny_merges[i], ' ');
        snprintf(text, sizeof text, "%.*s%s", (int)(space - tiny_merges[i]), tiny_merges[i], space + 1);
        tiny_text(f, text);
    }
    for (int i = 0; i < TINY_CONTROLS; i++) tiny_text(f, tiny_controls[i]);
    tiny_kv_array(f, "tokenizer.ggml.token_type", 5, TINY_VOCAB);
    for (int i = 0; i < TINY_VOCAB; i++) tiny_u32(f, i < TINY_EOS ? 1 : 3);
    tiny_kv_array(f, "tokenizer.ggml.merges", 8, TINY_MERGES);
    for (int i = 0; i < TINY_MERGES; i++) tiny_text(f, tiny_merges[i]);
}

typedef struct { const char *name; uint64_t rows, cols; uint32_t type; } tiny_tensor; /* rows 0: a vector; types as in a file */
enum { TINY_F32 = 0, TINY_Q4_0 = 2, TINY_Q8_0 = 8 };

static inline uint64_t tiny_bytes(const tiny_tensor *t) {
    const uint64_t n = (t->rows ? t->rows : 1) * t->cols;
    return t->type == TINY_F32 ? 4 * n : n / 32 * (t->type == TINY_Q4_0 ? 18 : 34);
}

static inline tiny_file tiny_begin(void) {
    tiny_file f = {0};
    tiny_put(&f, "GGUF", 4);
    tiny_u32(&f, 3);
    tiny_put(&f, NULL, 16); /* counts, filled in by tiny_end */
    return f;
}

static inline tiny_file tiny_end(tiny_file f) {
    const uint64_t counts[2] = {f.n_tensors, f.n_kv};
    memcpy(f.p + 8, counts, sizeof counts);
    return f;
}

static inline tiny_file tiny_open(const char *architecture, uint32_t alignment) {
    tiny_file f = tiny_begin();
    tiny_kv_str(&f, "general.architecture", architecture);
    tiny_kv_str(&f, "general.name", "tiny");
    tiny_kv_u32(&f, "general.alignment", alignment);
    return f;
}

/* The keys that every model of architecture qig has, two query heads of 16 and one key/value head; hidden: units of the feed-forward. */
static inline void tiny_qig_keys(tiny_file *f, uint32_t context, uint32_t blocks, uint32_t hidden, float margin, const char *state) {
    const struct { const char *key; uint32_t v; } ints[] = {
        {"qig.context_length", context}, {"qig.embedding_length", 32}, {"qig.block_count", blocks}, {"qig.feed_forward_length", hidden},
        {"qig.attention.head_count", 2}, {"qig.attention.head_count_kv", 1}, {"qig.attention.key_length", 16},
        {"qig.attention.value_length", 16}, {"qig.basin_length", 32}, {"qig.head_rank", 0}};
    const struct { const char *key; float v; } floats[] = {
        {"qig.attention.layer_norm_rms_epsilon", 1e-5f}, {"qig.rope.freq_base", 10000}, {"qig.coupling.beta", 0.43f}, {"qig.coupling.ref", 128},
        {"qig.coupling.min", 0.25f}, {"qig.coupling.max", 4}, {"qig.coupling.kappa_0", 64}, {"qig.gate.threshold", 0}, {"qig.gate.margin", margin}};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) tiny_kv_u32(f, ints[i].key, ints[i].v);
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) tiny_kv_f32(f, floats[i].key, floats[i].v);
    tiny_kv_str(f, "qig.attention.state", state);
    tiny_kv_str(f, "qig.attention.metric", "bures");
}

/* The vocabulary and the chat format. */
static inline void tiny_words(tiny_file *f) {
    static const struct { const char *key, *v; } texts[] = {
        {"qig.chat.system", "<|system|>"}, {"qig.chat.user", "<|user|>"}, {"qig.chat.assistant", "<|assistant|>"}, {"qig.chat.end", "<|end|>"},
        {"tokenizer.ggml.model", "gpt2"}, {"tokenizer.ggml.pre", "gpt-2"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) tiny_kv_str(f, texts[i].key, texts[i].v);
    tiny_kv_u32(f, "tokenizer.ggml.eos_token_id", TINY_EOS);
    tiny_kv_u32(f, "tokenizer.ggml.eot_token_id", TINY_EOT);
    tiny_tokens(f);
}

/* The tensors, all zero, after all keys: the whole file. */
static inline tiny_file tiny_close(tiny_file f, const tiny_tensor *tensors, size_t n, uint32_t alignment) {
    uint64_t offset = 0;
    for (const tiny_tensor *t = tensors; t < tensors + n; t++) {
        tiny_text(&f, t->name);
        tiny_u32(&f, t->rows ? 2 : 1);
        tiny_u64(&f, t->cols);
        if (t->rows) tiny_u64(&f, t->rows);
        tiny_u32(&f, t->type);
        tiny_u64(&f, offset);
        offset += (tiny_bytes(t) + alignment - 1) / alignment * alignment;
        f.n_tensors++;
    }
    tiny_put(&f, NULL, (alignment - f.n % alignment) % alignment);
    f.data = f.n;
    tiny_put(&f, NULL, offset);
    return tiny_end(f);
}

/* The whole file; free f.p. alignment: a power of two, 8 or more. */
static inline tiny_file tiny_model(uint32_t alignment) {
    /* The temperatures come first in the data. */
    static const tiny_tensor tensors[] = {
        {"blk.0.attn_temp.weight", 0, 2, TINY_F32}, {"token_embd.weight", TINY_VOCAB, 32, TINY_Q4_0}, {"basin_proj.weight", 32, 32, TINY_Q4_0},
        {"blk.0.attn_norm.weight", 0, 32, TINY_F32}, {"blk.0.attn_q.weight", 32, 32, TINY_Q4_0}, {"blk.0.attn_k.weight", 16, 32, TINY_Q4_0},
        {"blk.0.attn_v.weight", 16, 32, TINY_Q4_0}, {"blk.0.attn_output.weight", 32, 32, TINY_Q4_0}, {"blk.0.ffn_norm.weight", 0, 32, TINY_F32},
        {"blk.0.ffn_up.weight", 32, 32, TINY_Q4_0}, {"blk.0.ffn_down.weight", 32, 32, TINY_Q4_0}, {"output_norm.weight", 0, 32, TINY_F32},
        {"output_down.weight", 32, 32, TINY_Q4_0}};
    static const float temps[2] = {0.1f, 0.2f};
    tiny_file f = tiny_open("qig", alignment);
    tiny_qig_keys(&f, 64, 1, 32, 0, "pure");
    tiny_words(&f);
    f = tiny_close(f, tensors, sizeof tensors / sizeof *tensors, alignment);
    memcpy(f.p + f.data, temps, sizeof temps);
    return f;
}

#endif
