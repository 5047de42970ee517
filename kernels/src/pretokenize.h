/* pretokenize.h - how a text is cut into pieces before the bytes of each are merged: one rule for each value of tokenizer.ggml.pre that is read. */
#ifndef QIG_PRETOKENIZE_H
#define QIG_PRETOKENIZE_H

#include <stddef.h>
#include <stdint.h>

typedef enum {
    QIG_PRE_GPT2,      /* gpt-2 */
    QIG_PRE_SMOLLM,    /* smollm: every number character is a piece, what lies between them is cut as GPT-2 does */
    QIG_PRE_LLAMA_BPE, /* llama-bpe: up to three number characters together */
    QIG_PRE_QWEN2,     /* qwen2: the same rule, one number character */
    QIG_N_PRE
} qig_pre;

extern const char *const qig_pre_names[QIG_N_PRE + 1]; /* as the file writes them, NULL at the end */

/* Length in bytes of the first piece of p, n >= 1. A byte that is no UTF-8 is a piece of its own. Cutting a whole text takes time linear in it. */
size_t qig_pre_length(qig_pre pre, const uint8_t *p, size_t n);

#endif
