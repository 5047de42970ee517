/* unicode.c - see unicode.h; the tables are generated. */
#include "unicode.h"

#include "../include/qig.h"
#include "unicode_tables.h"

/* Length of the sequence that the lead byte b announces (0: b leads none) and the range of its second byte, which is what rules out
 * overlong forms, surrogates and code points beyond U+10FFFF. */
static size_t lead(uint8_t b, uint8_t *lo, uint8_t *hi) {
    *lo = b == 0xe0 ? 0xa0 : b == 0xf0 ? 0x90 : 0x80;
    *hi = b == 0xed ? 0x9f : b == 0xf4 ? 0x8f : 0xbf;
    if (b < 0x80) return 1;
    if (b < 0xc2) return 0;
    if (b < 0xe0) return 2;
    if (b < 0xf0) return 3;
    return b < 0xf5 ? 4 : 0;
}

/* Bytes at p that form a whole character or the beginning of one; *want is the length of the whole. 0: p[0] can begin none. */
static size_t valid_prefix(const uint8_t *p, size_t n, size_t *want) {
    uint8_t lo, hi;
    *want = lead(p[0], &lo, &hi);
    if (*want == 0) return 0;
    size_t i = 1;
    for (; i < *want && i < n; i++) {
        if (p[i] < lo || p[i] > hi) return 0;
        lo = 0x80;
        hi = 0xbf;
    }
    return i;
}

int32_t qig_utf8_decode(const uint8_t *p, size_t n, size_t *len) {
    size_t want, have = valid_prefix(p, n, &want);
    *len = 1;
    if (have == 0 || have < want) return -1;
    *len = want;
    if (want == 1) return p[0];
    int32_t c = p[0] & (0x7f >> want);
    for (size_t i = 1; i < want; i++) c = (c << 6) | (p[i] & 0x3f);
    return c;
}

qig_char_class qig_char_class_at(const uint8_t *p, size_t n, size_t *len) {
    int32_t c = qig_utf8_decode(p, n, len);
    if (c < 0) return QIG_CHAR_INVALID;
    if (c < 0x80) {
        if ((c | 32) >= 'a' && (c | 32) <= 'z') return QIG_CHAR_LETTER;
        if (c >= '0' && c <= '9') return QIG_CHAR_NUMBER;
        return c == ' ' || (c >= 9 && c <= 13) ? QIG_CHAR_SPACE : QIG_CHAR_OTHER;
    }
    size_t low = 0, high = QIG_N_UNICODE_RUNS; /* the run that holds c is in [low, high) */
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if ((int32_t)(qig_unicode_runs[mid] & 0xffffff) <= c) low = mid;
        else high = mid;
    }
    return (qig_char_class)(qig_unicode_runs[low] >> 24);
}

size_t qig_utf8_whole(const char *buf, size_t len) {
    const uint8_t *p = (const uint8_t *)buf;
    for (size_t back = len < 3 ? len : 3; back > 0; back--) {
        size_t want, have = valid_prefix(p + len - back, back, &want);
        if (have == back && have < want) return len - back; /* only a sequence cut off by the end waits for more */
    }
    return len;
}
