/* fuzz_tokenizer.c - libFuzzer target of the tokenizers, of every kind of vocabulary: any bytes come back as they were, and equal what a plain quadratic
 * BPE makes of them.
 *
 *   python kernels/fuzz/make_seeds.py SEEDS && build/fuzz/fuzz_tokenizer -max_total_time=60 CORPUS SEEDS/fuzz_tokenizer
 */
#include "../tests/tiny_vocabulary.h"
#include "model.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { N_RANKED = 3, N_SCORED = 2 };

static qig_model *model;
static char pieces[TINY_PIECES][16]; /* as scored vocabularies hold them */
static qig_tokenizer *ranked[N_RANKED], *scored[N_SCORED]; /* scored[1] has the piece that joins words */
static int32_t merges[TINY_MERGES][2]; /* ids of the two halves, found by the tokens' bytes alone */

static int32_t id_of(const char *p, size_t n) {
    for (int32_t id = 0; id < TINY_EOS; id++) {
        size_t len;
        const char *b = qig_token_bytes(model, id, 0, &len);
        if (len == n && memcmp(b, p, n) == 0) return id;
    }
    abort();
}

/* A token's text as scored vocabularies hold it: a mark is a space. Returns its length. */
static size_t unmarked(const char *text, size_t n, char *out) {
    size_t len = 0;
    for (size_t i = 0; i < n;) {
        int mark = n - i >= 3 && memcmp(text + i, MARK, 3) == 0;
        out[len++] = mark ? ' ' : text[i];
        i += mark ? 3 : 1;
    }
    return len;
}

