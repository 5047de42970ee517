/* forward.c - the forward pass of docs/formats.md over the tokens of one pass, on all threads of the session's pool.
 *
 * The calling thread goes through the phases; each phase is a range of rows, tokens or heads, handed out in pieces. Each number is computed by one
 * thread in an order that depends on neither the pieces nor the number of tokens in the pass, so that prefill, decode and any number of
 * threads give the same floats.
 */
#include "session.h"

#include <math.h>
#include <string.h>

/* Boundaries of row ranges: whole quantization blocks, and a multiple of every kernel's tile. */
enum { BLOCK = 32, PIECES = 4 /* a thread and phase: one that comes late finds work done, not work waiting */ };

/* One pass, and the phase that it is in. */
typedef struct pass pass;
typedef void phase_fn(pass *a, int lo, int hi, int thread);
struct pass {
    qig_session *s;
    const qig_layer *layer;
    int32_t l, pos0, n; /* block; position of the first token; tokens */
    int32_t row0;       /* head: first row of the readouts */
    float *out;         /* head: logits [n, V] */
    const qig_tensor *gain; /* norm: its gains, and whether the result is wanted quantized */
    int quantize;
    phase_fn *fn;
    int total, piece;
};

static void run_piece(void *arg, int item, int thread) {
    pass *a = arg;
    const int lo = item * a->piece, hi = a->total - lo < a->piece ? a->total : lo + a->piece;
    a->fn(a, lo, hi, thread);
}

/* fn over [0, total), in pieces of a multiple of unit. */
static void phase(pass *a, phase_fn *fn, int total, int unit) {
    const int threads = a->s->n_threads, wanted = threads > 1 ? threads * PIECES : 1;
    a->fn = fn;
    a->total = total;
    a->piece = ((total + wanted - 1) / wanted + unit - 1) / unit * unit;
    qig_pool_run(a->s->pool, run_piece, a, (total + a->piece - 1) / a->piece);
}

static int quantized(const qig_tensor *w) { return w->type == QIG_Q4_0 || w->type == QIG_Q8_0; }

static void dequantize_row(const qig_tensor *w, int64_t row, float *out) {
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
        for (int64_t i = 0; i < w->ne0; i++) out[i] = qig_half_to_float(b[i / BLOCK].d) * (float)b[i / BLOCK].qs[i % BLOCK];
    } else {
        const qig_block_q4_0 *b = (const qig_block_q4_0 *)p;
        for (int64_t i = 0; i < w->ne0; i++) {
            int j = (int)(i % BLOCK), byte = b[i / BLOCK].qs[j % 16];
            out[i] = qig_half_to_float(b[i / BLOCK].d) * (float)((j < 16 ? byte & 15 : byte >> 4) - 8);
        }
    }
}

/* Rows [lo, hi) of y = W x for n columns. x, xq: the same input as floats and quantized, with strides in values. */
static void product(const qig_session *s, const qig_tensor *w, const float *x, const qig_block_a8 *xq, size_t x_width, float *y,
                    size_t y_width, int lo, int hi, int n) {
    const qig_ops *ops = s->model->ops;
    if (lo >= hi) return;
    qig_matmul_fn *f = w->type == QIG_Q4_0 ? ops->matmul_q4_0 : w->type == QIG_Q8_0 ? ops->matmul_q8_0 : w->type == QIG_F16 ? ops->matmul_f16 : ops->matmul_f32;
    if (quantized(w))
        f(w->data, w->row_bytes, xq, x_width / BLOCK * sizeof(qig_block_a8), y, y_width, (int)w->ne0, lo, hi, n);
    else
        f(w->data, w->row_bytes, x, x_width * sizeof(float), y, y_width, (int)w->ne0, lo, hi, n);
}

/* cos and sin of a position's angles, in float64 until they are rounded. */
static void turn_of(const qig_session *s, int32_t pos, float *turn) {
    const qig_model *m = s->model;
    if (m->state == QIG_STATE_DIAGONAL && !m->state_phases) return;
    int n = m->state_dim / 2;
    for (int c = 0; c < n; c++) {
        double a = pos * s->frequency[c];
        turn[c] = (float)cos(a);
        turn[n + c] = (float)sin(a);
    }
}

