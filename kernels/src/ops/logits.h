/* logits.h - sums over logits, whose floats are the same in every kernel set: no fma, no other order.
 *
 *   max = max_i l_i,   sum = sum_i exp(l_i - max),   sum2 = sum_i exp(l_i - max)^2
 *
 * 16 sums run side by side, value i in sum i % 16, and are added in order at the end.
 */
#ifndef QIG_OPS_LOGITS_H
#define QIG_OPS_LOGITS_H

#include "ops.h"

#include <math.h>
#include <string.h>

enum { QIG_LOGIT_LANES = 16 };

/* exp of x <= 0 within 2e-7 of the value, 0 below -87. 2^k e^r with |r| <= ln 2 / 2; k comes from the low bits of a float that is large enough to have no fraction. */
static inline float qig_exp_negative(float x) {
    const float round = 12582912.0f; /* 1.5 2^23 */
    float shifted = x * 1.44269504f + round, k = shifted - round;
    float r = (x - k * 0.693359375f) + k * 2.12194440e-4f; /* ln 2 in two parts, the first exact times k */
    float e = 1.0f + r * (1.0f + r * (0.5f + r * (0.166666667f + r * (0.0416666667f + r * (0.00833333333f + r * 0.00138888889f)))));
    uint32_t bits;
    float scale;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23; /* the large float's own high bits are shifted out */
    memcpy(&scale, &bits, sizeof scale);
    return x < -87.0f ? 0.0f : e * scale;
}

static inline void qig_sum_logit_part(const float *logits, int n, qig_logit_part *part) {
    float top[QIG_LOGIT_LANES], sum[QIG_LOGIT_LANES] = { 0 }, sum2[QIG_LOGIT_LANES] = { 0 };
    for (int i = 0; i < QIG_LOGIT_LANES; i++) top[i] = -INFINITY;
    const int whole = n - n % QIG_LOGIT_LANES;
    for (int j = 0; j < whole; j += QIG_LOGIT_LANES)
        for (int i = 0; i < QIG_LOGIT_LANES; i++) top[i] = logits[j + i] > top[i] ? logits[j + i] : top[i];
    for (int j = whole; j < n; j++) top[j - whole] = logits[j] > top[j - whole] ? logits[j] : top[j - whole];
    float max = top[0];
    for (int i = 1; i < QIG_LOGIT_LANES; i++) max = top[i] > max ? top[i] : max;
    for (int j = 0; j < whole; j += QIG_LOGIT_LANES)
        for (int i = 0; i < QIG_LOGIT_LANES; i++) {
            const float e = qig_exp_negative(logits[j + i] - max);
            sum[i] += e;
            sum2[i] += e * e;
        }
    for (int j = whole; j < n; j++) {
        const float e = qig_exp_negative(logits[j] - max);
        sum[j - whole] += e;
        sum2[j - whole] += e * e;
    }
    *part = (qig_logit_part){ .max = max };
    for (int i = 0; i < QIG_LOGIT_LANES; i++) part->sum += sum[i], part->sum2 += sum2[i];
}

#endif