static qig_tokenizer *tokenizer_of(tiny_file f) {
    qig_gguf *g;
    qig_tokenizer *t;
    if (qig_gguf_read(f.p, f.n, "tiny", &g, NULL, 0) || qig_tokenizer_new(g, "tiny", &t, NULL, 0)) abort();
    qig_gguf_close(g);
    free(f.p);
    return t;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static const char *const pre[N_RANKED] = {"smollm", "llama-bpe", "qwen2"};
    (void)argc;
    (void)argv;
    for (int i = 0; i < TINY_PIECES; i++) unmarked(tiny_pieces[i].text, strlen(tiny_pieces[i].text), pieces[i]);
    for (int i = 0; i < N_RANKED; i++) ranked[i] = tokenizer_of(tiny_ranked(pre[i], ""));
    for (int i = 0; i < N_SCORED; i++) scored[i] = tokenizer_of(tiny_scored(i, "'<|user|>' + eos_token }} '<|assistant|>'"));
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

/* The piece of these bytes, or -1. */
static int piece_of(int joins, const char *p, size_t n) {
    for (int i = 0; i < TINY_PIECES - !joins; i++)
        if (strlen(pieces[i]) == n && memcmp(pieces[i], p, n) == 0) return i;
    return -1;
}

/* Symbols end at ends[0, n) of text; joins the pair of the highest score, leftmost of equals, until there is none. Returns what is left. */
static size_t join_slowly(int joins, const char *text, size_t *ends, size_t n) {
    for (;;) {
        size_t at = n, start = 0;
        float best = 0;
        for (size_t i = 0; i + 1 < n; start = ends[i++]) {
            int piece = piece_of(joins, text + start, ends[i + 1] - start);
            if (piece < 0 || (at < n && tiny_pieces[piece].score <= best)) continue;
            best = tiny_pieces[piece].score;
            at = i;
        }
        if (at == n) return n;
        memmove(ends + at, ends + at + 1, (n - at - 1) * sizeof *ends);
        n--;
    }
}

/* Characters that the pieces are made of, and some that are in none. */
static void check_scored(int joins, const uint8_t *data, size_t size) {
    enum { MOST = 24 };
    static const char *const chars[] = {"h", "e", "l", "o", "t", "x", " ", "\xc3\xa9", MARK, "\xff", "<", " "};
    char typed[4 * MOST] = "", text[4 * MOST];
    size_t ends[4 * MOST], n = 0, len = 1, at = 0;
    for (size_t i = 0; i < size && i < MOST; i++) strcat(typed, chars[data[i] % (sizeof chars / sizeof *chars)]);
    if (!typed[0]) return;
    text[0] = ' ';
    len += unmarked(typed, strlen(typed), text + 1);
    for (size_t i = 0; i < len; ends[n++] = i) i += (uint8_t)text[i] == 0xc3 ? 2 : 1;
    n = join_slowly(joins, text, ends, n);
    int32_t got[4 * MOST];
    int64_t count = qig_tokenizer_encode(scored[joins], typed, strlen(typed), 0, got, 4 * MOST), k = 0;
    for (size_t i = 0; i < n; at = ends[i++]) {
        int piece = piece_of(joins, text + at, ends[i] - at);
        if (piece >= 0) {
            if (k >= count || got[k++] != TINY_FIRST + piece) abort();
            continue;
        }
        for (size_t b = at; b < ends[i]; b++)
            if (k >= count || got[k++] != TINY_BYTES + (uint8_t)text[b]) abort();
    }
    if (k != count) abort();
}

/* The ids of a text, to be freed; *n of them. Not more than two a byte: a special token of one byte, and a space after it. */
static int32_t *encode(const qig_tokenizer *t, const char *text, size_t size, int special, int64_t *n) {
    const size_t room = 2 * size + 1;
    int32_t *ids = malloc(room * sizeof *ids);
    if (!ids) abort();
    *n = qig_tokenizer_encode(t, text, size, special, ids, room);
    if (*n < 0 || *n > (int64_t)room || qig_tokenizer_encode(t, text, size, special, ids, (size_t)*n / 2) != *n) abort();
    if (qig_tokenizer_encode(t, text, size, special, ids, room) != *n) abort();
    return ids;
}

static void check_text(const qig_tokenizer *t, const char *text, size_t size, int special) {
    int64_t n;
    int32_t *ids = encode(t, text, size, special, &n);
    size_t at = 0;
    for (int64_t i = 0; i < n; i++) {
        size_t len;
        const char *p = qig_tokenizer_bytes(t, ids[i], special, &len);
        if (!special && ids[i] >= TINY_EOS) abort(); /* typed text never becomes a control token */
        if (len == 0 || len > size - at || memcmp(p, text + at, len)) abort();
        at += len;
    }
    if (at != size) abort();
    free(ids);
}

/* The same of a scored vocabulary: marks come back as spaces, and one space more stands before the text and after a special token. */
static void check_scored_text(int joins, const char *typed, size_t size, int special) {
    const int32_t file = tiny_scored_size(joins) - 2;
    const qig_tokenizer *t = scored[joins];
    char *text = malloc(size + 1);
    if (!text) abort();
    const size_t want = unmarked(typed, size, text);
    int64_t n;
    int32_t *ids = encode(t, typed, size, special, &n);
    size_t at = 0;
    int begins = 1;
    for (int64_t i = 0; i < n; i++) {
        size_t len;
        const char *p = qig_tokenizer_bytes(t, ids[i], special, &len);
        const int apart = ids[i] < TINY_BYTES || ids[i] == file;
        if (ids[i] > file || (!special && ids[i] < TINY_BYTES) || len == 0) abort();
        if (begins && !apart) {
            if (*p++ != ' ') abort();
            len--;
        }
        begins = apart;
        if (len > want - at || memcmp(p, text + at, len)) abort();
        at += len;
    }
    if (at != want) abort();
    if (qig_tokenizer_chat_turn(t, "user", typed, size, 0, NULL, 0) < qig_tokenizer_chat_turn(t, "user", "", 0, 0, NULL, 0)) abort();
    free(ids);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    for (int special = 0; special < 2; special++) {
        check_text(model->tokenizer, text, size, special);
        for (int i = 0; i < N_RANKED; i++) check_text(ranked[i], text, size, special);
        for (int i = 0; i < N_SCORED; i++) check_scored_text(i, text, size, special);
    }
    check_piece(data, size);
    for (int i = 0; i < N_SCORED; i++) check_scored(i, data, size);
    size_t whole = qig_utf8_whole(text, size);
    if (whole > size || size - whole > 3 || qig_utf8_whole(text + whole, size - whole) != 0) abort();
    if (qig_chat_turn(model, "user", text, size, 0, NULL, 0) != 2 + qig_tokenize(model, text, size, 0, NULL, 0)) abort();
    return 0;
}
