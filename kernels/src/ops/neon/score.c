/* score.c - overlaps to gated, unnormalised attention weights, NEON.
 *
 *   d = sqrt(max(0, 2 (1 - o)) + 1e-6)        fisher_rao: d := 2 asin(min(d, 2) / 2)
 *   s = - scale d - slope age_j               nats;  age_j = n - 1 - j, or position - positions[j] where positions are given, 0 for the own pair
 *   a = exp(s - max s), or 0 where d > max_distance or s < max s - margin; the own pair j = n - 1 is never cut
 *
 * o: n overlaps, oldest first, replaced by a. Any n. Features: armv8.0 NEON. Gates, counts, NaN and n = 0 as in ref (ref/score.c); bures cuts exactly the
 * pairs that ref cuts (d and s are the same bits), fisher_rao those within 2e-7 of its asin. exp: approx.h. Sums in 4 float lanes.
 */
#include "exp.h"
#include "score4.h"

#include <math.h>
#include <string.h>

/* Ages of the pairs from j on, m of which are not the query's own (garbage in the lanes past them); left: m, less the lane's index. */
QIG_INLINE float32x4_t ages(const qig_score_params *p, int j, int32x4_t left, int m) {
    if (!p->positions) return vcvtq_f32_s32(left);
    int32x4_t at;
    if (m >= 4) at = vld1q_s32(p->positions + j);
    else {
        int32_t v[4] = {0};
        memcpy(v, p->positions + j, sizeof v[0] * (size_t)m);
        at = vld1q_s32(v);
    }
    return vcvtq_f32_s32(vsubq_s32(vdupq_n_s32(p->position), at));
}

int qig_score__neon(float *o, int n, const qig_score_params *p, float *sum, float *sum2) {
    *sum = *sum2 = 0.0f;
    if (n <= 0) return 0;
    static const int32_t counting[4] = {0, 1, 2, 3};
    const int32x4_t iota = vld1q_s32(counting);
    const float32x4_t lowest = vdupq_n_f32(-INFINITY);
    const int others = n - 1; /* the own pair is scored apart: no gate touches it */
    uint32x4_t far;
    float32x4_t top4 = lowest;
    for (int j = 0; j < others; j += 4) {
        const int32x4_t left = vsubq_s32(vdupq_n_s32(others - j), iota); /* pairs from this lane on, but for the own */
        float32x4_t s = score4(load_part(o + j, others - j), ages(p, j, left, others - j), p, &far);
        const uint32x4_t beyond = vcleq_s32(left, vdupq_n_s32(0)); /* lanes past the end of a last partial step */
        s = vbslq_f32(vorrq_u32(far, beyond), lowest, s);
        top4 = vmaxnmq_f32(top4, s); /* the number wins over a NaN */
        store_part(o + j, s, others - j);
    }
    const float32x4_t own = score4(vdupq_n_f32(o[others]), vdupq_n_f32(0.0f), p, &far);
    top4 = vmaxnmq_f32(top4, own);
    const float top = vmaxvq_f32(top4);
    const float32x4_t floor = vdupq_n_f32(top - p->margin), top_all = vdupq_n_f32(top);

    float32x4_t total = vdupq_n_f32(0.0f), total2 = total;
    int passed = 1;
    for (int j = 0; j < others; j += 4) {
        const float32x4_t s = load_part(o + j, others - j);
        const uint32x4_t cut = vorrq_u32(vcltq_f32(s, floor), vceqq_f32(s, lowest));
        const int n_cut = (int)vaddvq_u32(vshrq_n_u32(cut, 31));
        if (n_cut == 4) {
            store_part(o + j, vdupq_n_f32(0.0f), others - j);
            continue;
        }
        const float32x4_t a = vbslq_f32(cut, vdupq_n_f32(0.0f), exp4(vsubq_f32(s, top_all)));
        total = vaddq_f32(total, a);
        total2 = vfmaq_f32(total2, a, a);
        passed += 4 - n_cut;
        store_part(o + j, a, others - j);
    }
    const float a = vgetq_lane_f32(exp4(vsubq_f32(own, top_all)), 0);
    o[others] = a;
    *sum = sum4(total) + a;
    *sum2 = sum4(total2) + a * a;
    return passed;
}
