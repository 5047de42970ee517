/* exits.c - an exit on the tokens that still run: how far each one's predicted distribution moved, who stops, whose state collapses. */
#include "pass.h"

#include <math.h>
#include <string.h>

#include "depth.h"

static void probe_rows(pass *a, int lo, int hi, int thread) {
    qig_session *s = a->s;
    const int d = s->model->d_model;
    const float *probe = a->layer->exit_probe.data;
    qig_read_out_rows(a, lo, hi, thread);
    for (int k = lo; k < hi; k++) {
        const double distance = qig_sigmoid((double)s->model->ops->dot(probe, s->norm + (size_t)k * s->norm_width, d) + (double)probe[d]);
        s->exit_distance[k] = distance;
        s->exit_confidence[k] = 1 - distance;
    }
}

/* Parts of sum_v (sqrt p - sqrt p')^2 = 2 (1 - sum_v sqrt(p p')), which loses nothing where the two distributions are close. */
static void compare_parts(pass *a, int lo, int hi, int thread) {
    (void)thread;
    qig_session *s = a->s;
    const size_t vocab = (size_t)s->model->vocab_size;
    const int parts = qig_logit_parts(s->model->vocab_size);
    const float *now = s->exit_logits[a->exit & 1], *before = s->exit_logits[(a->exit + 1) & 1];
    for (int u = lo; u < hi; u++) {
        const int k = u / parts;
        const size_t first = (size_t)(u % parts) * QIG_LOGIT_PART, left = vocab - first, token = (size_t)a->list[k];
        s->exit_parts[u] = qig_logits_moved(now + (size_t)k * vocab + first, s->exit_lse[k], before + (size_t)s->exit_row[token] * vocab + first,
                                            s->exit_lse[(size_t)s->n_batch + token], (int)(left < QIG_LOGIT_PART ? left : QIG_LOGIT_PART));
    }
}

static void compare(pass *a) {
    qig_session *s = a->s;
    const int parts = qig_logit_parts(s->model->vocab_size);
    a->out = s->exit_logits[a->exit & 1];
    a->quantize = qig_quantized(qig_head_reads(s->model));
    qig_phase(a, qig_read_out_rows, a->rows, 1);
    qig_head_rows(a);
    for (int32_t k = 0; k < a->rows; k++) {
        qig_logit_stats stats = qig_logits_combine(s->parts + (size_t)k * (size_t)parts, parts);
        s->exit_lse[k] = stats.lse;
        s->exit_confidence[k] = stats.purity;
    }
    if (qig_exit_compares(&s->model->depth, a->exit)) {
        qig_phase(a, compare_parts, a->rows * parts, 1);
        for (int32_t k = 0; k < a->rows; k++) {
            double moved = 0;
            for (int i = 0; i < parts; i++) moved += s->exit_parts[(size_t)k * (size_t)parts + (size_t)i];
            s->exit_distance[k] = sqrt(moved / 2);
        }
    }
    for (int32_t k = 0; k < a->rows; k++) {
        s->exit_row[a->list[k]] = k;
        s->exit_lse[s->n_batch + a->list[k]] = s->exit_lse[k];
    }
}

/* x := U^T (U x) */
static void collapse_rows(pass *a, int lo, int hi, int thread) {
    qig_session *s = a->s;
    const qig_tensor *modes = &s->model->depth.modes;
    const size_t d = (size_t)s->model->d_model;
    float *sum = s->scratch + (size_t)thread * s->scratch_width;
    for (int k = lo; k < hi; k++) {
        float *x = s->x + (size_t)a->list[k] * d;
        memset(sum, 0, d * sizeof *sum);
        for (int64_t r = 0; r < modes->ne1; r++) {
            const float *u = (const float *)modes->data + (size_t)r * d, along = s->model->ops->dot(u, x, (int)d);
            for (size_t i = 0; i < d; i++) sum[i] += along * u[i];
        }
        memcpy(x, sum, d * sizeof *sum);
    }
}

void qig_exit_run(pass *a, int32_t e) {
    qig_session *s = a->s;
    const qig_model *m = s->model;
    const qig_depth *x = &m->depth;
    const int probe = x->exit_rule == QIG_EXIT_PROBE, compares = qig_exit_compares(x, e);
    a->exit = e;
    a->layer = &m->layers[x->exit_blocks[e] - 1];
    a->gain = &m->output_norm;
    qig_rows(a, s->alive, 0, a->alive);
    if (probe) {
        a->quantize = 0;
        qig_phase(a, probe_rows, a->rows, 1);
        qig_charge(a, s->readout_bytes + qig_tensor_bytes(&a->layer->exit_probe));
    } else {
        compare(a);
        qig_charge(a, s->readout_bytes + s->head_bytes);
    }
    int32_t left = 0, collapsed = 0;
    for (int32_t k = 0; k < a->alive; k++) {
        const int32_t token = s->alive[k];
        if (compares && s->exit_distance[k] < (double)x->exit_thresholds[e]) {
            if (!probe && a->n == 1) s->ready = a->out; /* the state stays as it is, so does what it predicts */
            continue;
        }
        if (x->collapse > 0) {
            const float *state = s->x + (size_t)token * (size_t)m->d_model;
            const double mass = (double)m->ops->dot(state, state, m->d_model) / m->d_model;
            if ((double)s->coupling[token] * mass * s->exit_confidence[k] > (double)x->collapse) {
                s->order[collapsed++] = token;
                continue;
            }
        }
        s->alive[left++] = token;
    }
    a->alive = left;
    if (collapsed == 0) return;
    qig_rows(a, s->order, 0, collapsed);
    qig_phase(a, collapse_rows, collapsed, 1);
    qig_charge(a, qig_tensor_bytes(&x->modes));
}
