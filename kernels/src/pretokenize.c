/* pretokenize.c - see pretokenize.h. The rules are regular expressions in the files that models come from; here they are scanned by hand, since
 * each alternative is decided by the classes of the first one or two characters.
 *
 *   GPT-2      's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
 *   smollm     \p{N} apart, then GPT-2 between them
 *   llama-bpe  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *   qwen2      the same with \p{N} in place of \p{N}{1,3}
 */
#include "pretokenize.h"

#include "unicode.h"

const char *const qig_pre_names[QIG_N_PRE + 1] = {"gpt-2", "smollm", "llama-bpe", "qwen2", NULL};

/* Bytes of the characters of class c from p on. */
static size_t run_length(const uint8_t *p, size_t n, qig_char_class c) {
    size_t i = 0, len;
    while (i < n && qig_char_class_at(p + i, n - i, &len) == c) i += len;
    return i;
}

static size_t gpt2_contraction(const uint8_t *p, size_t n) {
    if (p[0] != '\'' || n < 2) return 0;
    if (p[1] == 's' || p[1] == 't' || p[1] == 'm' || p[1] == 'd') return 2;
    if (n >= 3 && ((p[1] == 'r' && p[2] == 'e') || (p[1] == 'v' && p[2] == 'e') || (p[1] == 'l' && p[2] == 'l'))) return 3;
    return 0;
}

/* apart: number characters are cut out first, so that a piece sees the end of the text where one stands. */
static size_t gpt2_length(const uint8_t *p, size_t n, int apart) {
    size_t len, skip = gpt2_contraction(p, n);
    if (skip) return skip;
    skip = p[0] == ' ' && n >= 2;
    qig_char_class c = qig_char_class_at(p + skip, n - skip, &len);
    if (c == QIG_CHAR_INVALID) return 1; /* itself, or the space before it */
    if (c == QIG_CHAR_NUMBER && apart) return skip ? skip : len;
    if (c != QIG_CHAR_SPACE) return skip + run_length(p + skip, n - skip, c);
    size_t end = 0, last = 0;
    for (; end < n; end += len) {
        c = qig_char_class_at(p + end, n - end, &len);
        if (c != QIG_CHAR_SPACE) break;
        last = end;
    }
    if (end == n || last == 0 || (c == QIG_CHAR_NUMBER && apart)) return end;
    return last; /* the last white space before a word belongs to what follows */
}

/* Without regard to case, in which U+017F, the long s, is an s too. */
static size_t any_case_contraction(const uint8_t *p, size_t n) {
    if (p[0] != '\'' || n < 2) return 0;
    const int a = p[1] | 32, b = n >= 3 ? p[2] | 32 : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return n >= 3 && p[1] == 0xc5 && p[2] == 0xbf ? 3 : 0;
}

static int is_line_end(uint8_t c) { return c == '\n' || c == '\r'; }

/* White space: to its last line end where it has one, else all but what belongs to the word after it. */
static size_t space_length(const uint8_t *p, size_t n) {
    size_t end = 0, last = 0, line = 0, len;
    for (; end < n && qig_char_class_at(p + end, n - end, &len) == QIG_CHAR_SPACE; end += len) {
        last = end;
        if (is_line_end(p[end])) line = end + 1;
    }
    if (line) return line;
    return end == n || last == 0 ? end : last;
}

static size_t llama_length(const uint8_t *p, size_t n, int most_numbers) {
    size_t len, end = any_case_contraction(p, n), next_len;
    if (end) return end;
    qig_char_class c = qig_char_class_at(p, n, &len);
    if (c == QIG_CHAR_INVALID) return 1;
    if (c == QIG_CHAR_LETTER) return run_length(p, n, c);
    if (c == QIG_CHAR_NUMBER) {
        for (end = len; --most_numbers > 0 && end < n && qig_char_class_at(p + end, n - end, &len) == c; end += len) {}
        return end;
    }
    qig_char_class next = len < n ? qig_char_class_at(p + len, n - len, &next_len) : QIG_CHAR_INVALID;
    if (next == QIG_CHAR_LETTER && !is_line_end(p[0])) return len + run_length(p + len, n - len, next);
    if (c == QIG_CHAR_OTHER) end = run_length(p, n, c);
    else if (p[0] == ' ' && next == QIG_CHAR_OTHER) end = 1 + run_length(p + 1, n - 1, next);
    else return space_length(p, n);
    while (end < n && is_line_end(p[end])) end++;
    return end;
}

size_t qig_pre_length(qig_pre pre, const uint8_t *p, size_t n) {
    if (pre == QIG_PRE_LLAMA_BPE || pre == QIG_PRE_QWEN2) return llama_length(p, n, pre == QIG_PRE_LLAMA_BPE ? 3 : 1);
    return gpt2_length(p, n, pre == QIG_PRE_SMOLLM);
}
