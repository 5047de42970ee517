/* matmul_quantized.c - Q4_0 and Q8_0 weights times int8 activations, AVX-512 with VNNI.
 *
 *   Y[n, row] = sum_b d_w[row, b] d_a[n, b] sum_i (u[row, b, i] - offset) a[n, b, i]      u: unsigned weight;  q4_0: nibble, offset 8;  q8_0: q + 128, 128
 *
 * W: rows of k / 32 qig_block_q4_0 or qig_block_q8_0, w_stride bytes apart;  X: rows of k / 32 qig_block_a8, x_stride bytes apart;  Y[n * y_stride + row].
 * Constraints: k % 32 == 0; no alignment. Features: AVX512F, BW, VL, DQ, VNNI, AVX2, FMA, F16C.
 * Tiles: 16 rows x 1..8 columns; the last one of a range overlaps the one before it; a range of fewer than 16 rows goes row by row.
 * A lane is a row: a block of 16 rows is turned so that register j holds their weights 4 j..4 j + 3, once for all columns of the tile. A column then costs
 * eight vpdpbusd with four of its activations broadcast from memory, one conversion and one fma: nothing is summed across lanes.
 * Integers: u a accumulates in int32 from - offset sum_i a, which is made once a call and column: exact (u is at most 255).
 * Floats: acc = fma(float(sum), d_w d_a, acc) over the blocks in order, the same for every tile.
 * Cost on Zen 4, by count: a column adds ten cycles of the multiplying pipes to a block of 16 rows; turning it, once, takes about 25.
 */
#include "../kernels.h"

#include <immintrin.h>
#include <string.h>

#define QIG_INLINE static inline __attribute__((always_inline))

enum {
    ROWS = 16,      /* of a tile */
    COLUMNS = 8,    /* of a tile at most */
    SPLIT = 2,      /* columns of a tile at most whose dots run in two chains */
    GROUP = 32,     /* columns at most that go through the rows of a tile while those are in the cache */
    OFFSETS = 4096  /* 16 KB of the stack: columns of a group times blocks of a segment of k */
};

typedef enum { Q4_0, Q8_0 } weight_type; /* constant in every call: all of this is compiled once for each */

/* One block of 16 rows: lane r of q<j> holds row r's unsigned weights 4 j..4 j + 3, lane r of d its scale. */
typedef struct {
    __m512i q0, q1, q2, q3, q4, q5, q6, q7;
    __m512 d;
} rows16;

typedef struct {
    __m512i q0, q1, q2, q3;
} quad;

QIG_INLINE __m128i load16(const char *p) { return _mm_loadu_si128((const __m128i *)(const void *)p); }

/* 16 bytes of four rows, stride apart. */
QIG_INLINE __m512i load4x16(const char *p, size_t stride) {
    const __m256i low = _mm256_set_m128i(load16(p + stride), load16(p)), high = _mm256_set_m128i(load16(p + 3 * stride), load16(p + 2 * stride));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

/* 16 bytes of 16 rows, turned: lane r of q<j> is bytes 4 j..4 j + 3 of row r. */
QIG_INLINE quad load16x16(const char *p, size_t stride) {
    const __m512i t0 = load4x16(p, 4 * stride), t1 = load4x16(p + stride, 4 * stride), t2 = load4x16(p + 2 * stride, 4 * stride),
                  t3 = load4x16(p + 3 * stride, 4 * stride);
    const __m512i a = _mm512_unpacklo_epi32(t0, t1), b = _mm512_unpacklo_epi32(t2, t3), c = _mm512_unpackhi_epi32(t0, t1), d = _mm512_unpackhi_epi32(t2, t3);
    return (quad){_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b), _mm512_unpacklo_epi64(c, d), _mm512_unpackhi_epi64(c, d)};
}

/* The halves at p, p + stride, ...: of four rows in the low 8 bytes. A block has at least 16 bytes. */
QIG_INLINE __m128i halves4(const char *p, size_t stride) {
    return _mm_unpacklo_epi32(_mm_unpacklo_epi16(load16(p), load16(p + stride)), _mm_unpacklo_epi16(load16(p + 2 * stride), load16(p + 3 * stride)));
}

QIG_INLINE __m512 load_scales(const char *p, size_t stride) {
    const __m128i low = _mm_unpacklo_epi64(halves4(p, stride), halves4(p + 4 * stride, stride));
    const __m128i high = _mm_unpacklo_epi64(halves4(p + 8 * stride, stride), halves4(p + 12 * stride, stride));
    return _mm512_cvtph_ps(_mm256_set_m128i(high, low));
}

/* One block of 16 rows at p. */
QIG_INLINE rows16 load_q4_0(const char *p, size_t stride) {
    const __m512i mask = _mm512_set1_epi8(15);
    const quad t = load16x16(p + 2, stride);
#define LOW(j) _mm512_and_si512(t.q##j, mask)
#define HIGH(j) _mm512_and_si512(_mm512_srli_epi16(t.q##j, 4), mask)
    return (rows16){LOW(0), LOW(1), LOW(2), LOW(3), HIGH(0), HIGH(1), HIGH(2), HIGH(3), load_scales(p, stride)};
}

