/* sift.c - the overlaps that a gate may let through, found by the keys' sketch, NEON. Contract: ops.h, qig_sift_i8_fn; bounds: sift.h, ref/sift.c.
 *
 * c % 8 == 0, any n >= 1. Features: armv8.0 NEON. For bures the same keys as ref, bound by bound; for fisher_rao the highest score moves by what asin does
 * (score.c). A row of the sketch holds 4 bytes of each of 16 keys, in four registers of four; smull and smlal with 4 of the query's entries, repeated, leave two
 * keys a register with four sums each in 16 bits: 16 products of 15 x 127 fit, so pairs are added once in eight rows. Survivors are listed, then read.
 */
#include "../sift.h"
#include "score4.h"

#include <string.h>

enum { BLOCK = QIG_SKETCH_BLOCK, QUARTER = 4 /* keys of a register */, SAFE_ROWS = 8 };

typedef struct {
    const qig_sift_keys *in;
    const qig_score_params *p;
    float gate, inverse, unit; /* unit: qs / 32 */
    int32_t surplus;           /* 241 sum_i q[i] */
} query;

QIG_INLINE int32x4_t lanes(void) {
    static const int32_t counting[4] = {0, 1, 2, 3};
    return vld1q_s32(counting);
}

/* Ages of keys j .. j + 3, none of them the query's own. */
QIG_INLINE float32x4_t ages(const query *x, int j) {
    if (!x->p->positions) return vcvtq_f32_s32(vsubq_s32(vdupq_n_s32(x->in->n - 1 - j), lanes()));
    return vcvtq_f32_s32(vsubq_s32(vdupq_n_s32(x->p->position), vld1q_s32(x->p->positions + j)));
}

/* 4 entries of the query, twice. */
QIG_INLINE int8x8_t repeated(const int8_t *q) {
    int32_t v;
    memcpy(&v, q, sizeof v);
    return vreinterpret_s8_s32(vdup_n_s32(v));
}

/* Upper bounds of the overlaps of four keys: the quarter of a block that begins at `words`; rows = c / 8. */
QIG_INLINE float32x4_t bounds(const query *x, const uint32_t *words, int rows) {
    int32x4_t first = vdupq_n_s32(0), second = first;
    for (int i = 0; i < rows;) {
        int16x8_t a = vdupq_n_s16(0), b = a;
        for (const int end = rows - i < SAFE_ROWS ? rows : i + SAFE_ROWS; i < end; i++) {
            const uint8x16_t v = vreinterpretq_u8_u32(vld1q_u32(words + i * BLOCK));
            const int8x16_t low = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15))), high = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
            const int8x8_t q = repeated(x->in->q + 8 * i), r = repeated(x->in->q + 8 * i + 4);
            a = vmlal_s8(vmlal_s8(a, vget_low_s8(low), q), vget_low_s8(high), r);
            b = vmlal_s8(vmlal_s8(b, vget_high_s8(low), q), vget_high_s8(high), r);
        }
        first = vpadalq_s16(first, a);
        second = vpadalq_s16(second, b);
    }
    const uint32x4_t last = vld1q_u32(words + rows * BLOCK);
    const float32x4_t sum = vcvtq_f32_s32(vsubq_s32(vshlq_n_s32(vpaddq_s32(first, second), 5), vdupq_n_s32(x->surplus)));
    const float32x4_t step = vreinterpretq_f32_u32(vandq_u32(last, vdupq_n_u32(0xffff0000u))), slack = vreinterpretq_f32_u32(vshlq_n_u32(last, 16));
    return vaddq_f32(vmulq_f32(vmulq_n_f32(step, x->unit), sum), slack);
}

QIG_INLINE float32x4_t least_overlaps(const query *x, float budget, float32x4_t age) {
    float32x4_t d = vmulq_n_f32(vsubq_f32(vdupq_n_f32(budget), vmulq_n_f32(age, x->p->slope)), x->inverse);
    d = vmaxq_f32(d, vdupq_n_f32(0.0f)); /* a NaN stays one, below too */
    const float32x4_t least = vsubq_f32(vdupq_n_f32(QIG_SIFT_NEAR), vmulq_n_f32(vmulq_f32(d, d), QIG_SIFT_HALF));
    return vmaxq_f32(least, vdupq_n_f32(x->gate));
}

/* Lanes whose value is not below least. */
QIG_INLINE uint32x4_t reaches(const float *v, const float *least) { return vmvnq_u32(vcltq_f32(vld1q_f32(v), vld1q_f32(least))); }

