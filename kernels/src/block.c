/* block.c - one block on the tokens of a pass that still run: attention over the block's own cache, then the deep or the shallow feed-forward. */
#include "pass.h"

#include <math.h>
#include <string.h>

/* Columns of ffn_down_t that a piece takes at least: a narrower part of a row wastes the cache lines at its ends, and walks the whole list for it. */
enum { ROW_PART = 128 };

/* A dense query is kept 2^-64 times itself, which is exact: the overlap kernels hold what they give at 1, and no dot product of use is as large as 2^64. */
static const float DENSE_QUERY = 0x1p-64f, DENSE_SCORE = 0x1p64f;

/* A dense query or key vector [C], its pairs (2 i, 2 i + 1) turned. */
static void turn_pairs(int c, const float *vec, const float *turn, float *out) {
    for (int i = 0; i < c / 2; i++) {
        const float a = vec[2 * i], b = vec[2 * i + 1];
        out[2 * i] = a * turn[i] - b * turn[c / 2 + i];
        out[2 * i + 1] = a * turn[c / 2 + i] + b * turn[i];
    }
}

/* phi [S] of one query or key vector [C] (dense: the vector itself, turned); gain: of the diagonal state. */
static void state_of(const qig_model *m, const float *vec, float gain, const float *turn, float *phi) {
    const int c = m->head_dim;
    if (m->jarvis) {
        memcpy(phi, vec, (size_t)c * sizeof *phi);
        return;
    }
    if (m->dense) {
        turn_pairs(c, vec, turn, phi);
        return;
    }
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

/* Number u of the H + G states of row k: a query state, or a key state with its value, into the cache. */
static void make_state(pass *a, int k, int u, float *phi) {
    qig_session *s = a->s;
    const qig_model *m = s->model;
    const size_t c = (size_t)m->head_dim, sd = (size_t)m->state_dim, heads = (size_t)m->n_heads, groups = (size_t)m->n_kv_heads;
    const float *row = s->wide + (size_t)k * s->wide_width, *turn = s->turn + (size_t)a->list[k] * sd;
    const int diagonal = m->state == QIG_STATE_DIAGONAL;
    if ((size_t)u < heads) {
        size_t at = (size_t)k * heads + (size_t)u;
        float gain = diagonal ? ((const float *)a->layer->attn_q_gain.data)[u] : 0;
        float *dst = s->cache_i8 ? phi : (float *)s->query + at * sd;
        state_of(m, row + (size_t)u * c, gain, turn, dst);
        if (s->cache_i8) s->query_scale[at] = qig_quantize_i8(phi, (int8_t *)s->query + at * sd, (int)sd, !m->dense) * (m->dense ? DENSE_QUERY : 1);
        else for (size_t i = 0; m->dense && i < sd; i++) dst[i] *= DENSE_QUERY;
        return;
    }
    size_t g = (size_t)u - heads, at = ((size_t)a->l * groups + g) * (size_t)s->n_ctx + (size_t)(a->key0 + k);
    const float *key = row + (heads + g) * c, *value = row + (heads + groups + g) * c;
    float gain = diagonal ? ((const float *)a->layer->attn_k_gain.data)[g] : 0;
    if (s->cache_i8) {
        state_of(m, key, gain, turn, phi);
        s->key_scales[at] = qig_quantize_i8(phi, (int8_t *)s->keys + at * sd, (int)sd, !m->dense);
        if (s->sketched)
            qig_sketch_key((const int8_t *)s->keys + at * sd, s->key_scales[at], (int)sd, qig_layer_sketch(s, a->l, (int32_t)g), a->key0 + k);
        s->value_scales[at] = qig_quantize_i8(value, (int8_t *)s->values + at * c, (int)c, 0);
    } else {
        state_of(m, key, gain, turn, (float *)s->keys + at * sd);
        memcpy((float *)s->values + at * c, value, c * sizeof(float));
    }
}

/* The overlaps of a query with the n keys of an int8 cache, to o, or where keys may be left out those of the last m. Puts the numbers of the
 * keys that came and their positions behind o [n_ctx]. */
static int find_keys(pass *a, const qig_sift_keys *in, qig_score_params *params, float *o, const int32_t **numbers, qig_sift_reads *reads) {
    const qig_session *s = a->s;
    const int n = in->n;
    if (!s->sketched || !qig_sifts(s->margin, params->slope, n)) {
        s->model->ops->overlap_i8(in->q, in->qs, in->k, in->k_stride, in->ks, in->c, n, o);
        *reads = (qig_sift_reads){ .reached = n, .read = n };
        return n;
    }
    int32_t *rows = (int32_t *)(void *)(o + s->n_ctx), *positions = rows + s->n_ctx;
    const int m = s->model->ops->sift_i8(in, params, o, rows, reads);
    *numbers = rows + n - m;
    if (params->positions) {
        for (int j = n - m; j < n; j++) positions[j] = params->positions[rows[j]];
        params->positions = positions + n - m;
    } else {
        params->positions = *numbers;
        params->position = n - 1;
    }
    return m;
}

/* n overlaps, or dense n dot products, to unnormalised weights; returns the pairs let through. */
static int weigh(const qig_model *m, float *o, int n, const qig_score_params *params, float *sum, float *sum2) {
    if (!m->dense) return m->ops->score(o, n, params, sum, sum2);
    m->ops->softmax(o, n, params->scale, sum, sum2);
    return n;
}

/* Attention of head h of row k over the block's keys up to its own. o: scratch. */
static void attend(pass *a, int k, int h, float *o) {
    qig_session *s = a->s;
    const qig_model *m = s->model;
    const size_t c = (size_t)m->head_dim, sd = (size_t)m->state_dim;
    const int n = a->key0 + k + 1, g = h / (m->n_heads / m->n_kv_heads), table = a->l < m->n_layers ? a->l : m->n_layers;
    const size_t first = ((size_t)a->l * (size_t)m->n_kv_heads + (size_t)g) * (size_t)s->n_ctx;
    const size_t at = (size_t)k * (size_t)m->n_heads + (size_t)h;
    float *out = s->mixed + at * c, sum, sum2;
    qig_score_params params = {
        .metric = m->metric,
        .scale = m->dense ? DENSE_SCORE / sqrtf((float)c) : s->coupling[a->list[k]] / ((const float *)a->layer->attn_temp.data)[h],
        .slope = m->decay_slopes ? m->decay_slopes[h] : 0,
        .max_distance = s->max_distance[(size_t)table * (size_t)m->n_heads + (size_t)h],
        .margin = s->margin,
        .positions = qig_layer_positions(s, a->l),
        .position = a->pos0 + a->list[k],
    };
    if (s->cache_i8) {
        const qig_sift_keys in = {
            .q = (const int8_t *)s->query + at * sd,
            .qs = s->query_scale[at],
            .k = (const int8_t *)s->keys + first * sd,
            .k_stride = sd,
            .ks = s->key_scales + first,
            .sketch = s->sketched ? qig_layer_sketch(s, a->l, g) : NULL,
            .c = (int)sd,
            .n = n,
        };
        const int32_t *numbers = NULL;
        const int came = find_keys(a, &in, &params, o, &numbers, &s->head_reads[at]);
        o += n - came;
        s->head_active[at] = weigh(m, o, came, &params, &sum, &sum2);
        m->ops->mix_i8(o, numbers, (const int8_t *)s->values + first * c, c, s->value_scales + first, (int)c, came, out);
    } else {
        m->ops->overlap_f32((const float *)s->query + at * sd, (const float *)s->keys + first * sd, sd, (int)sd, n, o);
        s->head_reads[at] = (qig_sift_reads){ .reached = n, .read = n };
        s->head_active[at] = weigh(m, o, n, &params, &sum, &sum2);
        m->ops->mix_f32(o, (const float *)s->values + first * c, c, (int)c, n, out);
    }
    const float inv = 1.0f / sum;
    for (size_t i = 0; i < c; i++) out[i] *= inv;
    double phi = n > 1 ? log((double)sum * (double)sum / (double)sum2) / log((double)n) : 0;
    s->head_phi[at] = (float)(phi < 0 ? 0 : phi > 1 ? 1 : phi); /* rounding of the sums alone leaves the range */
}

/* --- phases ---------------------------------------------------------------------------------------------------------------------------- */

static void begin_block(pass *a, int lo, int hi, int thread) {
    qig_session *s = a->s;
    const size_t d = (size_t)s->model->d_model;
    if (!a->settled) qig_settle_rows(a, lo, hi, thread); /* the same rows as in the block before: where some stop, all are settled first */
    for (int k = lo; k < hi; k++) memcpy(s->x_in + (size_t)k * d, s->x + (size_t)a->list[k] * d, d * sizeof(float));
    qig_norm_rows(a, lo, hi, thread);
}

/* Rows of q, k and v, counted through. */
static void qkv_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const qig_tensor *parts[] = { &a->layer->attn_q, &a->layer->attn_k, &a->layer->attn_v };
    int first = 0;
    for (int i = 0; i < 3; i++) {
        const int rows = (int)parts[i]->ne1, from = lo > first ? lo - first : 0, to = hi - first < rows ? hi - first : rows;
        qig_product(s, parts[i], s->norm, s->norm_q, s->norm_width, s->wide + first, s->wide_width, from, to, a->rows);
        first += rows;
    }
}

