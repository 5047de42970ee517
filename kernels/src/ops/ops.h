/* ops.h - contracts of every operation, and the table of kernels that a model is opened with.
 *
 * A kernel is stateless: no allocation, no threads, no globals. Integer parts are exact in every ISA; floats of one (row, token) do not
 * depend on n, on the row range or on the thread count, so that prefill equals decode bit for bit inside one ISA. `ref` (scalar C) is the
 * oracle and defines every rounding. One line a kernel in kernels.inc: QIG_KERNEL(op, contract, isa).
 * NaN and infinity: what depends on one comes out as in ref, NaN, an infinity of that sign or a number; of a product or sum with quantized weights an infinity
 * leaves only that it is not finite. What does not depend on it keeps every bit. Sums that leave float32 on their way are not held to ref, whose are wider.
 * Names: qig_<op>[_<types>]__<isa>, e.g. qig_matmul_q4_0__avx2.
 */
#ifndef QIG_OPS_H
#define QIG_OPS_H

#include <stddef.h>
#include <stdint.h>

/* Q4_0: 32 weights in 18 bytes.  | fp16 d | 16 bytes: low nibbles are weights 0..15, high nibbles 16..31 |  w = d (nibble - 8) */
typedef struct { uint16_t d; uint8_t qs[16]; } qig_block_q4_0;
/* Q8_0: 32 weights in 34 bytes.  | fp16 d | 32 int8 |  w = d q */
typedef struct { uint16_t d; int8_t qs[32]; } qig_block_q8_0;
/* Q4_1: 32 weights in 20 bytes.  | fp16 d | fp16 m | nibbles as Q4_0 |  w = d nibble + m */
typedef struct { uint16_t d, m; uint8_t qs[16]; } qig_block_q4_1;
/* Q6_K: 256 weights in 210 bytes.  | 128 bytes ql | 64 bytes qh | 16 int8 scales | fp16 d |  w = d scale (q - 32), one scale for 16 weights.
 * Each half of 128 weights has its half of all arrays: weight 32 j + i of a half, j < 4, has its low four bits in ql[32 (j % 2) + i] (the low nibble for
 * j < 2), its high two in qh[i] at bit 2 j. */
typedef struct { uint8_t ql[128], qh[64]; int8_t scales[16]; uint16_t d; } qig_block_q6_k;
/* Activations: 32 values in 36 bytes.  d = amax / 127 (float32), q = half-to-even(x * (127 / amax)), all zero when amax == 0 */
typedef struct { float d; int8_t qs[32]; } qig_block_a8;

_Static_assert(sizeof(qig_block_q4_0) == 18, "Q4_0 block");
_Static_assert(sizeof(qig_block_q4_1) == 20, "Q4_1 block");
_Static_assert(sizeof(qig_block_q6_k) == 210, "Q6_K block");
_Static_assert(sizeof(qig_block_q8_0) == 34, "Q8_0 block");
_Static_assert(sizeof(qig_block_a8) == 36, "a8 block");

typedef enum { QIG_METRIC_BURES = 0, QIG_METRIC_FISHER_RAO = 1 } qig_metric;

/* y[k/32] = quantize(x[k]); k % 32 == 0 */
typedef void qig_quantize_a8_fn(const float *x, qig_block_a8 *y, int k);

/* Y[n, row] = sum_k W[row, k] X[n, k] for row in [row0, row1); W rows of w_stride bytes; X rows of x_stride bytes: qig_block_a8 for q4_0,
 * q4_1, q8_0 (k % 32 == 0) and q6_k (k % 256 == 0), float for f16 and f32; Y rows of y_stride floats, written at Y[n * y_stride + row]. n = 1 is the decode path. */
typedef void qig_matmul_fn(const void *w, size_t w_stride, const void *x, size_t x_stride, float *y, size_t y_stride,
                           int k, int row0, int row1, int n);

/* y[c] = sum_i a[i] W[units[i], c] for c in [col0, col1): the product with a transposed matrix of which only the rows of active units are read.
 * W rows of w_stride bytes, of at least col1 weights; units: n row numbers, rising; a: n floats, none 0 (what an a8 input stands for: d q); y written
 * at y[c], 0 where n = 0. q4_0, q8_0: col0 and col1 are multiples of 32. The sum of a column runs over i in order, whatever the range. */
