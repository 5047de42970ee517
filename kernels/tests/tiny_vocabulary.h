/* tiny_vocabulary.h - files that hold a tokenizer alone, of each kind that is read, for C tests and fuzzers. */
#ifndef QIG_TINY_VOCABULARY_H
#define QIG_TINY_VOCABULARY_H

#include "tiny_gguf.h"

#define MARK "\xe2\x96\x81"

typedef struct { const char *text; float score; } tiny_piece;

/* After <unk>, <s>, </s> and the bytes. Scores in no order of training: equal ones, a positive one, and words whose halves are no tokens. The last one
 * joins words, and is there only where a file is asked to have it. */
static const tiny_piece tiny_pieces[] = {
    {MARK, -9}, {"h", -10}, {"e", -11}, {"l", -12}, {"o", -13}, {"t", -14}, {"\xc3\xa9", -15}, {"he", -1}, {"ll", -1}, {"hell", 0.5f}, {"hello", -3},
    {MARK "t", -2}, {MARK "the", -1}, {"oo", -2}, {"oooo", -1}, {MARK MARK, -4}, {MARK MARK MARK MARK, 0}, {"xlx", -1}, {"xl", -0.0f}, {"o" MARK "t", 1}};

enum {
    TINY_PIECES = sizeof tiny_pieces / sizeof *tiny_pieces,
    TINY_UNK = 0, TINY_BOS, TINY_TEXT_END, TINY_BYTES,
    TINY_FIRST = TINY_BYTES + 256,
};

/* tiny_gguf.h's bytes, merges and control tokens, cut as pre says, with a chat template. */
static inline tiny_file tiny_ranked(const char *pre, const char *template) {
    tiny_file f = tiny_begin();
    tiny_kv_str(&f, "tokenizer.ggml.model", "gpt2");
    tiny_kv_str(&f, "tokenizer.ggml.pre", pre);
    tiny_kv_str(&f, "tokenizer.chat_template", template);
    tiny_kv_u32(&f, "tokenizer.ggml.bos_token_id", TINY_EOS);
    tiny_kv_u32(&f, "tokenizer.ggml.eos_token_id", TINY_EOS);
    tiny_tokens(&f);
    return tiny_end(f);
}

/* Number of tokens of tiny_scored. */
static inline int tiny_scored_size(int joins) { return TINY_FIRST + TINY_PIECES - !joins + 2; }

/* The pieces above, then the user-defined <file> and an unused token. joins: whether the last piece is there. */
static inline tiny_file tiny_scored(int joins, const char *template) {
    static const char *const special[] = {"<unk>", "<s>", "</s>"};
    const int size = tiny_scored_size(joins), pieces = TINY_PIECES - !joins;
    tiny_file f = tiny_begin();
    tiny_kv_str(&f, "tokenizer.ggml.model", "llama");
    tiny_kv_str(&f, "tokenizer.chat_template", template);
    tiny_kv_u32(&f, "tokenizer.ggml.bos_token_id", TINY_BOS);
    tiny_kv_u32(&f, "tokenizer.ggml.eos_token_id", TINY_TEXT_END);
    tiny_kv_array(&f, "tokenizer.ggml.tokens", 8, (uint64_t)size);
    for (int i = 0; i < TINY_BYTES; i++) tiny_text(&f, special[i]);
    for (int b = 0; b < 256; b++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", (unsigned)b & 0xff);
        tiny_text(&f, text);
    }
    for (int i = 0; i < pieces; i++) tiny_text(&f, tiny_pieces[i].text);
    tiny_text(&f, "<file>");
    tiny_text(&f, "[PAD]");
    tiny_kv_array(&f, "tokenizer.ggml.token_type", 5, (uint64_t)size);
    for (int i = 0; i < size; i++) tiny_u32(&f, i == TINY_UNK ? 2 : i < TINY_BYTES ? 3 : i < TINY_FIRST ? 6 : i < TINY_FIRST + pieces ? 1 : i < size - 1 ? 4 : 5);
    tiny_kv_array(&f, "tokenizer.ggml.scores", 6, (uint64_t)size);
    for (int i = 0; i < size; i++) {
        const float score = i < TINY_FIRST || i >= TINY_FIRST + pieces ? 0 : tiny_pieces[i - TINY_FIRST].score;
        tiny_put(&f, &score, sizeof score);
    }
    return tiny_end(f);
}

#endif
