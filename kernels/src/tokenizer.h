/* tokenizer.h - byte-level BPE with GPT-2's split, equal to Hugging Face's ByteLevel(add_prefix_space=False) + BPE, and the chat format.
 *
 * Built once from a checked file, immutable afterwards: any number of threads may use it. Encoding a text of n bytes takes O(n log n).
 */
#ifndef QIG_TOKENIZER_H
#define QIG_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "gguf.h"

typedef struct qig_tokenizer qig_tokenizer;

/* file is only used in errors. Returns a qig_status. */
int qig_tokenizer_new(const qig_gguf *g, const char *file, qig_tokenizer **out, char *err, size_t errlen);
void qig_tokenizer_free(qig_tokenizer *t);
int32_t qig_tokenizer_size(const qig_tokenizer *t); /* number of tokens in the table */

/* As qig_tokenize, qig_token_bytes, qig_token_eos, qig_token_eot and qig_chat_turn of qig.h. */
int64_t qig_tokenizer_encode(const qig_tokenizer *t, const char *text, size_t len, int parse_special, int32_t *out, size_t cap);
const char *qig_tokenizer_bytes(const qig_tokenizer *t, int32_t token, int special, size_t *len);
int32_t qig_tokenizer_eos(const qig_tokenizer *t);
int32_t qig_tokenizer_eot(const qig_tokenizer *t);
int64_t qig_tokenizer_chat_turn(const qig_tokenizer *t, const char *role, const char *content, size_t len, int32_t *out, size_t cap);

#endif
