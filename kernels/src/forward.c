/* forward.c - the forward pass of docs/formats.md over the tokens of one pass: which of them run which block, and the distributions after it. */
#include "pass.h"

#include <math.h>
#include <string.h>

#include "clock.h"
#include "depth.h"

/* cos and sin of a position's angles, in float64 until they are rounded. */
static void turn_of(const qig_session *s, int32_t pos, float *turn) {
    const qig_model *m = s->model;
    if (m->jarvis || (m->state == QIG_STATE_DIAGONAL && !m->state_phases)) return;
    int n = m->state_dim / 2;
    for (int c = 0; c < n; c++) {
        double a = pos * s->frequency[c];
        turn[c] = (float)cos(a);
        turn[n + c] = (float)sin(a);
    }
}

/* Adds sines and cosines of a position to an embedding, in float64 until they are rounded. */
static void add_position(const qig_model *m, int32_t pos, float *x) {
    for (int c = 0; c < m->d_model / 2; c++) {
        const double angle = pos * m->position_frequency[c];
        x[2 * c] += (float)sin(angle);
        x[2 * c + 1] += (float)cos(angle);
    }
}

static void embed_tokens(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const qig_model *m = s->model;
    for (int k = lo; k < hi; k++) {
        const int32_t i = a->list[k], token = s->tokens[a->pos0 + i];
        float *z = !m->basin_proj.data ? s->x + (size_t)i * (size_t)m->d_model : s->norm + (size_t)k * s->norm_width;
        qig_dequantize_row(&m->token_embd, token, z);
        if (m->token_scale.data) {
            const float scale = ((const float *)m->token_scale.data)[token];
            for (int64_t c = 0; c < m->token_embd.ne0; c++) z[c] *= scale;
        }
        if (m->jarvis) add_position(m, a->pos0 + i, z);
        if (qig_quantized(&m->basin_proj)) m->ops->quantize_a8(z, s->norm_q + (size_t)k * (s->norm_width / QIG_BLOCK), m->basin_dim);
        turn_of(s, a->pos0 + i, s->turn + (size_t)i * (size_t)m->state_dim);
        s->coupling[i] = qig_coupling(m, (int64_t)a->pos0 + i + 1);
        s->sums[i] = (qig_token_sums){ .regime = QIG_GEOMETRIC };
        s->alive[k] = i;
    }
}

static void project_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t d = (size_t)s->model->d_model;
    qig_product(s, &s->model->basin_proj, s->norm, s->norm_q, s->norm_width, s->x, d, lo, hi, a->rows);
}

/* The states x of the tokens, for drafts of later ones to look at. */
static void remember(const pass *a, float *ring) {
    const qig_session *s = a->s;
    const size_t d = (size_t)s->model->d_model;
    if (!s->model->draft.lag) return;
    for (int32_t i = a->n > QIG_RECENT ? a->n - QIG_RECENT : 0; i < a->n; i++)
        memcpy(ring + (size_t)((a->pos0 + i) % QIG_RECENT) * d, s->x + (size_t)i * d, d * sizeof *ring);
}

/* The states of the tokens before any block; they are those that run. */
static void embed(pass *a) {
    qig_rows(a, a->s->everyone, 0, a->n);
    qig_phase(a, embed_tokens, a->n, 1);
    if (a->s->model->basin_proj.data) qig_phase(a, project_rows, a->s->model->d_model, QIG_BLOCK);
    remember(a, a->s->spec.embedded);
}

/* --- who goes on ----------------------------------------------------------------------------------------------------------------------- */

/* After the mandatory blocks, which all tokens of the pass have run: each one's regime, and the coupling it has from here on. */
static void tell_regimes(pass *a) {
    qig_session *s = a->s;
    const qig_depth *x = &s->model->depth;
    qig_regime_memory memory = qig_regime_start(x);
    if (a->pos0 > 0) memory = (qig_regime_memory){ s->records[a->pos0 - 1].phi_mean, s->records[a->pos0 - 1].telemetry.regime };
    int32_t left = 0;
    for (int32_t i = 0; i < a->n; i++) {
        qig_token_sums *sums = &s->sums[i];
        if (a->pos0 + i > 0) memory = qig_regime_next(x, memory, sums->phi / ((double)x->mandatory * s->model->n_heads));
        sums->phi_mean = memory.mean;
        sums->regime = memory.regime;
        s->coupling[i] *= x->factor[memory.regime];
        if (qig_regime_goes_on(x, memory.regime, sums->angle)) s->alive[left++] = i;
    }
    a->alive = left;
}

/* The integrator's loops: a token leaves after the one whose phi is high enough. */
static void run_loops(pass *a) {
    qig_session *s = a->s;
    const qig_depth *x = &s->model->depth;
    for (int32_t j = 1; j <= x->max_loops && a->alive > 0; j++) {
        qig_block_run(a, s->model->n_layers + j - 1);
        if (j < x->min_loops || j == x->max_loops) continue;
        qig_settle(a);
        int32_t left = 0;
        for (int32_t k = 0; k < a->alive; k++)
            if (!(qig_row_phi(s, k) >= (double)x->min_phi)) s->alive[left++] = s->alive[k];
        a->alive = left;
    }
}

/* Who goes on after the first l blocks. */
static void decide(pass *a, int32_t l) {
    const qig_depth *x = &a->s->model->depth;
    if (x->regime && l == x->mandatory) {
        qig_settle(a);
        tell_regimes(a);
    }
    for (int32_t e = 0; e < x->n_exits && a->alive > 0; e++)
        if (x->exit_blocks[e] == l && qig_exit_looks(x, e)) {
            qig_settle(a);
            qig_exit_run(a, e);
        }
}

