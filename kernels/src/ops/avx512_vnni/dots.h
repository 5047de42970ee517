/* dots.h - integer dots of one int8 query with 16 int8 keys, AVX-512 with VNNI.
 *
 * Sixteen keys share one tree of sums across lanes, but each is read whole before the next: sixteen rows side by side are more streams than hardware
 * prefetchers follow, and from memory that cost half of the bandwidth. A last partial 64 entries are masked loads.
 * vpdpbusd takes an unsigned and a signed operand: the key is the unsigned one, as k + 128, because its surplus, 128 sum_i q[i], is then the same for all keys:
 * every sum starts from minus that. (With the query as the unsigned one each key would need its own sum, a second dot instead of a xor.)
 * Integers: modulo 2^32, so the surplus costs no range: exact where the sum itself is an int32 (c <= 131071).
 */
#ifndef QIG_OPS_AVX512_DOTS_H
#define QIG_OPS_AVX512_DOTS_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define QIG_INLINE static inline __attribute__((always_inline))

enum { KEYS = 16 /* of a group */, STEP = 64 /* entries of a register */ };

QIG_INLINE __m512i load(const int8_t *p, __mmask64 keep) { return _mm512_maskz_loadu_epi8(keep, p); }

/* Lanes of a and b interleaved and added: halves the lanes a key is spread over. 32- and 64-bit steps inside 128 bits, then whole 128-bit parts. */
QIG_INLINE __m512i add32(__m512i a, __m512i b) { return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)); }
QIG_INLINE __m512i add64(__m512i a, __m512i b) { return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)); }
QIG_INLINE __m512i add128(__m512i a, __m512i b) { return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd)); }

/* What the sums of a query start from; `steps` whole steps and, in the entries of rest, a partial one. */
QIG_INLINE __m512i dots_start(const int8_t *q, int steps, __mmask64 rest) {
    const __m512i surplus = _mm512_set1_epi8((char)0x80);
    __m512i start = _mm512_setzero_si512();
    for (int i = 0; i < steps; i++) start = _mm512_dpbusd_epi32(start, surplus, _mm512_loadu_si512(q + i * STEP));
    if (rest) start = _mm512_dpbusd_epi32(start, surplus, load(q + steps * STEP, rest));
    return _mm512_sub_epi32(_mm512_setzero_si512(), start);
}

/* start + the dot of one key, spread over the lanes. */
QIG_INLINE __m512i dot(const int8_t *q, const int8_t *k, int steps, __mmask64 rest, __m512i start) {
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    for (int i = 0; i < steps; i++, q += STEP, k += STEP)
        start = _mm512_dpbusd_epi32(start, _mm512_xor_si512(_mm512_loadu_si512(k), sign), _mm512_loadu_si512(q));
    return rest ? _mm512_dpbusd_epi32(start, _mm512_xor_si512(load(k, rest), sign), load(q, rest)) : start; /* the query is 0 past the end */
}

#define EACH_KEY(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)

/* Sums of the dots s0 .. s15, lane r that of s<r>. */
#define SUM_KEYS()                                                                                                                   \
    add128(add128(add64(add32(s0, s1), add32(s2, s3)), add64(add32(s4, s5), add32(s6, s7))),                                          \
           add128(add64(add32(s8, s9), add32(s10, s11)), add64(add32(s12, s13), add32(s14, s15))))

#endif
