/* simd.h - what the AVX2 kernels share: horizontal sums in one fixed order, prefetch.
 *
 * Tiles are written out by macros over named registers, not as loops over arrays: the accumulators stay in registers under any compiler and -O level.
 */
#ifndef QIG_OPS_AVX2_SIMD_H
#define QIG_OPS_AVX2_SIMD_H

#include "../kernels.h"

#include <immintrin.h>
#include <string.h>

#define QIG_INLINE static inline __attribute__((always_inline))

/* One register a row of a tile of four rows. */
typedef struct {
    __m256 r0, r1, r2, r3;
} quad;

QIG_INLINE quad quad_zero(void) {
    const __m256 z = _mm256_setzero_ps();
    return (quad){z, z, z, z};
}

/* m <= 8 floats, or halves as floats, the rest 0; m == 8 is constant where it counts. */
QIG_INLINE __m256 load_f32(const void *p, int m) {
    if (m == 8) return _mm256_loadu_ps(p);
    float v[8] = {0};
    memcpy(v, p, sizeof v[0] * (size_t)m);
    return _mm256_loadu_ps(v);
}

QIG_INLINE __m256 load_f16(const void *p, int m) {
    if (m == 8) return _mm256_cvtph_ps(_mm_loadu_si128(p));
    uint16_t v[8] = {0};
    memcpy(v, p, sizeof v[0] * (size_t)m);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)v));
}

QIG_INLINE __m128 fold(__m256 v) { return _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)); }

/* Sum of 8 lanes, always as ((0+4)+(2+6)) + ((1+5)+(3+7)): one row or four give the same float. */
QIG_INLINE float sum8(__m256 v) {
    __m128 s = fold(v);
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

/* sum8 of four rows at once. */
QIG_INLINE __m128 sum8x4(quad v) {
    const __m128 a = fold(v.r0), b = fold(v.r1), c = fold(v.r2), d = fold(v.r3);
    const __m128 ab = _mm_add_ps(_mm_movelh_ps(a, b), _mm_movehl_ps(b, a)), cd = _mm_add_ps(_mm_movelh_ps(c, d), _mm_movehl_ps(d, c));
    return _mm_add_ps(_mm_shuffle_ps(ab, cd, 0x88), _mm_shuffle_ps(ab, cd, 0xdd));
}

/* Sum of 8 int32 lanes of four rows. */
QIG_INLINE __m128i sum8x4_i32(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i s = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    return _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
}

/* Brings the line at p + bytes into the first-level cache; it may lie past the end of the data, a prefetch never faults. */
QIG_INLINE void prefetch(const void *p, size_t bytes) { _mm_prefetch((const char *)((uintptr_t)p + bytes), _MM_HINT_T0); }

/* How far ahead, in bytes along the matrix, a tile of four rows prefetches. The four rows advance together, but memory is fetched in the order in which
 * it lies, one line after the other through this tile and into the next ones: that is what hardware prefetchers and DRAM pages like. At least a tile
 * (nearer would fetch what this tile has already read) and at least 6 KB, which covers the latency of main memory at 20 GB/s. Only the first columns'
 * tile prefetches (ahead 0: not at all): the others find their rows in the cache. */
QIG_INLINE size_t prefetch_distance(size_t w_stride) { return 4 * w_stride > 6144 ? 4 * w_stride : 6144; }

#endif
