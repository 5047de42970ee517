/* error.h - one line of error text beside a status, safe to print whatever the file held. */
#ifndef QIG_ERROR_H
#define QIG_ERROR_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "../include/qig.h"

/* Writes the line to err (truncated to errlen on a whole character, always terminated; err may be NULL) and returns status, so that a
 * check reads `return qig_fail(...)`. Control characters, which a path or a file may hold, become '?'. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
static inline int qig_fail(char *err, size_t errlen, int status, const char *fmt, ...) {
    if (!err || errlen == 0) return status;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err, errlen, fmt, args);
    va_end(args);
    if (n < 0) err[0] = 0;
    size_t len = 0;
    for (; err[len]; len++)
        if ((unsigned char)err[len] < 0x20 || err[len] == 0x7f) err[len] = '?';
    err[qig_utf8_whole(err, len)] = 0;
    return status;
}

#define QIG_QUOTE_SIZE 68
/* A name from a file for an error line: at most 64 bytes, what is not printable ASCII as '?', "..." where it was cut. Returns buf. */
static inline const char *qig_quote(char buf[QIG_QUOTE_SIZE], const char *p, size_t len) {
    size_t n = len > 64 ? 64 : len;
    for (size_t i = 0; i < n; i++) buf[i] = p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '?';
    snprintf(buf + n, QIG_QUOTE_SIZE - n, "%s", len > 64 ? "..." : "");
    return buf;
}

#endif