typedef void qig_sum_rows_fn(const void *w, size_t w_stride, const int32_t *units, const float *a, int n, float *y, int col0, int col1);

/* y[i] = x[i] g[i] / sqrt(mean(x^2) + eps); 0 where the squares leave float32 (x about 1e19), but in ref */
typedef void qig_rmsnorm_fn(const float *x, const float *g, float *y, int d, float eps);
/* x[i] = max(x[i], 0)^2 */
typedef void qig_relu2_fn(float *x, int n);
/* x[i] = x[i] gate[i] / (1 + exp(-gate[i])); NaN for a gate of -inf */
typedef void qig_swiglu_fn(float *x, const float *gate, int n);
/* y[i] += x[i]; returns nothing */
typedef void qig_add_fn(float *y, const float *x, int n);
/* sum of a[i] b[i] */
typedef float qig_dot_fn(const float *a, const float *b, int n);

typedef struct { float max, sum, sum2; } qig_logit_part; /* highest logit; sums of exp(l - max) and of its square */
/* One part of a row of logits. The same floats in every ISA: logits.h. */
typedef void qig_logit_part_fn(const float *logits, int n, qig_logit_part *part);

/* Overlaps of one query with n cached keys: o[j] = min(1, qs * ks[j] * sum_c q[c] k[j * k_stride + c]); the integer sum is exact (int32). */
typedef void qig_overlap_i8_fn(const int8_t *q, float qs, const int8_t *k, size_t k_stride, const float *ks, int c, int n, float *o);
typedef void qig_overlap_f32_fn(const float *q, const float *k, size_t k_stride, int c, int n, float *o);

typedef struct {
    qig_metric metric;
    float scale;        /* r(L) / tau, > 0 */
    float slope;        /* m_h >= 0, nats a position */
    float max_distance; /* pairs with d > max_distance are cut (absolute gate); INFINITY: off */
    float margin;       /* pairs with s < max s - margin are cut (relative gate); INFINITY: off */
    /* NULL: the keys stand at successive positions, age_j = n - 1 - j. Else [n] positions of keys that were compacted (tokens that skipped the block left
     * none): age_j = position - positions[j]. The own key's age is 0 either way, positions[n - 1] is not read. */
    const int32_t *positions;
    int32_t position; /* of the query; with positions only */
} qig_score_params;

/* In place: o[j], j = 0..n-1 oldest first, the query's own key last, becomes the unnormalised weight
 *   d = sqrt(max(0, 2 (1 - o)) + 1e-6)  (fisher_rao: 2 asin(min(d, 2) / 2)),  s = -scale d - slope age_j,  a = exp(s - max s) or 0 where the gate
 * cuts; the own pair (j = n - 1) is never cut, and max s runs over all n pairs that the absolute gate lets through.
 * Returns the number of pairs let through; *sum = sum a, *sum2 = sum a^2. An overlap of inf counts as one of 1, one of -inf is farther than all others. */
typedef int qig_score_fn(float *o, int n, const qig_score_params *p, float *sum, float *sum2);

/* In place: n dot products become unnormalised weights, a[j] = exp(scale o[j] - max_j scale o[j]), scale > 0; *sum = sum a, *sum2 = sum a^2. A NaN leaves
 * the maximum alone and makes its own weight and both sums NaN. n = 0: nothing, sums 0. */
typedef void qig_softmax_fn(float *o, int n, float scale, float *sum, float *sum2);

/* The sketch of a cache: a copy of the upper 4 bits of the int8 keys, by blocks of 16 that a vector unit takes without sums across lanes. A block is c / 8 rows
 * of 16 words (c % 8 == 0), and one row more; lane j is key j of the block. Row i has entries 8 i .. 8 i + 7 of the keys, in byte b (of rising worth) entry
 * 8 i + b in the low half and 8 i + 4 + b in the high one, as nibble = 8 + entry >> 4; it stands for step (nibble - 241 / 32), the middle of what it can be.
 * The last row: step, 16 times the key's scale, in the upper 16 bits, slack in the lower ones, each the upper half of a float32.
 * |<q, key> - <q, copy>| <= slack for every unit vector q, with room for float rounding.
 * Block 0 stands last and block b at sketch - b qig_sketch_words(c): who goes from the newest key back goes forward in memory, where prefetchers follow. */
