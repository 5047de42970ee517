/* unicode.h - UTF-8 decoding and the character classes of GPT-2's split. */
#ifndef QIG_UNICODE_H
#define QIG_UNICODE_H

#include <stddef.h>
#include <stdint.h>

/* The top byte of an entry of unicode_tables.h. */
typedef enum { QIG_CHAR_OTHER = 0, QIG_CHAR_LETTER = 1, QIG_CHAR_NUMBER = 2, QIG_CHAR_SPACE = 3, QIG_CHAR_INVALID = 4 } qig_char_class;

/* Decodes the character at p; *len is its length in bytes. An invalid byte gives -1 and length 1. n >= 1 bytes may be read. */
int32_t qig_utf8_decode(const uint8_t *p, size_t n, size_t *len);
/* Class of the character at p, \p{L}, \p{N}, \s or none of them; INVALID (length 1) where p is no UTF-8. */
qig_char_class qig_char_class_at(const uint8_t *p, size_t n, size_t *len);

#endif