static void make_states(pass *a, int lo, int hi, int thread) {
    qig_session *s = a->s;
    const int states = s->model->n_heads + s->model->n_kv_heads;
    float *scratch = s->scratch + (size_t)thread * s->scratch_width;
    for (int u = lo; u < hi; u++) make_state(a, u / states, u % states, scratch);
}

/* Head by head, because the tokens of one head read the same keys. */
static void attend_pairs(pass *a, int lo, int hi, int thread) {
    float *scratch = a->s->scratch + (size_t)thread * a->s->scratch_width;
    for (int u = lo; u < hi; u++) attend(a, u % a->rows, u / a->rows, scratch);
}

static void quantize_mixed(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t width = (size_t)s->model->n_heads * (size_t)s->model->head_dim;
    for (int k = lo; k < hi; k++) s->model->ops->quantize_a8(s->mixed + (size_t)k * width, s->wide_q + (size_t)k * (width / QIG_BLOCK), (int)width);
}

/* x += columns [lo, hi) of the rows of `norm` that a product left there. */
static void add_rows(pass *a, int lo, int hi) {
    qig_session *s = a->s;
    for (int k = a->first; k < a->first + a->rows; k++)
        s->model->ops->add(s->x + (size_t)a->list[k] * (size_t)s->model->d_model + lo, s->norm + (size_t)k * s->norm_width + lo, hi - lo);
}