enum { QIG_SKETCH_BLOCK = 16, QIG_SKETCH_MIDDLE = 241 /* 32nds */, QIG_SIFT_STEP = 128 };

typedef struct {
    const int8_t *q; /* [c] the query, in -127..127; qs q is a unit vector */
    float qs;
    const int8_t *k; /* [n] keys of c entries, k_stride apart; the query's own is the last */
    size_t k_stride;
    const float *ks;        /* [n] */
    const uint32_t *sketch; /* block 0 of it, behind all other whole blocks */
    int c, n;
} qig_sift_keys;

typedef struct { int32_t reached, sketched, read; } qig_sift_reads; /* the newest keys, of which nothing or more was read; those of which the sketch was; the key */

/* The overlaps that a gate may let through, and no others: whatever is left out is certainly cut by qig_score_fn with the same parameters (positions, where
 * given: of all n keys). They come by whole blocks, in order, in the last m entries of o [n], their keys' numbers in the last m of rows [n]; m is returned. In a block
 * a key that is certainly cut may have an upper bound in place of its overlap, one that is cut too; the query's own block is complete. So a score of these m,
 * at positions `rows` (or those of the rows), gives what a score of all n gives, and its sums to the last bit.
 * From the newest key back, QIG_SIFT_STEP at a time: the highest score so far bounds the maximum from below; where age alone costs more than that bound and the
 * margin leave, neither sketch nor key is read any more; else a key is read if its sketch does not rule it out, or, for a while after a step of which
 * the sketch ruled out too little, in any case. A NaN in what is read is let through. n >= 1. */
typedef int qig_sift_i8_fn(const qig_sift_keys *keys, const qig_score_params *p, float *o, int32_t *rows, qig_sift_reads *reads);

/* out[c] = sum_j a[j] vs[r] v[r * v_stride + c]  over j in order, r = rows[j], or j where rows is NULL; zero weights may be skipped. f32: without vs and rows. */
typedef void qig_mix_i8_fn(const float *a, const int32_t *rows, const int8_t *v, size_t v_stride, const float *vs, int c, int n, float *out);
typedef void qig_mix_f32_fn(const float *a, const float *v, size_t v_stride, int c, int n, float *out);

typedef struct {
    const char *isa;
    qig_quantize_a8_fn *quantize_a8;
    qig_matmul_fn *matmul_q4_0, *matmul_q4_1, *matmul_q6_k, *matmul_q8_0, *matmul_f16, *matmul_f32;
    qig_sum_rows_fn *sum_rows_q4_0, *sum_rows_q8_0, *sum_rows_f16, *sum_rows_f32;
    qig_rmsnorm_fn *rmsnorm;
    qig_relu2_fn *relu2;
    qig_swiglu_fn *swiglu;
    qig_add_fn *add;
    qig_dot_fn *dot;
    qig_logit_part_fn *logit_part;
    qig_overlap_i8_fn *overlap_i8;
    qig_overlap_f32_fn *overlap_f32;
    qig_score_fn *score;
    qig_sift_i8_fn *sift_i8;
    qig_softmax_fn *softmax;
    qig_mix_i8_fn *mix_i8;
    qig_mix_f32_fn *mix_f32;
} qig_ops;

/* The kernel set named isa, or the best one this CPU runs for NULL or "auto"; NULL when there is none of that name here.
 * A set takes each operation from its own ISA, else from the next lower one of the ladder. */
const qig_ops *qig_ops_get(const char *isa);
/* "avx512_vnni,avx2,ref" */
const char *qig_ops_list(void);

/* Symmetric int8 of one vector, half to even: q = rint(x * 127 / amax). Returns the scale that makes q a unit vector, 1 / ||q|| (0 for a zero
 * vector), when unit is set, else amax / 127. Scalar everywhere: it runs once a token and head. */
float qig_quantize_i8(const float *x, int8_t *q, int c, int unit);
/* Puts the sketch of key number j (q: its c entries, scale: of qig_quantize_i8 with unit) into a sketch; c % 8 == 0. Scalar, for the same reason. */
void qig_sketch_key(const int8_t *q, float scale, int c, uint32_t *sketch, int j);
static inline size_t qig_sketch_words(int c) { return ((size_t)c / 8 + 1) * QIG_SKETCH_BLOCK; } /* of a block */
float qig_half_to_float(uint16_t h);

#endif
