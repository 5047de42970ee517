/* pass.h - one pass of tokens through the blocks: what forward.c, block.c and exits.c share.
 *
 * The calling thread goes through the phases; each phase is a range of rows, tokens or heads, handed out in pieces. Each number is computed by one
 * thread in an order that depends on neither the pieces nor the number of tokens in the pass, so that prefill, decode and any number of
 * threads give the same floats.
 *
 * A token of the pass has an index in [0, n): its state x, its coupling, its sums. Tokens that still run are listed, and the buffers of a block hold
 * only their rows: row k is token list[k].
 */
#ifndef QIG_PASS_H
#define QIG_PASS_H

#include "session.h"

enum { QIG_BLOCK = 32 }; /* values of a quantization block; boundaries of row ranges lie on them */

typedef struct pass pass;
typedef void phase_fn(pass *a, int lo, int hi, int thread); /* lo, hi: of rows, counted from first, where it works on rows */
struct pass {
    qig_session *s;
    int32_t pos0, n;     /* position of the first token; tokens */
    int32_t alive;       /* tokens that still run: s->alive[0 .. alive) */
    int settled;         /* the last block's sums are added up */
    int32_t ran0;        /* keys that stood in the last block's cache before the pass */
    /* rows that the phase works on: [first, first + rows) of the buffers; list: all rows' tokens */
    const int32_t *list;
    int32_t first, rows;
    /* the block */
    const qig_layer *layer;
    int32_t l, key0;     /* number of its cache; keys in it before the pass */
    const qig_tensor *up, *down; /* the feed-forward that the rows take */
    const qig_tensor *gain, *bias; /* norm: its gains and biases (data NULL: none), and whether the result is wanted quantized */
    int quantize;
    float *out;          /* head: logits [rows, V] */
    int32_t exit;
    double work;         /* weight bytes of the block, in a large pass times the rows that each was used for */
    /* the phase */
    phase_fn *fn;
    int total, piece;
};

/* Whether products with it take a quantized input. */
static inline int qig_quantized(const qig_tensor *w) { return w->type != QIG_F32 && w->type != QIG_F16; }
static inline uint64_t qig_tensor_bytes(const qig_tensor *t) { return t->data ? (uint64_t)t->ne1 * t->row_bytes : 0; }

/* fn over [0, total), in pieces of a multiple of unit. */
void qig_phase(pass *a, phase_fn *fn, int total, int unit);
/* The rows of the following phases. */
void qig_rows(pass *a, const int32_t *list, int32_t first, int32_t rows);
/* Rows [lo, hi) of y = W x for n columns. x, xq: the same input as floats and quantized, x_width values apart. */
void qig_product(const qig_session *s, const qig_tensor *w, const float *x, const qig_block_a8 *xq, size_t x_width, float *y, size_t y_width,
                 int lo, int hi, int n);
/* One row of a matrix as floats. */
void qig_dequantize_row(const qig_tensor *w, int64_t row, float *out);

/* Phases over rows: x of their tokens normed by a->gain to `norm`; the readout of x (roles projected out, output norm) to `norm`. */
void qig_norm_rows(pass *a, int lo, int hi, int thread);
void qig_read_out_rows(pass *a, int lo, int hi, int thread);
/* Adds up what the last block noted for rows [lo, hi) of s->alive. */
void qig_settle_rows(pass *a, int lo, int hi, int thread);
/* The same now, for all of them, where a decision needs it. */
void qig_settle(pass *a);
/* Weights of that many bytes were read once for the present rows: each bears its share. */
void qig_charge(pass *a, uint64_t bytes);

/* Block l on the tokens that still run; l >= n_layers: a loop of the integrator. block.c */
void qig_block_run(pass *a, int32_t l);
/* Mean over heads of ln N_eff / ln n of row k in the block that was run last. */
double qig_row_phi(const qig_session *s, int32_t k);
/* Exit number e for the tokens that still run: some stop, some collapse. exits.c */
void qig_exit_run(pass *a, int32_t e);
/* Logits of the present rows, whose readouts stand in `norm`, to a->out, and the parts of each. forward.c */
void qig_head_rows(pass *a);

#endif