static void attention_output_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t width = (size_t)s->model->n_heads * (size_t)s->model->head_dim;
    if (!a->layer->attn_output.data) {
        for (int k = a->first; k < a->first + a->rows; k++)
            s->model->ops->add(s->x + (size_t)a->list[k] * width + lo, s->mixed + (size_t)k * width + lo, hi - lo);
        return;
    }
    qig_product(s, &a->layer->attn_output, s->mixed, s->wide_q, width, s->norm, s->norm_width, lo, hi, a->rows);
    add_rows(a, lo, hi);
}

/* GELU in its tanh form, z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2 = z / (1 + exp(-u)), as x u / (1 + exp(-u)) with x = z / u. gate: scratch.
 * Beyond 8 it is z, or 0 below -8, to the last bit; u stays in range there. */
static void gelu(const qig_ops *ops, float *x, float *gate, int n) {
    for (int i = 0; i < n; i++) {
        const float z = x[i], t = z > 8 ? 8 : z < -8 ? -8 : z, slope = 1.59576912f * (1 + 0.044715f * t * t); /* 2 sqrt(2 / pi) */
        gate[i] = slope * t;
        x[i] = (z == t ? 1 : z / t) / slope;
    }
    ops->swiglu(x, gate, n);
}

/* Hidden units [lo, hi), lo on a block, up to the quantized input of the second product. */
static void hidden_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t hidden = (size_t)a->up->ne1, first = (size_t)a->first;
    const float *x = s->norm + first * s->norm_width;
    const qig_block_a8 *xq = s->norm_q + first * (s->norm_width / QIG_BLOCK);
    const qig_tensor *gate = &a->layer->ffn_gate;
    qig_product(s, a->up, x, xq, s->norm_width, s->wide, hidden, lo, hi, a->rows);
    if (gate->data) qig_product(s, gate, x, xq, s->norm_width, s->gate, hidden, lo, hi, a->rows);
    for (int k = 0; k < a->rows; k++) {
        float *row = s->wide + (size_t)k * hidden + lo;
        if (s->model->jarvis) gelu(s->model->ops, row, s->gate + (size_t)k * hidden + lo, hi - lo);
        else if (gate->data) s->model->ops->swiglu(row, s->gate + (size_t)k * hidden + lo, hi - lo);
        else s->model->ops->relu2(row, hi - lo);
        if (qig_quantized(a->down)) s->model->ops->quantize_a8(row, s->wide_q + (size_t)k * (hidden / QIG_BLOCK) + lo / QIG_BLOCK, hi - lo);
    }
}

