/* vocabulary.h - what a tokenizer knows of its file: tokens, merges or scores, special tokens. Read by vocabulary.c, used by the tokenizer's files. */
#ifndef QIG_VOCABULARY_H
#define QIG_VOCABULARY_H

#include "pretokenize.h"
#include "tokenizer.h"

enum {
    MAX_TOKENS = 1 << 20,
    MAX_TOKEN_BYTES = 1 << 16,
    MAX_SCORED_BYTES = 1 << 10, /* of a token found by its score: what one look for a pair may cost */
    MAX_SPECIAL_BYTES = 256,    /* bounds the search for special tokens at each position of a text */
    MAX_CHAT_BYTES = 4096,
    MAX_PROBES = 256            /* at half load a sound table needs fewer than 100; more means a file made to collide */
};

/* As the file numbers them. No text makes a token of the kinds UNKNOWN, CONTROL and UNUSED but where control tokens are asked for; USER_DEFINED ones are
 * found in any text before everything else; a BYTE token stands for the byte that its text, <0x0A>, names. */
typedef enum { KIND_NORMAL = 1, KIND_UNKNOWN, KIND_CONTROL, KIND_USER_DEFINED, KIND_UNUSED, KIND_BYTE } token_kind;

typedef struct { int32_t left, right, merged; } merge;

enum { CHAT_SYSTEM, CHAT_USER, CHAT_ASSISTANT, CHAT_END, N_CHAT };

typedef struct { /* what stands before or after the content of a turn */
    int32_t *ids; /* up to the last special token; NULL: no chat format */
    int64_t n;
    char *tail;   /* text after it: goes before the content, and is cut and merged with it */
    size_t tail_len;
} chat_part;

struct qig_tokenizer {
    int32_t n_tokens;
    char *bytes;     /* of all tokens, one after another: of a normal or byte token what it stands for, of any other its text */
    uint32_t *start; /* [n_tokens + 1] into bytes */
    uint8_t *kind;   /* [n_tokens] token_kind */
    int32_t byte_id[256];
    int32_t *ids;    /* hash table of id + 1 by the bytes of normal tokens, 0: free */
    uint32_t ids_mask;

    int by_score;    /* tokenizer.ggml.model "llama": pairs merge by the score of what they make, else ("gpt2") by the rank of their merge */

    qig_pre pre;
    int whole_first; /* a piece that is a token is not merged from its bytes */
    merge *merges;   /* [n_merges] by rank */
    uint32_t n_merges;
    uint32_t *pairs; /* hash table of rank + 1 by (left, right), 0: free */
    uint32_t pairs_mask;

    uint32_t *order;   /* [n_tokens] rises as the score falls */
    size_t longest;    /* bytes of the longest normal token */
    int space_prefix;  /* a space goes before a text, and before what follows a special token */
    int words_apart;   /* no token has a space after something else: words merge by themselves */

    int32_t *specials; /* [n_specials] ids of UNKNOWN, CONTROL and USER_DEFINED tokens, sorted by text */
    int32_t n_specials;
    uint8_t special_first[256]; /* bytes that they begin with: SPECIAL_ASKED, SPECIAL_ALWAYS */
    int32_t bos, eos, eot;      /* bos -1: nothing stands before a text; eot -1: no chat format */
    chat_part chat[N_CHAT];
};

enum { SPECIAL_ASKED = 1, SPECIAL_ALWAYS = 2 };

typedef struct {
    int32_t *out;
    size_t cap;
    int64_t n; /* ids so far, those beyond cap included */
} token_sink;

/* Buffers of one call: on the stack for short pieces, grown for long ones and kept for the rest of the call. */
typedef struct {
    uint64_t *heap; /* [2 n] */
    int32_t *id, *prev, *next; /* [n] symbols as a linked list by the position of their first byte */
    size_t n;
    void *block;
    char *text; /* [text_cap] a text as scored tokens spell it */
    size_t text_cap;
} workspace;

static inline qig_str token_text(const qig_tokenizer *t, int32_t id) { return (qig_str){t->bytes + t->start[id], t->start[id + 1] - t->start[id]}; }

static inline void emit(token_sink *s, int32_t id) {
    if ((uint64_t)s->n < s->cap) s->out[s->n] = id;
    s->n++;
}

static inline uint32_t hash_mix(uint64_t h) {
    h *= 0x9e3779b97f4a7c15u;
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    return (uint32_t)(h >> 32);
}

static inline uint32_t hash_pair(int32_t left, int32_t right) { return hash_mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right); }

/* vocabulary.c: the slot of the normal token of these bytes, or the free one where it belongs; NULL: too many collisions. */
int32_t *qig_id_slot(const qig_tokenizer *t, const char *p, size_t len);
/* The same as an id, -1: none. */
static inline int32_t token_of(const qig_tokenizer *t, const char *p, size_t len) {
    const int32_t *slot = qig_id_slot(t, p, len);
    return slot ? *slot - 1 : -1;
}

/* tokenizer.c: the longest special token that the text at p, n >= 1, begins with, or -1. asked: control tokens are looked for too. */
int32_t qig_special_at(const qig_tokenizer *t, const uint8_t *p, size_t n, int asked);
/* The tokens of a text; begins: nothing or a special token stands before it. A qig_status. */
int qig_encode_spans(const qig_tokenizer *t, const char *text, size_t len, int parse_special, int begins, token_sink *out);

/* tokenizer_heap.c: room for n symbols; 0: out of memory. */
int qig_workspace_grow(workspace *w, size_t n);
void qig_heap_make(uint64_t *heap, size_t n);
void qig_heap_push(uint64_t *heap, size_t *n, uint64_t v);
uint64_t qig_heap_pop(uint64_t *heap, size_t *n);

/* tokenizer_bpe.c, tokenizer_spm.c: a stretch of text without special tokens, n >= 1; 0: out of memory. */
int qig_encode_ranked(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t n, token_sink *out);
int qig_encode_scored(const qig_tokenizer *t, workspace *w, const uint8_t *p, size_t n, int begins, token_sink *out);

/* tokenizer_chat.c: finds the file's chat format once everything else is read. A qig_status. */
int qig_read_chat(qig_tokenizer *t, const qig_gguf *g, const char *file, char *err, size_t errlen);

#endif