/* One block; timed while the thread count is being tried out. */
static void run_block(pass *a, int32_t l) {
    qig_thread_count *t = qig_pass_threads(a->s, a->n);
    if (qig_thread_count_stands(t)) {
        qig_block_run(a, l);
        return;
    }
    a->work = 0;
    const double start = qig_seconds();
    qig_block_run(a, l);
    qig_thread_count_took(t, qig_seconds() - start, a->work);
}

static void run_blocks(pass *a) {
    for (int32_t l = 0; a->alive > 0; l++) {
        if (l > 0) decide(a, l);
        if (l == a->s->model->n_layers || a->alive == 0) break;
        run_block(a, l);
    }
    run_loops(a);
}

/* --- readouts -------------------------------------------------------------------------------------------------------------------------- */

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
    const size_t first = (size_t)a->first;
    qig_product(s, &s->model->output_down, s->norm + first * s->norm_width, s->norm_q + first * (s->norm_width / QIG_BLOCK), s->norm_width, s->wide,
                (size_t)s->model->head_width, lo, hi, a->rows);
}

static void quantize_head(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t inner = (size_t)s->model->head_width;
    for (int i = lo; i < hi; i++) s->model->ops->quantize_a8(s->wide + (size_t)i * inner, s->wide_q + (size_t)i * (inner / QIG_BLOCK), (int)inner);
}

static void vocab_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const qig_model *m = s->model;
    const int whole = !m->output_down.data;
    const size_t first = (size_t)a->first, width = whole ? s->norm_width : (size_t)m->head_width;
    const float *x = whole ? s->norm + first * width : s->wide;
    const qig_block_a8 *xq = whole ? s->norm_q + first * (width / QIG_BLOCK) : s->wide_q;
    qig_product(s, &m->output, x, xq, width, a->out, (size_t)m->vocab_size, lo, hi, a->rows);
}

static void sum_logits(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t vocab = (size_t)s->model->vocab_size;
    const int parts = qig_logit_parts(s->model->vocab_size);
    for (int u = lo; u < hi; u++) {
        size_t first = (size_t)(u % parts) * QIG_LOGIT_PART, left = vocab - first;
        s->model->ops->logit_part(a->out + (size_t)(u / parts) * vocab + first, (int)(left < QIG_LOGIT_PART ? left : QIG_LOGIT_PART), &s->parts[u]);
    }
}

/* Logits of the first `words` words. */
static void head_words(pass *a, int32_t words) {
    const qig_model *m = a->s->model;
    if (m->output_down.data) {
        qig_phase(a, head_down_rows, m->head_width, QIG_BLOCK);
        if (qig_quantized(&m->output)) qig_phase(a, quantize_head, a->rows, 1);
    }
    qig_phase(a, vocab_rows, words, QIG_BLOCK);
}

void qig_head_rows(pass *a) {
    const qig_model *m = a->s->model;
    head_words(a, m->vocab_size);
    qig_phase(a, sum_logits, a->rows * qig_logit_parts(m->vocab_size), 1);
}

/* All tokens' readouts; where all ran the last block, its sums on the way. */
static void finish_rows(pass *a, int lo, int hi, int thread) {
    if (!a->settled) qig_settle_rows(a, lo, hi, thread);
    qig_read_out_rows(a, lo, hi, thread);
}

/* --- thread counts --------------------------------------------------------------------------------------------------------------------- */

/* Whether a trial is on. What another session of the model settled on ends the one of this session, which may have fewer threads. */
static int begin_trial(qig_session *s, int32_t n) {
    qig_thread_count *t = qig_pass_threads(s, n);
    if (qig_thread_count_stands(t)) return 0;
    const int settled = atomic_load(&s->model->threads[t - s->threads]);
    if (settled) qig_thread_count_set(t, settled < s->most_threads ? settled : s->most_threads);
    return !settled;
}

/* Tells the other sessions of the model; the first answer stays. */
static void end_trial(qig_session *s, int32_t n) {
    qig_thread_count *t = qig_pass_threads(s, n);
    int none = 0;
    if (qig_thread_count_stands(t)) atomic_compare_exchange_strong(&s->model->threads[t - s->threads], &none, t->count);
}

/* --- the pass -------------------------------------------------------------------------------------------------------------------------- */

void qig_forward_blocks(qig_session *s, int32_t pos0, int32_t n) {
    const qig_model *m = s->model;
    s->ready = NULL;
    pass a = { .s = s, .pos0 = pos0, .n = n, .alive = n, .settled = 1 };
    const int trial = begin_trial(s, n);
    embed(&a);
    run_blocks(&a);
    if (trial) end_trial(s, n);
    remember(&a, s->spec.states);
    if (a.alive < n) qig_settle(&a);
    a.gain = &m->output_norm;
    a.bias = &m->output_norm_bias;
    a.quantize = qig_quantized(qig_head_reads(m));
    qig_rows(&a, s->everyone, 0, n);
    qig_phase(&a, finish_rows, n, 1);
    qig_charge(&a, qig_tensor_bytes(&m->basin_proj) + s->readout_bytes);
    add_early(s, pos0, n);
    qig_phase(&a, measure_drift, n, 1);
}

void qig_forward_embed(qig_session *s, int32_t pos) {
    pass a = { .s = s, .pos0 = pos, .n = 1 };
    embed(&a);
}

void qig_forward_draft_head(qig_session *s, int32_t row, float *out) {
    pass a = { .s = s, .n = 1, .out = out };
    qig_rows(&a, s->everyone, row, 1);
    head_words(&a, s->model->draft.words);
}

void qig_forward_head(qig_session *s, int32_t row0, int32_t n, float *out) {
    pass a = { .s = s, .n = n, .out = out };
    qig_rows(&a, s->everyone, row0, n);
    qig_head_rows(&a);
}
