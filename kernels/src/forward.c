/* forward.c - the forward pass of docs/formats.md over the tokens of one pass, on all threads of the session's pool.
 *
 * Every thread runs the whole of a job; phases end at barriers. A matrix product is divided by output rows, everything that belongs to one
 * token by tokens, attention by (token, head). Each number is computed by one thread in an order that depends on neither the division nor
 * the number of tokens in the pass, so that prefill, decode and any number of threads give the same floats.
 */
#include "session.h"

#include <math.h>
#include <string.h>

/* Boundaries of row ranges: a multiple of every kernel's tile; hidden units go by whole quantization blocks. */
enum { ROW_UNIT = 8, BLOCK = 32 };

typedef struct { qig_session *s; int32_t pos0, n; } blocks_arg;
typedef struct { qig_session *s; int32_t row0, n; float *out; } head_arg;

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

/* The same for this thread's share of the rows. */
static void product_share(const qig_session *s, const qig_tensor *w, const float *x, const qig_block_a8 *xq, size_t x_width, float *y,
                          size_t y_width, int n, int t, int nt) {
    int lo, hi;
    qig_split(w->ne1, ROW_UNIT, t, nt, &lo, &hi);
    product(s, w, x, xq, x_width, y, y_width, lo, hi, n);
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

/* rmsnorm of row `row` of x to row i of `norm`, quantized too where a product wants that. */
static void normalize(qig_session *s, int row, int i, const qig_tensor *gain, int quantize) {
    const qig_model *m = s->model;
    float *out = s->norm + (size_t)i * s->norm_width;
    m->ops->rmsnorm(s->x + (size_t)row * (size_t)m->d_model, gain->data, out, m->d_model, m->norm_eps);
    if (quantize) m->ops->quantize_a8(out, s->norm_q + (size_t)i * (s->norm_width / BLOCK), m->d_model);
}

/* x += the rows [lo, hi) of `norm` that a product left there. */
static void add_rows(qig_session *s, int lo, int hi, int n) {
    const qig_model *m = s->model;
    for (int i = 0; i < n && lo < hi; i++)
        m->ops->add(s->x + (size_t)i * (size_t)m->d_model + lo, s->norm + (size_t)i * s->norm_width + lo, hi - lo);
}

static void attention_half(qig_session *s, int32_t l, int32_t pos0, int n, int t, int nt) {
    const qig_model *m = s->model;
    const qig_layer *layer = &m->layers[l];
    const size_t width = (size_t)m->n_heads * (size_t)m->head_dim, kv_width = (size_t)m->n_kv_heads * (size_t)m->head_dim;
    float *scratch = s->scratch + (size_t)t * s->scratch_width;
    int lo, hi;

    product_share(s, &layer->attn_q, s->norm, s->norm_q, s->norm_width, s->wide, s->wide_width, n, t, nt);
    product_share(s, &layer->attn_k, s->norm, s->norm_q, s->norm_width, s->wide + width, s->wide_width, n, t, nt);
    product_share(s, &layer->attn_v, s->norm, s->norm_q, s->norm_width, s->wide + width + kv_width, s->wide_width, n, t, nt);
    qig_pool_barrier(s->pool);

    const int states = m->n_heads + m->n_kv_heads;
    qig_split((int64_t)n * states, 1, t, nt, &lo, &hi);
    for (int u = lo; u < hi; u++) make_state(s, l, pos0, u / states, u % states, scratch);
    qig_pool_barrier(s->pool);

    /* One token: heads are divided. Several: tokens, dealt round because later ones see more keys, head by head because they see the same. */
    if (n == 1) {
        qig_split(m->n_heads, 1, t, nt, &lo, &hi);
        for (int h = lo; h < hi; h++) attend(s, l, pos0, 0, h, scratch);
    } else {
        for (int h = 0; h < m->n_heads; h++)
            for (int i = t; i < n; i += nt) attend(s, l, pos0, i, h, scratch);
    }
    qig_pool_barrier(s->pool);

    if (quantized(&layer->attn_output)) {
        for (int i = t; i < n; i += nt)
            m->ops->quantize_a8(s->mixed + (size_t)i * width, s->wide_q + (size_t)i * (width / BLOCK), (int)width);
        qig_pool_barrier(s->pool);
    }
    qig_split(m->d_model, ROW_UNIT, t, nt, &lo, &hi);
    product(s, &layer->attn_output, s->mixed, s->wide_q, width, s->norm, s->norm_width, lo, hi, n);
    add_rows(s, lo, hi, n);
}

static void feed_forward_half(qig_session *s, int32_t l, int n, int t, int nt) {
    const qig_model *m = s->model;
    const qig_layer *layer = &m->layers[l];
    const size_t hidden = (size_t)m->hidden_dim;
    int lo, hi;
    qig_split(m->hidden_dim, BLOCK, t, nt, &lo, &hi);
    product(s, &layer->ffn_up, s->norm, s->norm_q, s->norm_width, s->wide, hidden, lo, hi, n);
    for (int i = 0; i < n && lo < hi; i++) {
        float *row = s->wide + (size_t)i * hidden;
        m->ops->relu2(row + lo, hi - lo);
        if (quantized(&layer->ffn_down)) m->ops->quantize_a8(row + lo, s->wide_q + (size_t)i * (hidden / BLOCK) + lo / BLOCK, hi - lo);
    }
    qig_pool_barrier(s->pool);
    qig_split(m->d_model, ROW_UNIT, t, nt, &lo, &hi);
    product(s, &layer->ffn_down, s->wide, s->wide_q, hidden, s->norm, s->norm_width, lo, hi, n);
    add_rows(s, lo, hi, n);
}

static void blocks_job(void *arg, int t, int nt) {
    const blocks_arg *a = arg;
    qig_session *s = a->s;
    const qig_model *m = s->model;
    const int n = a->n;
    for (int i = t; i < n; i += nt) {
        float *z = s->norm + (size_t)i * s->norm_width;
        dequantize_row(&m->token_embd, s->tokens[a->pos0 + i], z);
        if (quantized(&m->basin_proj)) m->ops->quantize_a8(z, s->norm_q + (size_t)i * (s->norm_width / BLOCK), m->basin_dim);
        turn_of(s, a->pos0 + i, s->turn + (size_t)i * (size_t)m->state_dim);
        s->coupling[i] = qig_coupling(m, (int64_t)a->pos0 + i + 1);
        s->sums[i] = (qig_token_sums){ 0 };
    }
    qig_pool_barrier(s->pool);
    product_share(s, &m->basin_proj, s->norm, s->norm_q, s->norm_width, s->x, (size_t)m->d_model, n, t, nt);

    for (int32_t l = 0; l < m->n_layers; l++) {
        const qig_layer *layer = &m->layers[l];
        qig_pool_barrier(s->pool);
        for (int i = t; i < n; i += nt) {
            if (l > 0) add_up(s, a->pos0, i);
            memcpy(s->x_in + (size_t)i * (size_t)m->d_model, s->x + (size_t)i * (size_t)m->d_model, (size_t)m->d_model * sizeof(float));
            normalize(s, i, i, &layer->attn_norm, quantized(&layer->attn_q) || quantized(&layer->attn_k) || quantized(&layer->attn_v));
        }
        qig_pool_barrier(s->pool);
        attention_half(s, l, a->pos0, n, t, nt);
        qig_pool_barrier(s->pool);
        for (int i = t; i < n; i += nt) normalize(s, i, i, &layer->ffn_norm, quantized(&layer->ffn_up));
        qig_pool_barrier(s->pool);
        feed_forward_half(s, l, n, t, nt);
    }
    qig_pool_barrier(s->pool);
    for (int i = t; i < n; i += nt) add_up(s, a->pos0, i);
}

static void head_job(void *arg, int t, int nt) {
    const head_arg *a = arg;
    qig_session *s = a->s;
    const qig_model *m = s->model;
    const int n = a->n, parts = qig_logit_parts(m->vocab_size);
    const size_t vocab = (size_t)m->vocab_size, inner = (size_t)m->head_width;
    int lo, hi;
    for (int i = t; i < n; i += nt) normalize(s, a->row0 + i, i, &m->output_norm, quantized(&m->output_down));
    qig_pool_barrier(s->pool);
    product_share(s, &m->output_down, s->norm, s->norm_q, s->norm_width, s->wide, inner, n, t, nt);
    qig_pool_barrier(s->pool);
    if (quantized(&m->output)) {
        for (int i = t; i < n; i += nt) m->ops->quantize_a8(s->wide + (size_t)i * inner, s->wide_q + (size_t)i * (inner / BLOCK), m->head_width);
        qig_pool_barrier(s->pool);
    }
    product_share(s, &m->output, s->wide, s->wide_q, inner, a->out, vocab, n, t, nt);
    qig_pool_barrier(s->pool);
    qig_split((int64_t)n * parts, 1, t, nt, &lo, &hi);
    for (int u = lo; u < hi; u++) {
        size_t first = (size_t)(u % parts) * QIG_LOGIT_PART, left = vocab - first;
        qig_logits_part(a->out + (size_t)(u / parts) * vocab + first, (int)(left < QIG_LOGIT_PART ? left : QIG_LOGIT_PART), &s->parts[u]);
    }
}

void qig_forward_blocks(qig_session *s, int32_t pos0, int32_t n) {
    blocks_arg arg = { s, pos0, n };
    qig_pool_run(s->pool, blocks_job, &arg);
}

void qig_forward_head(qig_session *s, int32_t row0, int32_t n, float *out) {
    head_arg arg = { s, row0, n, out };
    qig_pool_run(s->pool, head_job, &arg);
}