/* phi [S] of one query or key vector [C]; gain: of the diagonal state. */
static void state_of(const qig_model *m, const float *vec, float gain, const float *turn, float *phi) {
    const int c = m->head_dim;
    if (m->state == QIG_STATE_PURE) {
        const int half = c / 2;
        float inv = 1.0f / sqrtf(m->ops->dot(vec, vec, c) + 1e-12f);
        for (int i = 0; i < half; i++) {
            float a = vec[i] * inv, b = vec[i + half] * inv;
            phi[i] = a * turn[i] - b * turn[half + i];
            phi[i + half] = a * turn[half + i] + b * turn[i];
        }
        return;
    }
    float top = -INFINITY, sum = 0;
    for (int i = 0; i < c; i++) {
        phi[i] = gain * vec[i];
        top = phi[i] > top ? phi[i] : top;
    }
    for (int i = 0; i < c; i++) {
        phi[i] = expf(phi[i] - top);
        sum += phi[i];
    }
    float inv = 1.0f / sum;
    for (int i = 0; i < c; i++) {
        float amplitude = sqrtf(phi[i] * inv);
        phi[i] = amplitude;
        if (m->state_phases) {
            phi[i] = amplitude * turn[i];
            phi[c + i] = amplitude * turn[c + i];
        }
    }
}

/* Number u of the H + G states of token i: a query state, or a key state with its value, into the cache. */
static void make_state(qig_session *s, int32_t l, int32_t pos0, int i, int u, float *phi) {
    const qig_model *m = s->model;
    const qig_layer *layer = &m->layers[l];
    const size_t c = (size_t)m->head_dim, sd = (size_t)m->state_dim, heads = (size_t)m->n_heads, groups = (size_t)m->n_kv_heads;
    const float *row = s->wide + (size_t)i * s->wide_width, *turn = s->turn + (size_t)i * sd;
    const int diagonal = m->state == QIG_STATE_DIAGONAL;
    if ((size_t)u < heads) {
        size_t at = (size_t)i * heads + (size_t)u;
        float gain = diagonal ? ((const float *)layer->attn_q_gain.data)[u] : 0;
        float *dst = s->cache_i8 ? phi : (float *)s->query + at * sd;
        state_of(m, row + (size_t)u * c, gain, turn, dst);
        if (s->cache_i8) s->query_scale[at] = qig_quantize_i8(phi, (int8_t *)s->query + at * sd, (int)sd, 1);
        return;
    }
    size_t g = (size_t)u - heads, at = ((size_t)l * groups + g) * (size_t)s->n_ctx + (size_t)(pos0 + i);
    const float *key = row + (heads + g) * c, *value = row + (heads + groups + g) * c;
    float gain = diagonal ? ((const float *)layer->attn_k_gain.data)[g] : 0;
    if (s->cache_i8) {
        state_of(m, key, gain, turn, phi);
        s->key_scales[at] = qig_quantize_i8(phi, (int8_t *)s->keys + at * sd, (int)sd, 1);
        s->value_scales[at] = qig_quantize_i8(value, (int8_t *)s->values + at * c, (int)c, 0);
    } else {
        state_of(m, key, gain, turn, (float *)s->keys + at * sd);
        memcpy((float *)s->values + at * c, value, c * sizeof(float));
    }
}