static void feed_forward_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    qig_product(s, a->down, s->wide, s->wide_q, (size_t)a->up->ne1, s->norm + (size_t)a->first * s->norm_width, s->norm_width, lo, hi, a->rows);
    add_rows(a, lo, hi);
}

/* The hidden units of each row that are not 0 once rounded: numbers to s->units, values over the row itself. */
static void gather_units(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const int hidden = (int)a->up->ne1, rounded = qig_quantized(a->down);
    for (int k = lo; k < hi; k++) {
        float *row = s->wide + (size_t)k * (size_t)hidden;
        int32_t *units = s->units + (size_t)k * (size_t)hidden, n = 0;
        const qig_block_a8 *q = s->wide_q + (size_t)k * (size_t)(hidden / QIG_BLOCK);
        for (int32_t i = 0; i < hidden; i++) {
            const float v = rounded ? q[i / QIG_BLOCK].d * (float)q[i / QIG_BLOCK].qs[i % QIG_BLOCK] : row[i];
            units[n] = i;
            row[n] = v;
            n += v != 0;
        }
        s->n_units[k] = n;
    }
}

static void sum_unit_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const qig_ops *ops = s->model->ops;
    const qig_tensor *w = a->down;
    const size_t hidden = (size_t)a->up->ne1;
    qig_sum_rows_fn *f = w->type == QIG_Q4_0 ? ops->sum_rows_q4_0 : w->type == QIG_Q8_0 ? ops->sum_rows_q8_0 : w->type == QIG_F16 ? ops->sum_rows_f16 : ops->sum_rows_f32;
    for (int k = 0; k < a->rows; k++)
        f(w->data, w->row_bytes, s->units + (size_t)k * hidden, s->wide + (size_t)k * hidden, s->n_units[k], s->norm + (size_t)(a->first + k) * s->norm_width, lo, hi);
    add_rows(a, lo, hi);
}

/* --- the block ------------------------------------------------------------------------------------------------------------------------- */

static void attention(pass *a) {
    const qig_model *m = a->s->model;
    const qig_layer *y = a->layer;
    a->gain = &y->attn_norm;
    a->bias = &y->attn_norm_bias;
    a->quantize = qig_quantized(&y->attn_q) || qig_quantized(&y->attn_k) || qig_quantized(&y->attn_v);
    qig_phase(a, begin_block, a->rows, 1);
    a->settled = 1;
    qig_phase(a, qkv_rows, (m->n_heads + 2 * m->n_kv_heads) * m->head_dim, QIG_BLOCK);
    qig_phase(a, make_states, a->rows * (m->n_heads + m->n_kv_heads), 1);
    qig_phase(a, attend_pairs, a->rows * m->n_heads, 1);
    if (y->attn_output.data && qig_quantized(&y->attn_output)) qig_phase(a, quantize_mixed, a->rows, 1);
    qig_phase(a, attention_output_rows, m->d_model, QIG_BLOCK);
}

