/* common.c - the two scalar helpers that every executor shares. */
#include "ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

float qig_half_to_float(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, magnitude = (uint32_t)(h & 0x7fffu) << 13;
    uint32_t bits;
    float f;
    if (magnitude >= 0x0f800000u) { /* inf, NaN: exponent all ones; a NaN is made quiet as the hardware does */
        bits = sign | 0x70000000u | magnitude | (magnitude > 0x0f800000u ? 0x00400000u : 0u);
        memcpy(&f, &bits, sizeof f);
        return f;
    }
    memcpy(&f, &magnitude, sizeof f);
    f *= 0x1p112f; /* moves the exponent's bias from 15 to 127; exact for subnormal halves too */
    memcpy(&bits, &f, sizeof bits);
    bits |= sign;
    memcpy(&f, &bits, sizeof f);
    return f;
}

enum { LANES = 8 };

/* A vector too small for 127 / amax to be finite counts as zero; one with a NaN or an infinity gives q = 0 and the scale NaN. */
float qig_quantize_i8(const float *x, int8_t *q, int c, int unit) {
    /* in lanes and without calls, so that it becomes vector code: it runs for every head, token and block */
    float top[LANES] = { 0 };
    int32_t odd[LANES] = { 0 };
    const int whole = c - c % LANES;
    for (int j = 0; j < c; j += LANES) {
        const int lanes = j < whole ? LANES : c - whole;
        for (int i = 0; i < lanes; i++) {
            const float a = fabsf(x[j + i]);
            odd[i] |= !(a <= FLT_MAX);
            top[i] = a > top[i] ? a : top[i];
        }
    }
    float amax = 0.0f;
    int finite = 1;
    for (int i = 0; i < LANES; i++) {
        finite &= !odd[i];
        amax = top[i] > amax ? top[i] : amax;
    }
    const float inverse = 127.0f / amax;
    if (!finite || !(inverse <= FLT_MAX)) {
        memset(q, 0, (size_t)c);
        return finite ? 0.0f : NAN;
    }
    int32_t norm2 = 0;
    for (int i = 0; i < c; i++) {
        const float shifted = x[i] * inverse + 12582912.0f; /* 1.5 2^23: the sum is rounded half to even, to a whole number in the low bits */
        int32_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        q[i] = (int8_t)bits;
        norm2 += q[i] * q[i];
    }
    return unit ? (float)(1.0 / sqrt((double)norm2)) : amax / 127.0f;
}
