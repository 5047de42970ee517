/* quantized.h - what the products of Q4_0 and Q8_0 matrices share on every ARM set: operands, scales, the walk over rows, columns and k.
 *
 *   Y[n, row] = sum_b d_w[row, b] d_a[n, b] sum_i w[row, b, i] a[n, b, i]        q4_0: w = nibble - 8;  q8_0: w = q, any int8
 *
 * W: rows of k / 32 qig_block_q4_0 or qig_block_q8_0, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row].
 * Constraints: k % 32 == 0; activations in -127..127; no alignment beyond the elements'.
 * A file that includes this has a tile of its own: 4 rows, a lane each, and 1 to COLUMNS columns. Nibbles stay unsigned: - 8 sum_i a of a block and column is
 * made once a call and is what the tile's sum starts from. Integers are exact in every set.
 * Floats: acc = fma(float(block sum), d_w d_a, acc) over the blocks in order, one lane a row: neither tile nor set shows in the result.
 */
#ifndef QIG_OPS_NEON_QUANTIZED_H
#define QIG_OPS_NEON_QUANTIZED_H

#include "simd.h"

#include <string.h>

enum {
    ROWS = 4,       /* of a tile */
    COLUMNS = 4,    /* of a tile at most */
    GROUP = 16,     /* columns at most that go through the rows of a tile while those are in the cache */
    OFFSETS = 1024, /* columns of a group times blocks of a segment of k at most: 16 KB of the stack */
    Q4_BYTES = sizeof(qig_block_q4_0),
    Q8_BYTES = sizeof(qig_block_q8_0)
};

typedef enum { Q4_0, Q8_0 } weight_type; /* constant in every call: all of this is compiled once for each */

/* What a tile works on: w, x and y begin with its first row, column and block. */
typedef struct {
    const char *w, *x;
    float *y;
    size_t w_stride, x_stride, y_stride;
    const int32_t *offsets; /* q4_0: [blocks, offset_stride, 4]: - 8 sum_i a of a block and column, in every lane */
    int offset_stride, blocks;
    int more; /* Y holds the sums of an earlier segment of k: a float in memory is the float that was in the register */
    int rows; /* 1 to ROWS; lanes past them repeat the last row and are dropped */
    size_t ahead; /* bytes to prefetch ahead; 0: the rows are in the cache, a tile of other columns has brought them */
} operands;

/* The including file's: a tile of the first o.rows rows and `columns` columns; t, columns and fetch (o.ahead != 0) are constants. */
QIG_INLINE void tile(const weight_type t, const int columns, const int fetch, operands o);

/* 8 sum_i a of a block, negated, in every lane. */
QIG_INLINE int32x4_t offset8(const int8_t *a) {
    const int8x16_t lo = vld1q_s8(a), hi = vld1q_s8(a + 16);
    const int16x8_t s = vaddq_s16(vaddl_s8(vget_low_s8(lo), vget_low_s8(hi)), vaddl_high_s8(lo, hi));
    return vdupq_n_s32(-8 * vaddlvq_s16(s));
}

/* The scales at the start of four blocks. One slow conversion serves four rows; the halves are put together in a general register, which is where compilers
 * would not leave them: loads into lanes cost a vector instruction each, and those are what a tile has most of. */
QIG_INLINE float32x4_t scales4(const char *w0, const char *w1, const char *w2, const char *w3) {
    uint16_t d0, d1, d2, d3;
    memcpy(&d0, w0, 2);
    memcpy(&d1, w1, 2);
    memcpy(&d2, w2, 2);
    memcpy(&d3, w3, 2);
    uint64_t d = (d0 | (uint32_t)d1 << 16) | (uint64_t)(d2 | (uint32_t)d3 << 16) << 32;
    __asm__("" : "+r"(d));
    return vcvt_f32_f16(vreinterpret_f16_u64(vcreate_u64(d)));
}

