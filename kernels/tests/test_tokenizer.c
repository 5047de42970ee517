/* test_tokenizer.c - the tokenizer on known splits, all bytes, long runs and small buffers. Agreement with `tokenizers` on arbitrary Unicode is
 * tested from Python (tests/kernels/test_tokenizer.py). */
#include "model.h"
#include "tiny_gguf.h"
#include "unicode.h"

static int n_cases, n_failed;

static void check(int ok, const char *what, long long value) {
    n_cases++;
    if (ok) return;
    n_failed++;
    fprintf(stderr, "FAILED: %s (%lld)\n", what, value);
}

/* The tokens of a text, each in brackets: "[hello][ the]". */
static void show(const qig_model *m, const char *text, size_t len, int special, char *out, size_t size) {
    int32_t ids[256];
    int64_t n = qig_tokenize(m, text, len, special, ids, 256);
    size_t at = 0;
    out[0] = 0;
    for (int64_t i = 0; i < n && i < 256; i++) {
        size_t k;
        const char *p = qig_token_bytes(m, ids[i], 1, &k);
        at += (size_t)snprintf(out + at, size - at, "[%.*s]", (int)k, p);
    }
}

static void test_known(const qig_model *m) {
    static const struct { const char *text; int special; const char *want; } cases[] = {
        {"hello", 0, "[hello]"},
        {"hellohello", 0, "[hello][hello]"},
        {"ahell", 0, "[a][hell]"},
        {"lll", 0, "[ll][l]"},
        {"ooooo", 0, "[oooo][o]"},
        {" the  the", 0, "[ the][ ][ the]"},
        {"   x", 0, "[  ][ ][x]"},
        {"a \n hello", 0, "[a][ ][\n][ ][hello]"},
        {"he's he'll 've", 0, "[he]['][s][ ][he]['][ll][ ]['][v][e]"},
        {"h1e", 0, "[h][1][e]"},
        {"h!e", 0, "[h][!][e]"},
        {"h\xffhe", 0, "[h][\xff][he]"},
        {"hello\xc3", 0, "[hello][\xc3]"},
        {"caf\xc3\xa9", 0, "[c][a][f][\xc3\xa9]"},
        {"<|end|>", 1, "[<|end|>]"},
        {"<|end|>", 0, "[<][|][e][n][d][|][>]"},
        {"he<|end|>llo<|en<|user|>", 1, "[he][<|end|>][ll][o][<][|][e][n][<|user|>]"},
        {"", 1, ""}};
    char got[1024];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        show(m, cases[i].text, strlen(cases[i].text), cases[i].special, got, sizeof got);
        check(strcmp(got, cases[i].want) == 0, got, (long long)i);
    }
}

/* Bytes of the tokens of a text, joined, are the text: all pairs of bytes, and random ones. */
static void round_trip(const qig_model *m, const char *text, size_t len, int special) {
    int32_t ids[64];
    char back[64];
    size_t at = 0;
    int64_t n = qig_tokenize(m, text, len, special, ids, 64);
    check(n >= 0 && n <= (int64_t)len, "no more tokens than bytes", n);
    for (int64_t i = 0; i < n; i++) {
        size_t k;
        const char *p = qig_token_bytes(m, ids[i], special, &k);
        if (at + k <= sizeof back) memcpy(back + at, p, k);
        at += k;
    }
    check(at == len && memcmp(back, text, len) == 0, "the tokens' bytes are the text", (unsigned char)text[0]);
}

static void test_round_trip(const qig_model *m) {
    for (int a = 0; a < 256; a++)
        for (int b = 0; b < 256; b++) round_trip(m, (const char[]){(char)a, (char)b}, 2, 0);
    uint64_t state = 1;
    static const char alphabet[] = "hello to <|end|><|user|> \n\t'st\xc3\xa9\xe2\x82\xac\xff\xf0\x9f\x98\x80";
    for (int i = 0; i < 20000; i++) {
        char text[32];
        state = state * 6364136223846793005u + 1442695040888963407u;
        size_t len = 1 + (state >> 33) % sizeof text;
        for (size_t k = 0; k < len; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            text[k] = alphabet[(state >> 33) % (sizeof alphabet - 1)];
        }
        round_trip(m, text, len, i % 2);
    }
}

/* A megabyte without a space: a method that is quadratic in the length of a piece would not end within the test's time. */
static void test_long_pieces(const qig_model *m) {
    static const struct { char c; int64_t n; } runs[] = {{'o', 1 << 20}, {'l', (1 << 20) - 1}, {' ', 1 << 20}, {'\'', 1 << 20}, {'\xff', 1 << 20}, {'\xe2', 1 << 20}};
    char *text = malloc(1 << 20);
    int32_t *ids = malloc(sizeof *ids << 20);
    if (!text || !ids) abort();
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        memset(text, runs[i].c, (size_t)runs[i].n);
        int64_t n = qig_tokenize(m, text, (size_t)runs[i].n, 1, ids, 1 << 20), bytes = 0;
        for (int64_t k = 0; k < n; k++) {
            size_t len;
            qig_token_bytes(m, ids[k], 0, &len);
            bytes += (int64_t)len;
        }
        check(bytes == runs[i].n, "a long run is encoded whole", (long long)i);
        int64_t want = runs[i].c == 'o' ? runs[i].n / 4 : runs[i].c == 'l' || runs[i].c == ' ' ? (runs[i].n + 1) / 2 : runs[i].n;
        check(n == want, "and merged as far as the merges go", n);
    }
    free(text);
    free(ids);
}