/* The second half of the block, by down or where that has no data by its transpose, for rows [first, first + rows) of the order, which are normed. */
static void feed_forward(pass *a, const qig_tensor *up, const qig_tensor *down, const qig_tensor *down_t, int32_t first, int32_t rows) {
    if (rows == 0) return;
    qig_rows(a, a->list, first, rows);
    a->up = up;
    a->down = down->data ? down : down_t;
    qig_phase(a, hidden_rows, (int)up->ne1, QIG_BLOCK);
    qig_charge(a, qig_tensor_bytes(up) + qig_tensor_bytes(&a->layer->ffn_gate) + qig_tensor_bytes(down));
    if (down->data) {
        qig_phase(a, feed_forward_rows, a->s->model->d_model, QIG_BLOCK);
        return;
    }
    qig_phase(a, gather_units, rows, 1);
    qig_phase(a, sum_unit_rows, a->s->model->d_model, ROW_PART);
    for (int32_t k = 0; k < rows; k++) {
        const double bytes = (double)a->s->n_units[k] * (double)down_t->row_bytes;
        a->s->sums[a->list[first + k]].weight_bytes += bytes;
        a->work += bytes;
    }
}

double qig_row_phi(const qig_session *s, int32_t k) {
    const int heads = s->model->n_heads;
    double sum = 0;
    for (int h = 0; h < heads; h++) sum += s->head_phi[(size_t)k * (size_t)heads + (size_t)h];
    return sum / heads;
}

/* The tokens that still run, those for the deep feed-forward first, to s->order; returns how many those are. */
static int32_t route(pass *a) {
    qig_session *s = a->s;
    const float *rule = a->layer->ffn_route.data;
    int32_t deep = 0, shallow = 0;
    for (int32_t k = 0; k < a->alive; k++) {
        const int32_t token = s->alive[k];
        if (s->sums[token].angle + (double)rule[0] * qig_row_phi(s, k) >= (double)rule[1]) s->order[deep++] = token;
        else s->order[s->n_batch + shallow++] = token;
    }
    memcpy(s->order + deep, s->order + s->n_batch, (size_t)shallow * sizeof *s->order);
    return deep;
}

void qig_block_run(pass *a, int32_t l) {
    qig_session *s = a->s;
    const qig_model *m = s->model;
    const qig_layer *y = l < m->n_layers ? &m->layers[l] : &m->depth.integrator;
    const int routed = y->ffn_route.data != NULL;
    int32_t *positions = qig_layer_positions(s, l);
    a->layer = y;
    a->l = l;
    a->key0 = s->counts[l];
    for (int32_t k = 0; positions && k < a->alive; k++) positions[a->key0 + k] = a->pos0 + s->alive[k];
    qig_rows(a, s->alive, 0, a->alive);
    attention(a);
    qig_charge(a, s->block_bytes[l < m->n_layers ? l : m->n_layers]);
    const int32_t deep = routed ? route(a) : a->alive;
    qig_rows(a, routed ? s->order : s->alive, 0, a->alive);
    a->gain = &y->ffn_norm;
    a->bias = &y->ffn_norm_bias;
    a->quantize = qig_quantized(&y->ffn_up) || qig_quantized(&y->ffn_gate) || (routed && qig_quantized(&y->ffn_shallow_up));
    qig_phase(a, qig_norm_rows, a->rows, 1);
    feed_forward(a, &y->ffn_up, &y->ffn_down, &y->ffn_down_t, 0, deep);
    feed_forward(a, &y->ffn_shallow_up, &y->ffn_shallow_down, NULL, deep, a->alive - deep);
    s->counts[l] += a->alive;
    a->ran0 = a->key0;
    a->settled = 0;
}