QIG_INLINE float32x4_t load_sums(operands o, int column) {
    if (!o.more) return vdupq_n_f32(0.0f);
    float v[ROWS] = {0};
    memcpy(v, o.y + (size_t)column * o.y_stride, (size_t)o.rows * sizeof *v);
    return vld1q_f32(v);
}

QIG_INLINE void store_sums(operands o, int column, float32x4_t sums) {
    float *y = o.y + (size_t)column * o.y_stride;
    if (o.rows == ROWS) {
        vst1q_f32(y, sums);
        return;
    }
    float v[ROWS];
    vst1q_f32(v, sums);
    memcpy(y, v, (size_t)o.rows * sizeof *v);
}

QIG_INLINE operands operands_at(operands o, int row, int column) {
    o.w += (size_t)row * o.w_stride;
    o.x += (size_t)column * o.x_stride;
    o.y += (size_t)column * o.y_stride + (size_t)row;
    o.offsets += ROWS * column;
    return o;
}

#define TILE(columns)                                         \
    case columns:                                             \
        if (o.ahead) tile(t, columns, 1, o);                  \
        else tile(t, columns, 0, o);                          \
        break;

QIG_INLINE void tile_of(const weight_type t, int columns, operands o) {
    switch (columns) {
        TILE(1)
        TILE(2)
        TILE(3)
        TILE(4)
    }
}

/* Rows row0..row1 of one group of columns and one segment of k. */
QIG_INLINE void matmul_part(const weight_type t, operands o, int row0, int row1, int columns) {
    int32_t offsets[ROWS * OFFSETS];
    for (int b = 0; t == Q4_0 && b < o.blocks; b++)
        for (int c = 0; c < columns; c++) {
            const qig_block_a8 *a = (const qig_block_a8 *)(const void *)(o.x + (size_t)c * o.x_stride) + b;
            vst1q_s32(offsets + ROWS * (b * columns + c), offset8(a->qs));
        }
    o.offsets = offsets;
    o.offset_stride = columns;
    const size_t ahead = o.ahead;
    for (int r = row0; r < row1; r += ROWS) {
        o.rows = row1 - r < ROWS ? row1 - r : ROWS;
        for (int c = 0; c < columns; c += COLUMNS) {
            o.ahead = c ? 0 : ahead;
            tile_of(t, columns - c < COLUMNS ? columns - c : COLUMNS, operands_at(o, r, c));
        }
    }
}

/* Rows row0..row1 of n columns; o begins with row 0, column 0, block 0. */
QIG_INLINE void matmul_quantized(const weight_type t, operands o, int row0, int row1, int n) {
    const int blocks = o.blocks;
    for (int c = 0; c < n; c += GROUP) {
        const int columns = n - c < GROUP ? n - c : GROUP, segment = OFFSETS / columns;
        int b = 0;
        do {
            operands p = operands_at(o, 0, c);
            p.w += (size_t)b * (t == Q4_0 ? Q4_BYTES : Q8_BYTES);
            p.x += (size_t)b * sizeof(qig_block_a8);
            p.blocks = blocks - b < segment ? blocks - b : segment;
            p.more = b > 0;
            p.ahead = p.blocks == blocks ? prefetch_distance(o.w_stride) : 0; /* the order of memory is that of whole rows */
            matmul_part(t, p, row0, row1, columns);
            b += segment;
        } while (b < blocks);
    }
}

#define MATMUL(type, t, isa)                                                                                                                    \
    void qig_matmul_##type##__##isa(const void *w, size_t w_stride, const void *x, size_t x_stride, float *y, size_t y_stride, int k, int row0,  \
                                    int row1, int n) {                                                                                          \
        const operands o = {.w = w, .x = x, .y = y, .w_stride = w_stride, .x_stride = x_stride, .y_stride = y_stride, .blocks = k / 32};         \
        matmul_quantized(t, o, row0, row1, n);                                                                                                  \
    }

#endif
