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

/* A vector too small for 127 / amax to be finite counts as zero; one with a NaN or an infinity gives q = 0 and the scale NaN. */
float qig_quantize_i8(const float *x, int8_t *q, int c, int unit) {
    float amax = 0.0f;
    int finite = 1;
    for (int i = 0; i < c; i++) {
        const float a = fabsf(x[i]);
        finite &= a <= FLT_MAX;
        if (a > amax) amax = a;
    }
    const float inverse = 127.0f / amax;
    if (!finite || !(inverse <= FLT_MAX)) {
        memset(q, 0, (size_t)c);
        return finite ? 0.0f : NAN;
    }
    int32_t norm2 = 0;
    for (int i = 0; i < c; i++) {
        q[i] = (int8_t)lrintf(x[i] * inverse);
        norm2 += q[i] * q[i];
    }
    return unit ? (float)(1.0 / sqrt((double)norm2)) : amax / 127.0f;
}
