/* sketch.c - the 4-bit copy of a key (ops.h, qig_sift_i8_fn). */
#include "ops.h"

#include <math.h>
#include <string.h>

enum { ENTRIES = 8 /* of a word */ };

static uint32_t bits_of(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The high halves of 4 entries, from -8 .. 7 to 0 .. 15, one a byte. */
static uint32_t high_halves(const int8_t *q) {
    uint32_t bytes = 0;
    for (int i = 0; i < 4; i++) bytes |= (uint32_t)(uint8_t)q[i] << 8 * i;
    return (bytes >> 4 & 0x0f0f0f0fu) ^ 0x08080808u;
}

void qig_sketch_key(const int8_t *q, float scale, int c, uint32_t *sketch, int j) {
    uint32_t *word = sketch - (size_t)(j / QIG_SKETCH_BLOCK) * qig_sketch_words(c) + j % QIG_SKETCH_BLOCK;
    /* an entry less its copy is a + t b: a = low half - 7.5, b = nibble - QIG_SKETCH_MIDDLE, t = 16 less the step in units of the entry. Sums of (2 a)^2,
     * (2 a) (32 b) and (32 b)^2, integers: c <= 30000 */
    int32_t aa = 0, ab = 0, bb = 0;
    for (int i = 0; i < c; i++) {
        const int32_t low = q[i] & 15, a = 2 * low - 15, b = 2 * (q[i] - low) + 15;
        aa += a * a;
        ab += a * b;
        bb += b * b;
    }
    for (int i = 0; i < c; i += ENTRIES, word += QIG_SKETCH_BLOCK) *word = high_halves(q + i) | high_halves(q + i + 4) << 4;
    const uint32_t step = bits_of(16.0f * scale) & 0xffff0000u; /* cut off: the copy is made of the step as it is stored */
    float stored;
    memcpy(&stored, &step, sizeof stored);
    const double t = scale > 0.0f ? 16.0 - (double)stored / (double)scale : 0.0;
    const double left2 = 0.25 * aa + t * ab / 32.0 + t * t * bb / 1024.0;
    /* rounding of the sum, of the query's and the key's length and of the overlaps themselves stays below what is added; a NaN scale leaves a NaN */
    const float slack = (float)((double)scale * sqrt(left2 > 0.0 ? left2 : 0.0) * 1.000001 + 1e-5);
    *word = step | ((bits_of(slack) + 0xffffu) >> 16);
}
