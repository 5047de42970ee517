/* dots.h - integer dots of one int8 query with 4 int8 keys, AVX2: exact, any c, the last partial 16 entries through a zero-filled copy. */
#ifndef QIG_OPS_AVX2_DOTS_H
#define QIG_OPS_AVX2_DOTS_H

#include "simd.h"

#include <string.h>

/* m <= 16 int8 widened to int16; m == 16 is constant where it counts. */
QIG_INLINE __m256i load_i8(const int8_t *p, int m) {
    if (m == 16) return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
    int8_t v[16] = {0};
    memcpy(v, p, (size_t)m);
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)v));
}

QIG_INLINE __m128i dots4(const int8_t *q, const int8_t *k0, const int8_t *k1, const int8_t *k2, const int8_t *k3, int c) {
    __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
    int i = 0;
    for (; i + 16 <= c; i += 16) {
        const __m256i a = load_i8(q + i, 16);
        s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(a, load_i8(k0 + i, 16)));
        s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(a, load_i8(k1 + i, 16)));
        s2 = _mm256_add_epi32(s2, _mm256_madd_epi16(a, load_i8(k2 + i, 16)));
        s3 = _mm256_add_epi32(s3, _mm256_madd_epi16(a, load_i8(k3 + i, 16)));
    }
    if (i < c) {
        const __m256i a = load_i8(q + i, c - i);
        s0 = _mm256_add_epi32(s0, _mm256_madd_epi16(a, load_i8(k0 + i, c - i)));
        s1 = _mm256_add_epi32(s1, _mm256_madd_epi16(a, load_i8(k1 + i, c - i)));
        s2 = _mm256_add_epi32(s2, _mm256_madd_epi16(a, load_i8(k2 + i, c - i)));
        s3 = _mm256_add_epi32(s3, _mm256_madd_epi16(a, load_i8(k3 + i, c - i)));
    }
    return sum8x4_i32(s0, s1, s2, s3);
}

#endif
