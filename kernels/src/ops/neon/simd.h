/* simd.h - what the NEON kernels share: horizontal sums in one fixed order, prefetch.
 *
 * Baseline armv8.0: no sdot, no fp16 arithmetic. Tuned for the Cortex-A72 (Pi 4): three instructions a cycle, one multiply-long a cycle, slow tbl and slow
 * half conversion. Tiles are written out by macros over named registers, so that the accumulators stay in registers under any compiler and -O level.
 */
#ifndef QIG_OPS_NEON_SIMD_H
#define QIG_OPS_NEON_SIMD_H

#include "../kernels.h"

#include <arm_neon.h>
#include <string.h>

#define QIG_INLINE static inline __attribute__((always_inline))

/* One register a row of a tile of four rows. */
typedef struct {
    float32x4_t r0, r1, r2, r3;
} quad;

QIG_INLINE quad quad_zero(void) {
    const float32x4_t z = vdupq_n_f32(0.0f);
    return (quad){z, z, z, z};
}

/* m <= 4 floats, or halves as floats, the rest 0; m == 4 is constant where it counts. */
QIG_INLINE float32x4_t load_f32(const void *p, int m) {
    if (m == 4) return vld1q_f32(p);
    float v[4] = {0};
    memcpy(v, p, sizeof v[0] * (size_t)m);
    return vld1q_f32(v);
}

QIG_INLINE float32x4_t load_f16(const void *p, int m) {
    uint16_t v[4] = {0};
    memcpy(v, p, sizeof v[0] * (size_t)m);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(v)));
}

/* Sum of 4 lanes, always as (0+1) + (2+3): one row or four give the same float. */
QIG_INLINE float32x4_t sum4x4(quad v) { return vpaddq_f32(vpaddq_f32(v.r0, v.r1), vpaddq_f32(v.r2, v.r3)); }
QIG_INLINE float sum4(float32x4_t v) { return vgetq_lane_f32(sum4x4((quad){v, v, v, v}), 0); }

/* Brings the line at p + bytes into the first-level cache; it may lie past the end of the data, a prefetch never faults. */
QIG_INLINE void prefetch(uintptr_t p, size_t bytes) { __builtin_prefetch((const void *)(p + bytes), 0, 3); }

/* The `bytes` bytes from p on, line by line (the last line of an uneven number comes with the next span); returns the end. */
QIG_INLINE uintptr_t prefetch_span(uintptr_t p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) prefetch(p, i);
    return p + bytes;
}

/* How far ahead, in bytes along the matrix, a tile of four rows prefetches: memory is fetched in the order in which it lies, through this tile and into
 * the next. At least a tile (nearer would fetch what this tile has already read) and at least 2 KB, three times what 4 GB/s of memory need at 150 ns. Only the
 * first columns' tile prefetches (ahead 0: not at all): the others find their rows in the cache. */
QIG_INLINE size_t prefetch_distance(size_t w_stride) { return 4 * w_stride > 2048 ? 4 * w_stride : 2048; }

#endif
