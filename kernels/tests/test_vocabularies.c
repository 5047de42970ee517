/* test_vocabularies.c - tokenizers of other models' files, without a model: known splits, ties, special tokens, chat turns, long texts. Agreement with
 * the libraries that such models are trained with is tested from Python (tests/kernels/test_sentencepiece.py, test_pretokenizers.py).
 *
 *   test_vocabularies --encode KIND N      encodes N bytes of letters without a space and prints the number of tokens, for counting instructions
 */
#include "tiny_vocabulary.h"
#include "tokenizer.h"

static int n_cases, n_failed;

static void check(int ok, const char *what, long long value) {
    n_cases++;
    if (ok) return;
    n_failed++;
    fprintf(stderr, "FAILED: %s (%lld)\n", what, value);
}

/* The tokenizer of a file, which is freed: nothing of it is kept. */
static qig_tokenizer *opened(tiny_file f) {
    char err[256] = "";
    qig_gguf *g = NULL;
    qig_tokenizer *t = NULL;
    int rc = qig_gguf_read(f.p, f.n, "tiny", &g, err, sizeof err);
    if (!rc) rc = qig_tokenizer_new(g, "tiny", &t, err, sizeof err);
    qig_gguf_close(g);
    free(f.p);
    if (rc) fprintf(stderr, "%s\n", err);
    if (!t) abort();
    return t;
}

/* Tokens in brackets, as their bytes; a scored vocabulary's byte token as its hexadecimal number. */
static const char *shown(const qig_tokenizer *t, const int32_t *ids, int64_t n) {
    static char out[2048];
    size_t at = 0;
    out[0] = 0;
    for (int64_t i = 0; i < n; i++) {
        size_t len;
        const char *p = qig_tokenizer_bytes(t, ids[i], 1, &len);
        if (qig_tokenizer_space_prefix(t) && ids[i] >= TINY_BYTES && ids[i] < TINY_FIRST) at += (size_t)snprintf(out + at, sizeof out - at, "[%02x]", (uint8_t)*p);
        else at += (size_t)snprintf(out + at, sizeof out - at, "[%.*s]", (int)len, p);
    }
    return out;
}

static const char *encoded(const qig_tokenizer *t, const char *text, int special) {
    int32_t ids[256];
    int64_t n = qig_tokenizer_encode(t, text, strlen(text), special, ids, 256);
    return shown(t, ids, n);
}