/* Attention of head h of token i over positions 0 .. pos0 + i. o: [n_ctx] scratch. */
static void attend(qig_session *s, int32_t l, int32_t pos0, int i, int h, float *o) {
    const qig_model *m = s->model;
    const size_t c = (size_t)m->head_dim, sd = (size_t)m->state_dim;
    const int n = pos0 + i + 1;
    const size_t first = ((size_t)l * (size_t)m->n_kv_heads + (size_t)(h / (m->n_heads / m->n_kv_heads))) * (size_t)s->n_ctx;
    const size_t at = (size_t)i * (size_t)m->n_heads + (size_t)h;
    float *out = s->mixed + at * c, sum, sum2;
    const qig_score_params params = {
        .metric = m->metric,
        .scale = s->coupling[i] / ((const float *)m->layers[l].attn_temp.data)[h],
        .slope = m->decay_slopes ? m->decay_slopes[h] : 0,
        .max_distance = s->max_distance,
        .margin = s->margin,
    };
    if (s->cache_i8)
        m->ops->overlap_i8((const int8_t *)s->query + at * sd, s->query_scale[at], (const int8_t *)s->keys + first * sd, sd, s->key_scales + first, (int)sd, n, o);
    else
        m->ops->overlap_f32((const float *)s->query + at * sd, (const float *)s->keys + first * sd, sd, (int)sd, n, o);
    s->head_active[at] = m->ops->score(o, n, &params, &sum, &sum2);
    if (s->cache_i8)
        m->ops->mix_i8(o, (const int8_t *)s->values + first * c, c, s->value_scales + first, (int)c, n, out);
    else
        m->ops->mix_f32(o, (const float *)s->values + first * c, c, (int)c, n, out);
    const float inv = 1.0f / sum;
    for (size_t k = 0; k < c; k++) out[k] *= inv;
    double phi = n > 1 ? log((double)sum * (double)sum / (double)sum2) / log((double)n) : 0;
    s->head_phi[at] = (float)(phi < 0 ? 0 : phi > 1 ? 1 : phi); /* rounding of the sums alone leaves the range */
}

/* After a block: what attention noted and how far the block turned the state. */
static void add_up(qig_session *s, int32_t pos0, int i) {
    const qig_model *m = s->model;
    const size_t d = (size_t)m->d_model, heads = (size_t)m->n_heads;
    const int group = m->n_heads / m->n_kv_heads;
    const uint64_t visible = (uint64_t)pos0 + (uint64_t)i + 1;
    const uint64_t entry = s->cache_i8 ? 1 : sizeof(float), scale = s->cache_i8 ? sizeof(float) : 0;
    qig_token_sums *sums = &s->sums[i];
    for (int g = 0; g < m->n_kv_heads; g++) {
        uint64_t wanted = 0;
        for (int h = g * group; h < (g + 1) * group; h++) {
            size_t at = (size_t)i * heads + (size_t)h;
            sums->phi += s->head_phi[at];
            wanted += (uint64_t)s->head_active[at];
        }
        sums->active += wanted;
        if (wanted > visible) wanted = visible;
        sums->cache_bytes += visible * ((uint64_t)m->state_dim * entry + scale) + wanted * ((uint64_t)m->head_dim * entry + scale);
    }
    sums->curvature += qig_angle(s->x_in + (size_t)i * d, s->x + (size_t)i * d, m->d_model);
}

/* --- phases: ranges of tokens, rows of a matrix, states, (head, token) pairs ---------------------------------------------------------- */

static void embed_tokens(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const qig_model *m = s->model;
    for (int i = lo; i < hi; i++) {
        float *z = s->norm + (size_t)i * s->norm_width;
        dequantize_row(&m->token_embd, s->tokens[a->pos0 + i], z);
        if (quantized(&m->basin_proj)) m->ops->quantize_a8(z, s->norm_q + (size_t)i * (s->norm_width / BLOCK), m->basin_dim);
        turn_of(s, a->pos0 + i, s->turn + (size_t)i * (size_t)m->state_dim);
        s->coupling[i] = qig_coupling(m, (int64_t)a->pos0 + i + 1);
        s->sums[i] = (qig_token_sums){ 0 };
    }
}

static void project_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    product(s, &s->model->basin_proj, s->norm, s->norm_q, s->norm_width, s->x, (size_t)s->model->d_model, lo, hi, a->n);
}

/* x normed to `norm`. */
static void norm_tokens(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const qig_model *m = s->model;
    for (int i = lo; i < hi; i++) {
        float *out = s->norm + (size_t)i * s->norm_width;
        m->ops->rmsnorm(s->x + (size_t)i * (size_t)m->d_model, a->gain->data, out, m->d_model, m->norm_eps);
        if (a->quantize) m->ops->quantize_a8(out, s->norm_q + (size_t)i * (s->norm_width / BLOCK), m->d_model);
    }
}