/* top, or a higher score among the lanes of `counted`; own: a lane that the absolute gate does not touch. The number wins over a NaN. */
QIG_INLINE float32x4_t highest(const query *x, float32x4_t top, float32x4_t o, float32x4_t age, uint32x4_t counted, uint32x4_t own) {
    uint32x4_t far;
    const float32x4_t s = score4(o, age, x->p, &far);
    return vmaxnmq_f32(top, vbslq_f32(vbicq_u32(counted, vbicq_u32(far, own)), s, vdupq_n_f32(-INFINITY)));
}

/* The highest score of the last `tail` keys, which are read (sift.h). */
static float32x4_t read_tail(const query *x, int tail, float *o, int32_t *rows) {
    float overlap[BLOCK], age[BLOCK];
    qig_sift_read_tail(x->in, x->p, qig_overlap_i8__neon, tail, o, rows, overlap, age);
    float32x4_t top = vdupq_n_f32(-INFINITY);
    for (int h = 0; h < BLOCK; h += QUARTER) {
        const int32x4_t lane = vaddq_s32(vdupq_n_s32(h), lanes());
        top = highest(x, top, vld1q_f32(overlap + h), vld1q_f32(age + h), vcltq_s32(lane, vdupq_n_s32(tail)), vceqq_s32(lane, vdupq_n_s32(tail - 1)));
    }
    return top;
}

int qig_sift_i8__neon(const qig_sift_keys *in, const qig_score_params *p, float *o, int32_t *rows, qig_sift_reads *reads) {
    query x = {.in = in, .p = p, .gate = qig_sift_overlap(p), .inverse = 1.0f / p->scale, .unit = in->qs / 32.0f};
    for (int i = 0; i < in->c; i++) x.surplus += QIG_SKETCH_MIDDLE * in->q[i];
    const int n = in->n, tail = qig_sift_tail(n), sketch_rows = in->c / 8;
    const size_t block_words = qig_sketch_words(in->c);
    float32x4_t top = read_tail(&x, tail, o, rows);
    int at = n - tail;
    *reads = (qig_sift_reads){.reached = tail, .read = tail};
    for (int end = at, low, whole = 0; end > 0; end = low) {
        const float budget = qig_sift_budget(vmaxvq_f32(top), p->margin);
        if (p->slope * (float)qig_sift_age(p, n, end - 1) > budget) break;
        low = end > QIG_SIFT_STEP ? end - QIG_SIFT_STEP : 0;
        const int keys = end - low, sketched = whole == 0;
        reads->reached += keys;
        float v[QIG_SIFT_STEP], least[QIG_SIFT_STEP];
        uint32_t near[QIG_SIFT_STEP]; /* all ones: the key was read */
        int m = 0;
        if (!sketched) {
            whole--;
            qig_overlap_i8__neon(in->q, in->qs, in->k + (size_t)low * in->k_stride, in->k_stride, in->ks + low, in->c, keys, v);
        }
        for (int j = 0; j < keys; j += QUARTER) {
            vst1q_f32(least + j, least_overlaps(&x, budget, ages(&x, low + j)));
            vst1q_u32(near + j, vdupq_n_u32(~0u));
            if (!sketched) continue;
            const uint32_t *words = in->sketch - (size_t)((low + j) / BLOCK) * block_words + (size_t)(j % BLOCK);
            vst1q_f32(v + j, bounds(&x, words, sketch_rows));
            const uint32x4_t kept = reaches(v + j, least + j);
            vst1q_u32(near + j, kept);
            if (vmaxvq_u32(kept) == 0) continue;
            for (int i = j; i < j + QUARTER; i++) {
                if (!near[i]) continue;
                qig_overlap_i8__neon(in->q, in->qs, in->k + (size_t)(low + i) * in->k_stride, in->k_stride, in->ks + low + i, in->c, 1, &v[i]);
                m++;
            }
        }
        reads->sketched += sketched ? keys : 0;
        reads->read += sketched ? m : keys;
        if (m > QIG_SIFT_MANY) whole = QIG_SIFT_WHOLE;
        for (int b = keys - BLOCK; b >= 0; b -= BLOCK) {
            uint32x4_t passed[BLOCK / QUARTER], any = vdupq_n_u32(0);
            for (int h = 0; h < BLOCK; h += QUARTER) {
                passed[h / QUARTER] = vandq_u32(reaches(v + b + h, least + b + h), vld1q_u32(near + b + h));
                any = vorrq_u32(any, passed[h / QUARTER]);
            }
            if (vmaxvq_u32(any) == 0) continue;
            at -= BLOCK;
            for (int h = 0; h < BLOCK; h += QUARTER) {
                const float32x4_t overlap = vld1q_f32(v + b + h);
                vst1q_f32(o + at + h, overlap);
                vst1q_s32(rows + at + h, vaddq_s32(vdupq_n_s32(low + b + h), lanes()));
                top = highest(&x, top, overlap, ages(&x, low + b + h), passed[h / QUARTER], vdupq_n_u32(0));
            }
        }
    }
    return n - at;
}