static void test_scored(void) {
    qig_tokenizer *t = opened(tiny_scored(0, "")), *joins = opened(tiny_scored(1, ""));
    static const struct { const char *text; int special; const char *want; } cases[] = {
        {"", 0, ""},
        {"hello", 0, "[ ][hello]"},        /* the prefix */
        {" the", 0, "[ ][ the]"},          /* and the text's own space */
        {"hellll", 0, "[ ][hell][ll]"},    /* hell outranks everything once he and ll are there */
        {"lll", 0, "[ ][ll][l]"},          /* the leftmost of equals */
        {"ooooo", 0, "[ ][oooo][o]"},
        {"xlx", 0, "[ ][xlx]"},            /* halves that are no tokens merge */
        {"lxlx", 0, "[ ][l][xlx]"},
        {"xlxl", 0, "[ ][xl][xl]"},        /* xl outranks xlx */
        {"     h", 0, "[    ][  ][h]"},
        {"h" MARK "h", 0, "[ ][h][ ][h]"}, /* a mark is a space */
        {"x\n\xc3\xa9\xc3", 0, "[ ][78][0a][\xc3\xa9][c3]"},
        {"<0x41></s>", 0, "[ ][3c][30][78][34][31][3e][3c][2f][73][3e]"},
        {"h</s>h</s></s>", 1, "[ ][h][</s>][ ][h][</s>][</s>]"},
        {"<file>h<unk>", 0, "[<file>][ ][h][3c][75][6e][6b][3e]"},
        {"[PAD]", 1, "[ ][5b][50][41][44][5d]"},
        {"o t", 0, "[ ][o][ t]"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *got = encoded(t, cases[i].text, cases[i].special);
        check(strcmp(got, cases[i].want) == 0, got, (long long)i);
    }
    check(strcmp(encoded(joins, "o the", 0), "[ ][o t][he]") == 0, "a token that joins words", 0);
    check(strcmp(encoded(joins, "hello the", 0), "[ ][hell][o t][he]") == 0, "and outranks what is inside them", 0);
    check(qig_tokenizer_bos(t) == TINY_BOS && qig_tokenizer_eos(t) == TINY_TEXT_END && qig_tokenizer_eot(t) == -1, "ends", qig_tokenizer_bos(t));
    check(qig_tokenizer_space_prefix(t) == 1 && qig_tokenizer_size(t) == tiny_scored_size(0), "the file's prefix", 0);
    qig_tokenizer_free(joins);
    qig_tokenizer_free(t);
}

static void test_ranked(void) {
    static const struct { const char *pre; int32_t bos; } cases[] = {{"gpt-2", -1}, {"smollm", -1}, {"llama-bpe", TINY_EOS}, {"qwen2", -1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qig_tokenizer *t = opened(tiny_ranked(cases[i].pre, ""));
        check(qig_tokenizer_bos(t) == cases[i].bos && qig_tokenizer_space_prefix(t) == 0, cases[i].pre, qig_tokenizer_bos(t));
        /* two spaces merge where they are one piece: not before a word, but before a number that is cut out */
        check(strcmp(encoded(t, "h  1", 0), i == 1 ? "[h][  ][1]" : "[h][ ][ ][1]") == 0, encoded(t, "h  1", 0), (long long)i);
        check(strcmp(encoded(t, "\nthe", 0), "[\n][t][he]") == 0, encoded(t, "\nthe", 0), (long long)i);
        check(strcmp(encoded(t, "h the", 0), "[h][ the]") == 0, encoded(t, "h the", 0), (long long)i);
        check(strcmp(encoded(t, "'he", 0), "['][he]") == 0, encoded(t, "'he", 0), (long long)i);
        qig_tokenizer_free(t);
    }
}

static const char *turn(const qig_tokenizer *t, const char *role, const char *content, int first) {
    int32_t ids[256];
    int64_t n = qig_tokenizer_chat_turn(t, role, content, content ? strlen(content) : 0, first, ids, 256);
    return n < 0 ? "refused" : shown(t, ids, n);
}

static void test_chat(void) {
    qig_tokenizer *t = opened(tiny_scored(0, "'<|user|>' + eos_token }} '<|assistant|>'"));
    int32_t ids[8];
    check(qig_tokenizer_eot(t) == TINY_TEXT_END, "turns end as texts do", qig_tokenizer_eot(t));
    check(strcmp(turn(t, "user", "he", 0), "[3c][7c][75][73][e][72][7c][3e][0a][he][</s>][ ][0a]") == 0, turn(t, "user", "he", 0), 0);
    check(strcmp(turn(t, "user", NULL, 1), "[ ][3c][7c][75][73][e][72][7c][3e][0a]") == 0, turn(t, "user", NULL, 1), 0);
    check(strcmp(turn(t, "end", "x", 0), "refused") == 0, "no such role", 0);
    check(qig_tokenizer_chat_end(t, ids, 8) == 3 && ids[0] == TINY_TEXT_END, "the end alone", ids[0]);
    check(qig_tokenizer_chat_end(t, NULL, 0) == 3, "counted without room", 0);
    qig_tokenizer_free(t);
    t = opened(tiny_scored(0, "<|im_start|>"));
    check(qig_tokenizer_eot(t) == -1 && strcmp(turn(t, "user", "x", 0), "refused") == 0, "markers without tokens", 0);
    check(qig_tokenizer_chat_end(t, ids, 8) < 0, "no end either", 0);
    qig_tokenizer_free(t);
}

/* A text of letters that merge, without a space. */
static char *letters(size_t n) {
    char *text = malloc(n + 1);
    if (!text) abort();
    uint64_t state = 1;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        text[i] = "hello"[(state >> 33) % 5];
    }
    return text;
}

static int64_t encode_letters(const char *kind, size_t n) {
    qig_tokenizer *t = opened(strcmp(kind, "llama") ? tiny_ranked(kind, "") : tiny_scored(1, ""));
    char *text = letters(n);
    int64_t count = qig_tokenizer_encode(t, text, n, 1, NULL, 0);
    free(text);
    qig_tokenizer_free(t);
    return count;
}

static void test_long(void) {
    const char *const kinds[] = {"gpt-2", "smollm", "llama-bpe", "qwen2", "llama"};
    int64_t counts[5];
    for (size_t i = 0; i < 5; i++) counts[i] = encode_letters(kinds[i], 1 << 20);
    for (size_t i = 1; i < 4; i++) check(counts[i] == counts[0] && counts[i] > 1 << 18, "one piece is merged alike whatever cut it", (long long)i);
    check(counts[4] > 1 << 18 && counts[4] < 1 << 20, "a megabyte without a space", counts[4]);
    qig_tokenizer *t = opened(tiny_scored(0, ""));
    char *spaces = malloc(1 << 20);
    if (!spaces) abort();
    memset(spaces, ' ', 1 << 20);
    int64_t n = qig_tokenizer_encode(t, spaces, (1 << 20) - 1, 0, NULL, 0);
    check(n == 1 << 18, "four spaces a token, the prefix among them", n);
    free(spaces);
    qig_tokenizer_free(t);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "--encode") == 0) {
        printf("%lld\n", (long long)encode_letters(argv[2], (size_t)strtoull(argv[3], NULL, 10)));
        return 0;
    }
    test_scored();
    test_ranked();
    test_chat();
    test_long();
    printf("test_vocabularies: %d cases, %d failed\n", n_cases, n_failed);
    return n_failed || n_cases < 40;
}
