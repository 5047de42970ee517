/* overlap.c - overlaps of one query state with the cached int8 key states, AVX-512 with VNNI.
 *
 *   o[j] = min(1, (qs * ks[j]) * sum_i q[i] k[j * k_stride + i])      integers exact, the same bits as ref
 *
 * q: c entries;  k: n rows, k_stride entries apart (k_stride >= c), any int8;  ks: n scales;  o: n floats. Any c, n; no alignment; a NaN stays one.
 * Features: AVX512F, BW, VNNI. Sixteen keys share one tree of sums across lanes, but each is read whole before the next: sixteen rows side by side are more
 * streams than hardware prefetchers follow, and from memory that cost half of the bandwidth. A last partial 64 entries are masked loads, a last partial
 * sixteen keys repeat the last key and drop the result.
 * vpdpbusd takes an unsigned and a signed operand: the key is the unsigned one, as k + 128, because its surplus, 128 sum_i q[i], is then the same for all keys:
 * every sum starts from minus that. (With the query as the unsigned one each key would need its own sum, a second dot instead of a xor.)
 * Integers: modulo 2^32, so the surplus costs no range: exact where the sum itself is an int32 (c <= 131071).
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

/* start + the dot of one key, spread over the lanes: `steps` whole steps and, in the entries of rest, a partial one. */
QIG_INLINE __m512i dot(const int8_t *q, const int8_t *k, int steps, __mmask64 rest, __m512i start) {
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    for (int i = 0; i < steps; i++, q += STEP, k += STEP)
        start = _mm512_dpbusd_epi32(start, _mm512_xor_si512(_mm512_loadu_si512(k), sign), _mm512_loadu_si512(q));
    return rest ? _mm512_dpbusd_epi32(start, _mm512_xor_si512(load(k, rest), sign), load(q, rest)) : start; /* the query is 0 past the end */
}

#define EACH_KEY(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define DOT(r) const __m512i s##r = dot(q, row(k, k_stride, r, m), steps, rest, start);

/* Sums of m <= 16 keys from k on; m == 16 is constant where it counts, as are steps and rest. */
QIG_INLINE __m512i dots(const int8_t *q, const int8_t *k, size_t k_stride, int m, int steps, __mmask64 rest, __m512i start) {
    EACH_KEY(DOT)
    const __m512i a = add64(add32(s0, s1), add32(s2, s3)), b = add64(add32(s4, s5), add32(s6, s7)), d = add64(add32(s8, s9), add32(s10, s11)),
                  e = add64(add32(s12, s13), add32(s14, s15));
    return add128(add128(a, b), add128(d, e));
}

QIG_INLINE void overlaps(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int steps, __mmask64 rest, int n, float *o) {
    const __m512i surplus = _mm512_set1_epi8((char)0x80);
    __m512i start = _mm512_setzero_si512();
    for (int i = 0; i < steps; i++) start = _mm512_dpbusd_epi32(start, surplus, _mm512_loadu_si512(q + i * STEP));
    if (rest) start = _mm512_dpbusd_epi32(start, surplus, load(q + steps * STEP, rest));
    start = _mm512_sub_epi32(_mm512_setzero_si512(), start);
    for (int j = 0; j < n; j += KEYS, k += KEYS * k_stride) {
        const int m = n - j < KEYS ? n - j : KEYS;
        const __mmask16 keep = (__mmask16)(0xffffu >> (KEYS - m));
        const __m512 sum = _mm512_cvtepi32_ps(m == KEYS ? dots(q, k, k_stride, KEYS, steps, rest, start) : dots(q, k, k_stride, m, steps, rest, start));
        const __m512 v = _mm512_mul_ps(_mm512_mul_ps(_mm512_set1_ps(qs), _mm512_maskz_loadu_ps(keep, ks + j)), sum);
        _mm512_mask_storeu_ps(o + j, keep, _mm512_min_ps(_mm512_set1_ps(1.0f), v)); /* min returns its second operand when one is NaN */
    }
}

/* Common widths are compiled apart: their query stays in registers and no loop is left. */
void qig_overlap_i8__avx512_vnni(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int c, int n, float *o) {
    if (c == 2 * STEP) overlaps(q, qs, k, k_stride, ks, 2, 0, n, o);
    else if (c == STEP) overlaps(q, qs, k, k_stride, ks, 1, 0, n, o);
    else if (c == STEP / 2) overlaps(q, qs, k, k_stride, ks, 0, 0xffffffffu, n, o);
    else if (c == 4 * STEP) overlaps(q, qs, k, k_stride, ks, 4, 0, n, o);
    else overlaps(q, qs, k, k_stride, ks, c / STEP, ~(~0ull << c % STEP), n, o);
}
