/* pass.c - see pass.h. */
#include "pass.h"

#include <string.h>

enum { PIECES = 4 /* a thread and phase: one that comes late finds work done, not work waiting */ };

static void run_piece(void *arg, int item, int thread) {
    pass *a = arg;
    const int lo = item * a->piece, hi = a->total - lo < a->piece ? a->total : lo + a->piece;
    a->fn(a, lo, hi, thread);
}

void qig_phase(pass *a, phase_fn *fn, int total, int unit) {
    const int threads = qig_thread_count_now(qig_pass_threads(a->s, a->n)), wanted = threads > 1 ? threads * PIECES : 1;
    if (total <= 0) return;
    a->fn = fn;
    a->total = total;
    a->piece = ((total + wanted - 1) / wanted + unit - 1) / unit * unit;
    qig_pool_run(a->s->pool, threads, run_piece, a, (total + a->piece - 1) / a->piece);
}

void qig_rows(pass *a, const int32_t *list, int32_t first, int32_t rows) {
    a->list = list;
    a->first = first;
    a->rows = rows;
}

static void dequantize_q6_k(const qig_block_q6_k *b, int64_t blocks, float *out) {
    for (; blocks; blocks--, b++)
        for (int i = 0; i < 256; i++) {
            const int half = i / 128, j = i % 128 / 32, k = i % 32, low = b->ql[64 * half + 32 * (j % 2) + k] >> (j < 2 ? 0 : 4) & 15;
            const int q = (low | (b->qh[32 * half + k] >> 2 * j & 3) << 4) - 32;
            *out++ = qig_half_to_float(b->d) * (float)b->scales[i / 16] * (float)q;
        }
}

void qig_dequantize_row(const qig_tensor *w, int64_t row, float *out) {
    const uint8_t *p = (const uint8_t *)w->data + (size_t)row * w->row_bytes;
    if (w->type == QIG_F32) {
        memcpy(out, p, (size_t)w->ne0 * sizeof(float));
    } else if (w->type == QIG_F16) {
        for (int64_t i = 0; i < w->ne0; i++) {
            uint16_t h;
            memcpy(&h, p + 2 * i, sizeof h);
            out[i] = qig_half_to_float(h);
        }
    } else if (w->type == QIG_Q8_0) {
        const qig_block_q8_0 *b = (const qig_block_q8_0 *)p;
        for (int64_t i = 0; i < w->ne0; i++) out[i] = qig_half_to_float(b[i / QIG_BLOCK].d) * (float)b[i / QIG_BLOCK].qs[i % QIG_BLOCK];
    } else if (w->type == QIG_Q6_K) {
        dequantize_q6_k((const qig_block_q6_k *)p, w->ne0 / 256, out);
    } else if (w->type == QIG_Q4_1) {
        const qig_block_q4_1 *b = (const qig_block_q4_1 *)p;
        for (int64_t i = 0; i < w->ne0; i++) {
            int j = (int)(i % QIG_BLOCK), byte = b[i / QIG_BLOCK].qs[j % 16];
            out[i] = qig_half_to_float(b[i / QIG_BLOCK].d) * (float)(j < 16 ? byte & 15 : byte >> 4) + qig_half_to_float(b[i / QIG_BLOCK].m);
        }
    } else {
        const qig_block_q4_0 *b = (const qig_block_q4_0 *)p;
        for (int64_t i = 0; i < w->ne0; i++) {
            int j = (int)(i % QIG_BLOCK), byte = b[i / QIG_BLOCK].qs[j % 16];
            out[i] = qig_half_to_float(b[i / QIG_BLOCK].d) * (float)((j < 16 ? byte & 15 : byte >> 4) - 8);
        }
    }
}

void qig_product(const qig_session *s, const qig_tensor *w, const float *x, const qig_block_a8 *xq, size_t x_width, float *y, size_t y_width,
                 int lo, int hi, int n) {
    const qig_ops *ops = s->model->ops;
    if (lo >= hi) return;
    qig_matmul_fn *const of_type[QIG_N_TYPES] = { [QIG_F32] = ops->matmul_f32, [QIG_F16] = ops->matmul_f16, [QIG_Q4_0] = ops->matmul_q4_0,
                                                  [QIG_Q4_1] = ops->matmul_q4_1, [QIG_Q8_0] = ops->matmul_q8_0, [QIG_Q6_K] = ops->matmul_q6_k };
    qig_matmul_fn *f = of_type[w->type];
    if (qig_quantized(w))
        f(w->data, w->row_bytes, xq, x_width / QIG_BLOCK * sizeof(qig_block_a8), y, y_width, (int)w->ne0, lo, hi, n);
    else
        f(w->data, w->row_bytes, x, x_width * sizeof(float), y, y_width, (int)w->ne0, lo, hi, n);
}

/* The state x of a token as a product takes it, to out [D]: normed, with the mean taken off where the model does that, or as it is where no norm
 * stands there. */