QIG_INLINE rows16 load_q8_0(const char *p, size_t stride) {
    const __m512i sign = _mm512_set1_epi8((char)0x80);
    const quad t = load16x16(p + 2, stride), u = load16x16(p + 18, stride);
#define FLIP(x) _mm512_xor_si512(x, sign)
    return (rows16){FLIP(t.q0), FLIP(t.q1), FLIP(t.q2), FLIP(t.q3), FLIP(u.q0), FLIP(u.q1), FLIP(u.q2), FLIP(u.q3), load_scales(p, stride)};
}

/* One block of one row at p: 32 unsigned weights in order. */
QIG_INLINE __m256i load_row(const weight_type t, const char *p) {
    if (t == Q8_0) return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(const void *)(p + 2)), _mm256_set1_epi8((char)0x80));
    const __m128i q = load16(p + 2);
    return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(q, 4), q), _mm256_set1_epi8(15));
}

QIG_INLINE __m256i load_activations(const qig_block_a8 *x) { return _mm256_loadu_si256((const __m256i *)(const void *)x->qs); }

QIG_INLINE int32_t sum8_i32(__m256i v) {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* Four activations, broadcast. */
QIG_INLINE __m512i spread(const int8_t *a) {
    int32_t four;
    memcpy(&four, a, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Brings memory in, in the order in which it lies: a step of a tile reads `bytes` bytes of 16 rows in as many places, and these prefetch the `bytes` bytes
 * at p, of this tile's successors. Nearer than a tile would fetch what it has already read. Twice: early into the second level, which takes more requests
 * at a time but drops some under load, then late into the first, which brings what was dropped. They may lie past the end of the data, a prefetch never
 * faults. */
enum { EARLY = 16384, LATE = 2048 }; /* bytes past a tile */
QIG_INLINE void prefetch(uintptr_t p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) {
        _mm_prefetch((const char *)(p + i + EARLY), _MM_HINT_T1);
        _mm_prefetch((const char *)(p + i + LATE), _MM_HINT_T0);
    }
}

/* What a tile works on: w, x and y begin with its first row, column and block. */
typedef struct {
    const char *w, *x;
    float *y;
    size_t w_stride, x_stride, y_stride;
    const int32_t *offsets; /* [blocks, offset_stride]: - offset sum_i a of a block and column */
    int offset_stride, blocks;
    int more; /* Y holds the sums of an earlier segment of k: a float in memory is the float that was in the register */
} operands;

/* The columns of a tile advance side by side, a register of weights at a time: eight dots of one column wait for each other. Where there are too few columns
 * to fill the wait, each has two chains. */
#define EACH_COLUMN(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define BEGIN(c) \
    __m512 acc##c = o.more && (c) < columns ? _mm512_loadu_ps(o.y + (c) * o.y_stride) : _mm512_setzero_ps();
#define BEGIN_BLOCK(c)                                                                                                              \
    const qig_block_a8 *a##c = (const qig_block_a8 *)(const void *)((c) < columns ? o.x + (c) * o.x_stride : o.x);                  \
    __m512i s##c = _mm512_set1_epi32(o.offsets[(c) < columns ? (c) : 0]), t##c = _mm512_setzero_si512();
#define DOT(s, c, j) \
    if ((c) < columns) s##c = _mm512_dpbusd_epi32(s##c, rows.q##j, spread(a##c->qs + 4 * (j)));
#define DOTS(s, j) DOT(s, 0, j) DOT(s, 1, j) DOT(s, 2, j) DOT(s, 3, j) DOT(s, 4, j) DOT(s, 5, j) DOT(s, 6, j) DOT(s, 7, j)
#define END_BLOCK(c)                                                                                                                \
    if ((c) < columns) {                                                                                                            \
        const __m512i sum = columns <= SPLIT ? _mm512_add_epi32(s##c, t##c) : s##c;                                                 \
        acc##c = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(rows.d, _mm512_set1_ps(a##c->d)), acc##c);                  \
    }
#define END(c) \
    if ((c) < columns) _mm512_mask_storeu_ps(o.y + (c) * o.y_stride, keep, acc##c);

/* fetch: the rows come from memory, not from a tile of other columns before. keep: the rows that are written. */
QIG_INLINE void tile(const weight_type t, const int columns, operands o, int fetch, __mmask16 keep) {
    const size_t block = t == Q4_0 ? sizeof(qig_block_q4_0) : sizeof(qig_block_q8_0);
    EACH_COLUMN(BEGIN)
    uintptr_t next = (uintptr_t)o.w + ROWS * o.w_stride;
    for (; o.blocks; o.blocks--, o.w += block, o.x += sizeof(qig_block_a8), o.offsets += o.offset_stride) {
        if (fetch) prefetch(next, ROWS * block), next += ROWS * block;
        const rows16 rows = t == Q4_0 ? load_q4_0(o.w, o.w_stride) : load_q8_0(o.w, o.w_stride);
        EACH_COLUMN(BEGIN_BLOCK)
        if (columns <= SPLIT) {
            DOTS(s, 0) DOTS(t, 4) DOTS(s, 1) DOTS(t, 5) DOTS(s, 2) DOTS(t, 6) DOTS(s, 3) DOTS(t, 7)
        } else {
            DOTS(s, 0) DOTS(s, 1) DOTS(s, 2) DOTS(s, 3) DOTS(s, 4) DOTS(s, 5) DOTS(s, 6) DOTS(s, 7)
        }
        EACH_COLUMN(END_BLOCK)
    }
    EACH_COLUMN(END)
}

#define TILE(m) \
    case m: tile(t, m, o, fetch, keep); break;

QIG_INLINE void tile_of(const weight_type t, int columns, operands o, int fetch, __mmask16 keep) {
    switch (columns) {
        TILE(1)
        TILE(2)
        TILE(3)
        TILE(4)
        TILE(5)
        TILE(6)
        TILE(7)
        TILE(8)
    }
}

/* One row and column. */
QIG_INLINE void row(const weight_type t, operands o) {
    __m128 acc = o.more ? _mm_load_ss(o.y) : _mm_setzero_ps();
    for (; o.blocks; o.blocks--, o.w += t == Q4_0 ? sizeof(qig_block_q4_0) : sizeof(qig_block_q8_0), o.x += sizeof(qig_block_a8), o.offsets += o.offset_stride) {
        const qig_block_a8 *a = (const qig_block_a8 *)(const void *)o.x;
        const int32_t s = *o.offsets + sum8_i32(_mm256_dpbusd_epi32(_mm256_setzero_si256(), load_row(t, o.w), load_activations(a)));
        const __m128 d = _mm_mul_ss(_mm_cvtph_ps(load16(o.w)), _mm_load_ss(&a->d));
        acc = _mm_fmadd_ss(_mm_cvtsi32_ss(d, s), d, acc);
    }
    _mm_store_ss(o.y, acc);
}

QIG_INLINE operands at(operands o, int row, int column) {
    o.w += (size_t)row * o.w_stride;
    o.x += (size_t)column * o.x_stride;
    o.y += (size_t)column * o.y_stride + (size_t)row;
    if (o.offsets) o.offsets += column; /* none yet: each part computes its own */
    return o;
}

/* Rows row0..row1 of one group of columns and one segment of k. */
QIG_INLINE void part(const weight_type t, operands o, int fetch, int row0, int row1, int columns) {
    const __m256i offset = _mm256_set1_epi8((char)(t == Q4_0 ? 8 : 128));
    int32_t offsets[OFFSETS];
    for (int c = 0; c < columns; c++)
        for (int b = 0; b < o.blocks; b++) {
            const __m256i a = load_activations((const qig_block_a8 *)(const void *)(o.x + (size_t)c * o.x_stride) + b);
            offsets[b * columns + c] = -sum8_i32(_mm256_dpbusd_epi32(_mm256_setzero_si256(), offset, a));
        }
    o.offsets = offsets;
    o.offset_stride = columns;
    if (row1 - row0 < ROWS) {
        for (int r = row0; r < row1; r++)
            for (int c = 0; c < columns; c++) row(t, at(o, r, c));
        return;
    }
    const int passes = (columns + COLUMNS - 1) / COLUMNS, width = (columns + passes - 1) / passes;
    for (int r = row0; r < row1; r += ROWS) {
        const int first = r + ROWS <= row1 ? r : row1 - ROWS;
        const __mmask16 keep = (__mmask16)(0xffffu << (r - first)); /* rows of the tile before are not added to twice */
        for (int c = 0; c < columns; c += width) tile_of(t, c + width <= columns ? width : columns - c, at(o, first, c), fetch && !c, keep);
    }
}

QIG_INLINE void matmul(const weight_type t, operands o, int row0, int row1, int n) {
    const size_t block = t == Q4_0 ? sizeof(qig_block_q4_0) : sizeof(qig_block_q8_0);
    for (int c = 0; c < n; c += GROUP) {
        const int columns = c + GROUP <= n ? GROUP : n - c, segment = OFFSETS / columns;
        int b = 0;
        do {
            operands p = at(o, 0, c);
            p.w += (size_t)b * block;
            p.x += (size_t)b * sizeof(qig_block_a8);
            p.blocks = b + segment <= o.blocks ? segment : o.blocks - b;
            p.more = b > 0;
            part(t, p, p.blocks == o.blocks, row0, row1, columns);
            b += segment;
        } while (b < o.blocks);
    }
}

#define MATMUL(type, t)                                                                                                                           \
    void qig_matmul_##type##__avx512_vnni(const void *w, size_t w_stride, const void *x, size_t x_stride, float *y, size_t y_stride, int k,        \
                                          int row0, int row1, int n) {                                                                            \
        const operands o = {.w = w, .x = x, .y = y, .w_stride = w_stride, .x_stride = x_stride, .y_stride = y_stride, .blocks = k / 32};          \
        matmul(t, o, row0, row1, n);                                                                                                              \
    }

MATMUL(q4_0, Q4_0)
MATMUL(q8_0, Q8_0)
