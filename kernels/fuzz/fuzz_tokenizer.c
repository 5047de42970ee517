/* fuzz_tokenizer.c - libFuzzer target of the tokenizer: any bytes come back as they were, and equal what a plain quadratic BPE makes of them.
 *
 *   python kernels/fuzz/make_seeds.py SEEDS && build/fuzz/fuzz_tokenizer -max_total_time=60 CORPUS SEEDS/fuzz_tokenizer
 */
#include "../tests/tiny_gguf.h"
#include "model.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static qig_model *model;
static int32_t merges[TINY_MERGES][2]; /* ids of the two halves, found by the tokens' bytes alone */

static int32_t id_of(const char *p, size_t n) {
    for (int32_t id = 0; id < TINY_EOS; id++) {
        size_t len;
        const char *b = qig_token_bytes(model, id, 0, &len);
        if (len == n && memcmp(b, p, n) == 0) return id;
    }
    abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    static tiny_file f; /* the model lives to the end of the process */
    f = tiny_model(32);
    qig_gguf *g;
    if (qig_gguf_read(f.p, f.n, "tiny", &g, NULL, 0) || qig_model_from_gguf(g, "tiny", "ref", &model, NULL, 0)) abort();
    for (int32_t rank = 0; rank < TINY_MERGES; rank++) { /* a merge's token comes 256 after its rank: its bytes, cut where both halves are tokens */
        size_t len;
        const char *b = qig_token_bytes(model, 256 + rank, 0, &len);
        char left[32] = "";
        snprintf(left, sizeof left, "%.*s", (int)(strchr(tiny_merges[rank], ' ') - tiny_merges[rank]), tiny_merges[rank]);
        size_t cut = 0; /* characters of the left half: one byte each */
        for (const char *p = left; *p; p++) cut += ((unsigned char)*p & 0xc0) != 0x80;
        merges[rank][0] = id_of(b, cut);
        merges[rank][1] = id_of(b + cut, len - cut);
    }
    return 0;
}

/* Merges a piece's tokens: the lowest rank first, leftmost among equals, looking at every pair every time. */
static size_t merge_slowly(int32_t *ids, size_t n) {
    for (;;) {
        size_t at = n;
        int32_t best = TINY_MERGES;
        for (size_t i = 0; i + 1 < n; i++)
            for (int32_t rank = 0; rank < best; rank++)
                if (merges[rank][0] == ids[i] && merges[rank][1] == ids[i + 1]) {
                    best = rank;
                    at = i;
                }
        if (at == n) return n;
        ids[at] = 256 + best;
        memmove(ids + at + 1, ids + at + 2, (n - at - 2) * sizeof *ids);
        n--;
    }
}

/* Letters alone are one piece, whatever the split does elsewhere. */
static void check_piece(const uint8_t *data, size_t size) {
    enum { MOST = 48 };
    static const char letters[] = "heloxt";
    char text[MOST];
    int32_t want[MOST], got[MOST];
    size_t n = size < MOST ? size : MOST;
    for (size_t i = 0; i < n; i++) {
        text[i] = letters[data[i] % (sizeof letters - 1)];
        want[i] = (uint8_t)text[i];
    }
    if (qig_tokenize(model, text, n, 0, got, MOST) != (int64_t)merge_slowly(want, n)) abort();
    for (size_t i = 0, at = 0; at < n; i++) {
        size_t len;
        qig_token_bytes(model, got[i], 0, &len);
        if (got[i] != want[i]) abort();
        at += len;
    }
}

static void check_text(const char *text, size_t size, int special) {
    int32_t *ids = malloc((size + 1) * sizeof *ids);
    if (!ids) abort();
    int64_t n = qig_tokenize(model, text, size, special, ids, size);
    if (n < 0 || n > (int64_t)size || qig_tokenize(model, text, size, special, ids, (size_t)n / 2) != n) abort();
    n = qig_tokenize(model, text, size, special, ids, size);
    size_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        size_t len;
        const char *p = qig_token_bytes(model, ids[i], special, &len);
        if (!special && ids[i] >= TINY_EOS) abort(); /* typed text never becomes a control token */
        if (len == 0 || len > size - at || memcmp(p, text + at, len)) abort();
        at += len;
    }
    if (at != size) abort();
    free(ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    check_text(text, size, 0);
    check_text(text, size, 1);
    check_piece(data, size);
    size_t whole = qig_utf8_whole(text, size);
    if (whole > size || size - whole > 3 || qig_utf8_whole(text + whole, size - whole) != 0) abort();
    if (qig_chat_turn(model, "user", text, size, 0, NULL, 0) != 2 + qig_tokenize(model, text, size, 0, NULL, 0)) abort();
    return 0;
}
