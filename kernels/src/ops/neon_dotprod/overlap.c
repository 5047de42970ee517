/* overlap.c - overlaps of one query state with the cached int8 key states, NEON with dot products.
 *
 *   o[j] = min(1, (qs * ks[j]) * sum_i q[i] k[j * k_stride + i])      integers exact, the same bits as ref
 *
 * q: c entries;  k: n rows, k_stride entries apart (k_stride >= c), any int8;  ks: n scales;  o: n floats. Any c, n; no alignment; a NaN stays one.
 * Features: armv8.2-a with dotprod. Four keys side by side share the query's loads, which with the keys' own are what the time goes into; a last partial group
 * repeats its last key and drops the result, a last partial 16 entries go through a zero-filled copy.
 */
#include "../neon/simd.h"

#include <string.h>

enum { KEYS = 4 /* of a group */, STEP = 16 /* entries of a register */ };

/* m < STEP entries, the rest 0. */
QIG_INLINE int8x16_t load_part(const int8_t *p, int m) {
    int8_t v[STEP] = {0};
    memcpy(v, p, (size_t)m);
    return vld1q_s8(v);
}

#define DOTS(load, at)                                                                                                            \
    {                                                                                                                             \
        const int8x16_t a = load(q + (at));                                                                                       \
        s0 = vdotq_s32(s0, a, load(k0 + (at))), s1 = vdotq_s32(s1, a, load(k1 + (at)));                                           \
        s2 = vdotq_s32(s2, a, load(k2 + (at))), s3 = vdotq_s32(s3, a, load(k3 + (at)));                                           \
    }
#define LOAD_REST(p) load_part(p, c - i)

void qig_overlap_i8__neon_dotprod(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int c, int n, float *o) {
    for (int j = 0; j < n; j += KEYS, k += KEYS * k_stride) {
        const int m = n - j < KEYS ? n - j : KEYS;
        const int8_t *k0 = k, *k1 = m > 1 ? k0 + k_stride : k0, *k2 = m > 2 ? k1 + k_stride : k1, *k3 = m > 3 ? k2 + k_stride : k2;
        int32x4_t s0 = vdupq_n_s32(0), s1 = s0, s2 = s0, s3 = s0;
        int i = 0;
        for (; i + 2 * STEP <= c; i += 2 * STEP) { /* two registers a step: half of the counting */
            DOTS(vld1q_s8, i)
            DOTS(vld1q_s8, i + STEP)
        }
        if (i + STEP <= c) {
            DOTS(vld1q_s8, i)
            i += STEP;
        }
        if (i < c) DOTS(LOAD_REST, i)
        const float32x4_t sums = vcvtq_f32_s32(vpaddq_s32(vpaddq_s32(s0, s1), vpaddq_s32(s2, s3)));
        float scales[KEYS] = {0}, v[KEYS];
        if (m < KEYS) memcpy(scales, ks + j, (size_t)m * sizeof *scales);
        const float32x4_t scale = vmulq_n_f32(vld1q_f32(m < KEYS ? scales : ks + j), qs);
        vst1q_f32(m < KEYS ? v : o + j, vminq_f32(vmulq_f32(scale, sums), vdupq_n_f32(1.0f))); /* min: a NaN wins */
        if (m < KEYS) memcpy(o + j, v, (size_t)m * sizeof *v);
    }
}