static void begin_block(pass *a, int lo, int hi, int thread) {
    qig_session *s = a->s;
    const size_t d = (size_t)s->model->d_model;
    for (int i = lo; i < hi; i++) {
        if (a->l > 0) add_up(s, a->pos0, i);
        memcpy(s->x_in + (size_t)i * d, s->x + (size_t)i * d, d * sizeof(float));
    }
    norm_tokens(a, lo, hi, thread);
}

/* Rows of q, k and v, counted through. */
static void qkv_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const qig_tensor *parts[] = { &a->layer->attn_q, &a->layer->attn_k, &a->layer->attn_v };
    int first = 0;
    for (int k = 0; k < 3; k++) {
        const int rows = (int)parts[k]->ne1, from = lo > first ? lo - first : 0, to = hi - first < rows ? hi - first : rows;
        product(s, parts[k], s->norm, s->norm_q, s->norm_width, s->wide + first, s->wide_width, from, to, a->n);
        first += rows;
    }
}

static void make_states(pass *a, int lo, int hi, int thread) {
    qig_session *s = a->s;
    const int states = s->model->n_heads + s->model->n_kv_heads;
    float *scratch = s->scratch + (size_t)thread * s->scratch_width;
    for (int u = lo; u < hi; u++) make_state(s, a->l, a->pos0, u / states, u % states, scratch);
}

/* Head by head, because the tokens of one head read the same keys. */
static void attend_pairs(pass *a, int lo, int hi, int thread) {
    qig_session *s = a->s;
    float *scratch = s->scratch + (size_t)thread * s->scratch_width;
    for (int u = lo; u < hi; u++) attend(s, a->l, a->pos0, u % a->n, u / a->n, scratch);
}

static void quantize_mixed(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t width = (size_t)s->model->n_heads * (size_t)s->model->head_dim;
    for (int i = lo; i < hi; i++) s->model->ops->quantize_a8(s->mixed + (size_t)i * width, s->wide_q + (size_t)i * (width / BLOCK), (int)width);
}

/* x += the rows [lo, hi) of `norm` that a product left there. */
static void add_rows(pass *a, int lo, int hi) {
    qig_session *s = a->s;
    for (int i = 0; i < a->n; i++)
        s->model->ops->add(s->x + (size_t)i * (size_t)s->model->d_model + lo, s->norm + (size_t)i * s->norm_width + lo, hi - lo);
}

static void attention_output_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t width = (size_t)s->model->n_heads * (size_t)s->model->head_dim;
    product(s, &a->layer->attn_output, s->mixed, s->wide_q, width, s->norm, s->norm_width, lo, hi, a->n);
    add_rows(a, lo, hi);
}

/* Hidden units [lo, hi), lo on a block, up to the quantized input of the second product. */
static void hidden_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t hidden = (size_t)s->model->hidden_dim;
    product(s, &a->layer->ffn_up, s->norm, s->norm_q, s->norm_width, s->wide, hidden, lo, hi, a->n);
    for (int i = 0; i < a->n; i++) {
        float *row = s->wide + (size_t)i * hidden + lo;
        s->model->ops->relu2(row, hi - lo);
        if (quantized(&a->layer->ffn_down)) s->model->ops->quantize_a8(row, s->wide_q + (size_t)i * (hidden / BLOCK) + lo / BLOCK, hi - lo);
    }
}

static void feed_forward_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    product(s, &a->layer->ffn_down, s->wide, s->wide_q, (size_t)s->model->hidden_dim, s->norm, s->norm_width, lo, hi, a->n);
    add_rows(a, lo, hi);
}

/* The last block's sums, and the readouts. */
static void read_out(pass *a, int lo, int hi, int thread) {
    for (int i = lo; i < hi; i++) add_up(a->s, a->pos0, i);
    norm_tokens(a, lo, hi, thread);
}

/* The session's start, token by token: each sum builds on the one before it. */
static void add_early(qig_session *s, int32_t pos0, int32_t n) {
    const int d = s->model->d_model;
    for (int32_t i = 0; i < n && pos0 + i < QIG_EARLY; i++) {
        const float *y = s->norm + (size_t)i * s->norm_width;
        float *sum = s->early + (size_t)(pos0 + i) * (size_t)d, length = sqrtf(s->model->ops->dot(y, y, d));
        for (int k = 0; k < d; k++) sum[k] = (pos0 + i > 0 ? sum[k - d] : 0) + (length > 0 ? y[k] / length : 0);
    }
}

