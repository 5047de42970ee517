/* tokenizer.h - text to tokens and back, as the file's vocabulary has it: byte-level BPE (tokenizer.ggml.model "gpt2") or SentencePiece's BPE ("llama"),
 * and the chat format.
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

/* As qig_tokenize, qig_token_bytes, qig_space_prefix, qig_token_bos, qig_token_eos, qig_token_eot, qig_chat_turn and qig_chat_end of qig.h. */
int64_t qig_tokenizer_encode(const qig_tokenizer *t, const char *text, size_t len, int parse_special, int32_t *out, size_t cap);
const char *qig_tokenizer_bytes(const qig_tokenizer *t, int32_t token, int special, size_t *len);
int qig_tokenizer_space_prefix(const qig_tokenizer *t);
int32_t qig_tokenizer_bos(const qig_tokenizer *t);
int32_t qig_tokenizer_eos(const qig_tokenizer *t);
int32_t qig_tokenizer_eot(const qig_tokenizer *t);
int64_t qig_tokenizer_chat_turn(const qig_tokenizer *t, const char *role, const char *content, size_t len, int first, int32_t *out, size_t cap);
int64_t qig_tokenizer_chat_end(const qig_tokenizer *t, int32_t *out, size_t cap);

#endif
