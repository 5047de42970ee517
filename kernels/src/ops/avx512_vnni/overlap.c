/* overlap.c - overlaps of one query state with the cached int8 key states, AVX-512 with VNNI.
 *
 *   o[j] = min(1, (qs * ks[j]) * sum_i q[i] k[j * k_stride + i])      integers exact, the same bits as ref
 *
 * q: c entries;  k: n rows, k_stride entries apart (k_stride >= c), any int8;  ks: n scales;  o: n floats. Any c, n; no alignment; a NaN stays one.
 * Features: AVX512F, BW, VNNI. Sixteen keys at a time, 64 entries of each a step; a last partial step is a masked load, a last partial group of keys
 * repeats its last key and drops the result.
 * vpdpbusd takes an unsigned and a signed operand: the key is the unsigned one, as k + 128, because its surplus, 128 sum_i q[i], is then the same for all keys:
 * every sum starts from minus that. (With the query as the unsigned one each key would need its own sum, a second dot instead of a xor.)
 * Integers: modulo 2^32, so the surplus costs no range: exact where the sum itself is an int32 (c <= 131071). The sixteen sums across lanes are one tree.
 */
#include "../kernels.h"

#include <immintrin.h>

#define QIG_INLINE static inline __attribute__((always_inline))

enum { KEYS = 16 /* of a group */, STEP = 64 /* entries of a register */ };

QIG_INLINE __m512i load(const int8_t *p, __mmask64 keep) { return _mm512_maskz_loadu_epi8(keep, p); }

/* Lanes of a and b interleaved and added: halves the lanes a key is spread over. 32- and 64-bit steps inside 128 bits, then whole 128-bit parts. */
QIG_INLINE __m512i add32(__m512i a, __m512i b) { return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)); }
QIG_INLINE __m512i add64(__m512i a, __m512i b) { return _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b)); }
QIG_INLINE __m512i add128(__m512i a, __m512i b) { return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd)); }

/* Row r of a group of m, the last one for those past the end. */
QIG_INLINE const int8_t *row(const int8_t *k, size_t stride, int r, int m) { return k + (size_t)(r < m ? r : m - 1) * stride; }

#define EACH_KEY(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define BEGIN(r)                                \
    const int8_t *k##r = row(k, k_stride, r, m); \
    __m512i s##r = start;
#define DOT(r) s##r = _mm512_dpbusd_epi32(s##r, _mm512_xor_si512(_mm512_loadu_si512(k##r + i), sign), query);
#define DOT_REST(r) s##r = _mm512_dpbusd_epi32(s##r, _mm512_xor_si512(load(k##r + i, rest), sign), query); /* the query is 0 past c */

/* Sums of m <= 16 keys from k on; m == 16 is constant where it counts. start: minus the surplus, in any lanes. */
QIG_INLINE __m512i dots(const int8_t *q, const int8_t *k, size_t k_stride, int c, int m, __m512i start) {
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    EACH_KEY(BEGIN)
    int i = 0;
    for (; i + STEP <= c; i += STEP) {
        const __m512i query = _mm512_loadu_si512(q + i);
        EACH_KEY(DOT)
    }
    if (i < c) {
        const __mmask64 rest = ~0ull >> (STEP - (c - i));
        const __m512i query = load(q + i, rest);
        EACH_KEY(DOT_REST)
    }
    const __m512i a = add64(add32(s0, s1), add32(s2, s3)), b = add64(add32(s4, s5), add32(s6, s7)), d = add64(add32(s8, s9), add32(s10, s11)),
                  e = add64(add32(s12, s13), add32(s14, s15));
    return add128(add128(a, b), add128(d, e));
}

void qig_overlap_i8__avx512_vnni(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int c, int n, float *o) {
    const __m512i surplus = _mm512_set1_epi8((char)0x80);
    __m512i start = _mm512_setzero_si512();
    for (int i = 0; i < c; i += STEP) {
        const __mmask64 keep = c - i < STEP ? ~0ull >> (STEP - (c - i)) : ~0ull;
        start = _mm512_dpbusd_epi32(start, surplus, load(q + i, keep));
    }
    start = _mm512_sub_epi32(_mm512_setzero_si512(), start);
    for (int j = 0; j < n; j += KEYS, k += KEYS * k_stride) {
        const int m = n - j < KEYS ? n - j : KEYS;
        const __mmask16 keep = (__mmask16)(0xffffu >> (KEYS - m));
        const __m512 sum = _mm512_cvtepi32_ps(m == KEYS ? dots(q, k, k_stride, c, KEYS, start) : dots(q, k, k_stride, c, m, start));
        const __m512 v = _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(qs), _mm512_maskz_loadu_ps(keep, ks + j)), sum);
        _mm512_mask_storeu_ps(o + j, keep, _mm512_min_ps(_mm512_set1_ps(1.0f), v)); /* min returns its second operand when one is NaN */
    }
}