static void measure_drift(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t d = (size_t)s->model->d_model;
    for (int i = lo; i < hi; i++) {
        const int32_t pos = a->pos0 + i, last = pos < QIG_EARLY ? pos : QIG_EARLY - 1;
        s->sums[i].drift = pos == 0 ? 0 : sqrt(1 - qig_cosine(s->norm + (size_t)i * s->norm_width, s->early + (size_t)last * d, (int)d));
    }
}

static void head_down_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t row = (size_t)a->row0;
    product(s, &s->model->output_down, s->norm + row * s->norm_width, s->norm_q + row * (s->norm_width / BLOCK), s->norm_width, s->wide, (size_t)s->model->head_width, lo, hi, a->n);
}

static void quantize_head(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t inner = (size_t)s->model->head_width;
    for (int i = lo; i < hi; i++) s->model->ops->quantize_a8(s->wide + (size_t)i * inner, s->wide_q + (size_t)i * (inner / BLOCK), (int)inner);
}

static void vocab_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    product(s, &s->model->output, s->wide, s->wide_q, (size_t)s->model->head_width, a->out, (size_t)s->model->vocab_size, lo, hi, a->n);
}

static void sum_logits(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t vocab = (size_t)s->model->vocab_size;
    const int parts = qig_logit_parts(s->model->vocab_size);
    for (int u = lo; u < hi; u++) {
        size_t first = (size_t)(u % parts) * QIG_LOGIT_PART, left = vocab - first;
        qig_logits_part(a->out + (size_t)(u / parts) * vocab + first, (int)(left < QIG_LOGIT_PART ? left : QIG_LOGIT_PART), &s->parts[u]);
    }
}

/* --- the pass -------------------------------------------------------------------------------------------------------------------------- */

static void run_block(pass *a) {
    const qig_model *m = a->s->model;
    const qig_layer *y = a->layer;
    a->gain = &y->attn_norm;
    a->quantize = quantized(&y->attn_q) || quantized(&y->attn_k) || quantized(&y->attn_v);
    phase(a, begin_block, a->n, 1);
    phase(a, qkv_rows, (m->n_heads + 2 * m->n_kv_heads) * m->head_dim, BLOCK);
    phase(a, make_states, a->n * (m->n_heads + m->n_kv_heads), 1);
    phase(a, attend_pairs, a->n * m->n_heads, 1);
    if (quantized(&y->attn_output)) phase(a, quantize_mixed, a->n, 1);
    phase(a, attention_output_rows, m->d_model, BLOCK);
    a->gain = &y->ffn_norm;
    a->quantize = quantized(&y->ffn_up);
    phase(a, norm_tokens, a->n, 1);
    phase(a, hidden_rows, m->hidden_dim, BLOCK);
    phase(a, feed_forward_rows, m->d_model, BLOCK);
}

void qig_forward_blocks(qig_session *s, int32_t pos0, int32_t n) {
    const qig_model *m = s->model;
    pass a = { .s = s, .pos0 = pos0, .n = n };
    phase(&a, embed_tokens, n, 1);
    phase(&a, project_rows, m->d_model, BLOCK);
    for (a.l = 0; a.l < m->n_layers; a.l++) {
        a.layer = &m->layers[a.l];
        run_block(&a);
    }
    a.gain = &m->output_norm;
    a.quantize = quantized(&m->output_down);
    phase(&a, read_out, n, 1);
    add_early(s, pos0, n);
    phase(&a, measure_drift, n, 1);
}

void qig_forward_head(qig_session *s, int32_t row0, int32_t n, float *out) {
    const qig_model *m = s->model;
    pass a = { .s = s, .n = n, .row0 = row0, .out = out };
    phase(&a, head_down_rows, m->head_width, BLOCK);
    if (quantized(&m->output)) phase(&a, quantize_head, n, 1);
    phase(&a, vocab_rows, m->vocab_size, BLOCK);
    phase(&a, sum_logits, n * qig_logit_parts(m->vocab_size), 1);
}