static void test_small_buffers(const qig_model *m) {
    int32_t full[64], part[64];
    const char *text = "hello the <|end|> caf\xc3\xa9 42";
    int64_t n = qig_tokenize(m, text, strlen(text), 1, full, 64);
    check(qig_tokenize(m, text, strlen(text), 1, NULL, 0) == n, "counting alone", n);
    for (int64_t cap = 0; cap <= n; cap++) {
        memset(part, 0x55, sizeof part);
        check(qig_tokenize(m, text, strlen(text), 1, part, (size_t)cap) == n, "the count does not depend on the room", cap);
        check(memcmp(part, full, (size_t)cap * sizeof *part) == 0 && part[cap] == 0x55555555, "what fits is written, and no more", cap);
    }
    check(qig_tokenize(m, NULL, 0, 0, NULL, 0) == 0, "nothing", 0);
    check(qig_tokenize(m, NULL, 1, 0, NULL, 0) == QIG_ERR_ARG, "no text", 0);
}

static void test_chat(const qig_model *m) {
    int32_t ids[32];
    int64_t n = qig_chat_turn(m, "user", "hello<|end|>", 12, 0, ids, 32);
    check(n == 10 && ids[0] == TINY_EOS + 2 && ids[9] == TINY_EOT, "header, content, end", n);
    for (int64_t i = 1; i < 9 && n == 10; i++) check(ids[i] < TINY_EOS, "what a user types holds no control token", i);
    check(qig_chat_turn(m, "assistant", NULL, 0, 0, ids, 32) == 1 && ids[0] == TINY_EOS + 3, "the cue for an answer", 0);
    check(qig_chat_turn(m, "system", "", 0, 0, ids, 32) == 2, "an empty turn", 0);
    check(qig_chat_turn(m, "end", "x", 1, 0, ids, 32) == QIG_ERR_ARG && qig_chat_turn(m, "", "x", 1, 0, ids, 32) == QIG_ERR_ARG, "no such role", 0);
    check(qig_token_eos(m) == TINY_EOS && qig_token_eot(m) == TINY_EOT, "ends", qig_token_eot(m));
    size_t len = 1;
    check(qig_token_bytes(m, -1, 1, &len) == NULL && len == 0 && qig_token_bytes(m, TINY_VOCAB, 1, &len) == NULL, "no such token", 0);
    check(qig_token_bytes(m, TINY_EOT, 0, &len) != NULL && len == 0, "a control token has no bytes", (long long)len);
    check(memcmp(qig_token_bytes(m, TINY_EOT, 1, &len), "<|end|>", 7) == 0 && len == 7, "unless asked for its text", (long long)len);
}

/* Whether p[0, n), n >= 1, can still grow into one whole character and is none yet, straight from the code points it could become. */
static int is_unfinished(const uint8_t *p, size_t n) {
    size_t want = p[0] >= 0xf0 && p[0] <= 0xf7 ? 4 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xc0 && p[0] < 0xe0 ? 2 : 0;
    if (n >= want) return 0;
    uint32_t low = p[0] & (0xffu >> (want + 1)), high;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) return 0;
        low = low << 6 | (p[i] & 0x3f);
    }
    low <<= 6 * (want - n);
    high = low | ((1u << (6 * (want - n))) - 1);
    const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (low < least[want]) low = least[want];
    if (high > 0x10ffff) high = 0x10ffff;
    return low <= high && !(low >= 0xd800 && high <= 0xdfff);
}

static void test_whole(void) {
    for (uint32_t v = 0; v < 1u << 24; v++) {
        if (v % 0x10000 > 0x100 && (v >> 8 & 0xc0) != 0x80 && v % 7) continue; /* dense where the second byte continues */
        uint8_t p[4] = {'a', (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        size_t want = 4;
        for (size_t i = 1; i < 4 && want == 4; i++)
            if (is_unfinished(p + i, 4 - i)) want = i;
        size_t got = qig_utf8_whole((const char *)p, 4);
        if (got != want) check(0, "qig_utf8_whole", v);
    }
    check(qig_utf8_whole("", 0) == 0 && qig_utf8_whole("\xe2\x82", 2) == 0 && qig_utf8_whole("\xe2\x82\xac", 3) == 3, "short ones", 0);
    for (int32_t c = 0; c < 0x110000; c++) {
        uint8_t p[4];
        size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4, len;
        for (size_t i = n; i-- > 0;) p[i] = (uint8_t)(i ? 0x80 | (c >> 6 * (n - 1 - i) & 0x3f) : n == 1 ? c : (0xf00 >> n & 0xff) | c >> 6 * (n - 1));
        int32_t got = qig_utf8_decode(p, n, &len);
        int surrogate = c >= 0xd800 && c <= 0xdfff;
        if (got != (surrogate ? -1 : c) || len != (surrogate ? 1 : n)) check(0, "qig_utf8_decode", c);
    }
    check(1, "all code points", 0);
}

int main(void) {
    tiny_file f = tiny_model(32);
    char err[256] = "";
    qig_gguf *g;
    qig_model *m = NULL;
    int rc = qig_gguf_read(f.p, f.n, "tiny", &g, err, sizeof err);
    if (!rc) rc = qig_model_from_gguf(g, "tiny", NULL, &m, err, sizeof err);
    check(rc == QIG_OK, err, rc);
    if (m) {
        test_known(m);
        test_round_trip(m);
        test_long_pieces(m);
        test_small_buffers(m);
        test_chat(m);
        test_whole();
    }
    qig_model_close(m);
    free(f.p);
    printf("test_tokenizer: %d cases, %d failed\n", n_cases, n_failed);
    return n_failed || n_cases < 1000;
}