static void norm_row(const pass *a, const float *x, float *out) {
    const qig_model *m = a->s->model;
    const int d = m->d_model;
    if (!a->gain->data) {
        memcpy(out, x, (size_t)d * sizeof *out);
        return;
    }
    if (!m->jarvis) {
        m->ops->rmsnorm(x, a->gain->data, out, d, m->norm_eps);
        return;
    }
    double sum = 0;
    for (int i = 0; i < d; i++) sum += (double)x[i];
    const float mean = (float)(sum / d);
    for (int i = 0; i < d; i++) out[i] = x[i] - mean;
    m->ops->rmsnorm(out, a->gain->data, out, d, m->norm_eps);
    m->ops->add(out, a->bias->data, d);
}

void qig_norm_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const qig_model *m = s->model;
    for (int k = a->first + lo; k < a->first + hi; k++) {
        float *out = s->norm + (size_t)k * s->norm_width;
        norm_row(a, s->x + (size_t)a->list[k] * (size_t)m->d_model, out);
        if (a->quantize) m->ops->quantize_a8(out, s->norm_q + (size_t)k * (s->norm_width / QIG_BLOCK), m->d_model);
    }
}

void qig_read_out_rows(pass *a, int lo, int hi, int thread) {
    qig_session *s = a->s;
    const qig_model *m = s->model;
    const qig_tensor *roles = &m->depth.symmetry;
    const size_t d = (size_t)m->d_model;
    if (!roles->data) {
        qig_norm_rows(a, lo, hi, thread);
        return;
    }
    float *left = s->scratch + (size_t)thread * s->scratch_width;
    for (int k = a->first + lo; k < a->first + hi; k++) {
        const float *x = s->x + (size_t)a->list[k] * d;
        float *out = s->norm + (size_t)k * s->norm_width;
        memcpy(left, x, d * sizeof(float));
        for (int64_t r = 0; r < roles->ne1; r++) {
            const float *w = (const float *)roles->data + (size_t)r * d, along = m->ops->dot(w, x, (int)d);
            for (size_t i = 0; i < d; i++) left[i] -= along * w[i];
        }
        m->ops->rmsnorm(left, a->gain->data, out, m->d_model, m->norm_eps);
        if (a->quantize) m->ops->quantize_a8(out, s->norm_q + (size_t)k * (s->norm_width / QIG_BLOCK), m->d_model);
    }
}

void qig_settle_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const qig_model *m = s->model;
    const size_t d = (size_t)m->d_model, heads = (size_t)m->n_heads;
    const int group = m->n_heads / m->n_kv_heads;
    const uint64_t entry = s->cache_i8 ? 1 : sizeof(float), scale = s->cache_i8 ? sizeof(float) : 0;
    const uint64_t sketch = qig_sketch_words(m->state_dim) * sizeof(uint32_t) / QIG_SKETCH_BLOCK;
    for (int k = lo; k < hi; k++) {
        const uint64_t visible = (uint64_t)a->ran0 + (uint64_t)k + 1;
        const size_t token = (size_t)s->alive[k];
        qig_token_sums *sums = &s->sums[token];
        for (int g = 0; g < m->n_kv_heads; g++) {
            uint64_t wanted = 0, read = 0, sketched = 0, reached = 0;
            for (int h = g * group; h < (g + 1) * group; h++) {
                size_t at = (size_t)k * heads + (size_t)h;
                sums->phi += s->head_phi[at];
                const qig_sift_reads *reads = &s->head_reads[at];
                wanted += (uint64_t)s->head_active[at];
                read += (uint64_t)reads->read;
                sketched += (uint64_t)reads->sketched;
                reached = (uint64_t)reads->reached > reached ? (uint64_t)reads->reached : reached;
            }
            sums->active += wanted;
            if (wanted > visible) wanted = visible;
            if (read > reached) read = reached; /* all heads go from the newest key back */
            if (sketched > reached) sketched = reached;
            sums->reads.keys_seen += visible;
            sums->reads.keys_sketched += sketched;
            sums->reads.sketch_bytes += sketched * sketch;
            sums->reads.keys_read += read;
            sums->reads.values_read += wanted;
            sums->cache_bytes += sketched * sketch + read * ((uint64_t)m->state_dim * entry + scale) + wanted * ((uint64_t)m->head_dim * entry + scale);
        }
        sums->possible += visible * heads;
        sums->angle = qig_angle(s->x_in + (size_t)k * d, s->x + token * d, m->d_model);
        sums->curvature += sums->angle;
        sums->blocks++;
    }
}

void qig_settle(pass *a) {
    if (!a->settled) qig_phase(a, qig_settle_rows, a->alive, 1);
    a->settled = 1;
}

void qig_charge(pass *a, uint64_t bytes) {
    const double share = (double)bytes / a->rows;
    a->work += (double)bytes * (a->n > QIG_DECODE_TOKENS ? a->rows : 1);
    for (int32_t k = a->first; k < a->first + a->rows; k++) a->s->sums[a->list[k]].weight_bytes += share;
}
