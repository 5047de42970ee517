/* draft.c - the draft of docs/formats.md (Speculation): what it makes of the token at a position, without running a block for it.
 *
 *   u = [n(e_(t-1)); ..; n(e_(t-lag+1)); n(s_(t-lag))],   z = e_t + draft_input u,   z += draft_down relu(draft_up rmsnorm(z))^2
 *
 * Embeddings e and final states s of the last positions are kept as the passes leave them (forward.c); before the text they are 0.
 */
#include "pass.h"

#include <string.h>

static void input_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    const qig_draft *d = &a->s->model->draft;
    qig_speculation *p = &a->s->spec;
    qig_product(a->s, &d->input, p->input, p->input_q, (size_t)d->input.ne0, p->z, 0, lo, hi, 1);
}

static void up_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    const qig_draft *d = &a->s->model->draft;
    qig_speculation *p = &a->s->spec;
    qig_product(a->s, &d->up, p->input, p->input_q, (size_t)d->up.ne0, p->hidden, 0, lo, hi, 1);
}

static void down_rows(pass *a, int lo, int hi, int thread) {
    (void)thread;
    const qig_draft *d = &a->s->model->draft;
    qig_speculation *p = &a->s->spec;
    qig_product(a->s, &d->down, p->hidden, p->hidden_q, (size_t)d->down.ne0, p->input, 0, lo, hi, 1);
}

const float *qig_recent(const qig_session *s, const float *ring, int32_t pos) {
    return ring + (size_t)(pos % QIG_RECENT) * (size_t)s->model->d_model;
}

/* n(x) of what stands in the ring at pos, 0 before the text. */
static void unit(const qig_session *s, const float *ring, int32_t pos, float *out) {
    const qig_model *m = s->model;
    if (pos < 0) memset(out, 0, (size_t)m->d_model * sizeof *out);
    else m->ops->rmsnorm(qig_recent(s, ring, pos), s->spec.ones, out, m->d_model, m->norm_eps);
}

void qig_draft_look(qig_session *s, int32_t pos, int32_t row) {
    const qig_model *m = s->model;
    const qig_draft *d = &m->draft;
    qig_speculation *p = &s->spec;
    const int width = m->d_model, hidden = d->hidden;
    pass a = { .s = s };
    for (int32_t i = 1; i < d->lag; i++) unit(s, p->embedded, pos - i, p->input + (size_t)(i - 1) * (size_t)width);
    unit(s, p->states, pos - d->lag, p->input + (size_t)(d->lag - 1) * (size_t)width);
    if (qig_quantized(&d->input)) m->ops->quantize_a8(p->input, p->input_q, (int)d->input.ne0);
    qig_phase(&a, input_rows, width, QIG_BLOCK);
    m->ops->add(p->z, qig_recent(s, p->embedded, pos), width);
    m->ops->rmsnorm(p->z, d->norm.data, p->input, width, m->norm_eps);
    if (qig_quantized(&d->up)) m->ops->quantize_a8(p->input, p->input_q, width);
    qig_phase(&a, up_rows, hidden, QIG_BLOCK);
    m->ops->relu2(p->hidden, hidden);
    if (qig_quantized(&d->down)) m->ops->quantize_a8(p->hidden, p->hidden_q, hidden);
    qig_phase(&a, down_rows, width, QIG_BLOCK);
    m->ops->add(p->z, p->input, width);
    float *out = s->norm + (size_t)row * s->norm_width;
    m->ops->rmsnorm(p->z, d->output_norm.data, out, width, m->norm_eps);
    if (qig_quantized(qig_head_reads(m))) m->ops->quantize_a8(out, s->norm_q + (size_t)row * (s->norm_width / QIG_BLOCK), width);
}
