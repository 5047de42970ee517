/* model_depth.c - the keys and tensors of components that a model may have or not: what it runs less of, or more (docs/formats.md, Depth). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model_open.h"

static const float WIDEST_ANGLE = 3.1416f; /* radians; pi itself is rounded up in float32 */

/* How many of the keys the file has; all or none are accepted. */
static int whole_group(opener *o, const char *const *keys, int n, const char *what) {
    const char *missing = NULL;
    int have = 0;
    for (int i = 0; i < n; i++) {
        if (qig_has_key(o, keys[i])) have++;
        else missing = keys[i];
    }
    if (have && have < n && !o->rc) FAIL(o, QIG_ERR_FORMAT, "%s: key '%s' is missing: %s needs all of its %d keys", o->file, missing, what, n);
    return have && !o->rc;
}

static void read_regime(opener *o) {
    static const char *const keys[] = {"qig.regime.low", "qig.regime.high", "qig.regime.smoothing", "qig.regime.hysteresis", "qig.regime.curvature"};
    static const char *const answers[] = {"mark", "pause", NULL};
    qig_depth *x = &o->m->depth;
    for (int i = 0; i < 3; i++) x->factor[i] = 1;
    x->regime = whole_group(o, keys, 5, "the regime detector");
    if (!x->regime) return;
    x->high = qig_get_float_in(o, keys[1], 0, 1, QIG_OPEN_LOW);
    x->low = qig_get_float_in(o, keys[0], 0, x->high, QIG_OPEN_HIGH);
    x->smoothing = qig_get_float_in(o, keys[2], 0, 1, QIG_OPEN_LOW);
    x->hysteresis = qig_get_float_in(o, keys[3], 0, 1, 0);
    x->curvature = qig_get_float_in(o, keys[4], 0, WIDEST_ANGLE, 0);
    if (qig_has_key(o, "qig.regime.on_breakdown")) qig_get_choice(o, "qig.regime.on_breakdown", answers, "mark, pause");
    if (!qig_has_key(o, "qig.regime.coupling")) return;
    float *factor = qig_get_floats(o, "qig.regime.coupling", 3, "one for each regime");
    for (int i = 0; factor && i < 3; i++) {
        if (!o->rc && !(factor[i] > 0))
            FAIL(o, QIG_ERR_FORMAT, "%s: qig.regime.coupling[%d] is %g, it must be positive", o->file, i, (double)factor[i]);
        x->factor[i] = factor[i];
    }
    free(factor);
}

static void read_exits(opener *o) {
    static const char *const keys[] = {"qig.exit.blocks", "qig.exit.thresholds", "qig.exit.rule"}, *const rules[] = {"bures", "probe", NULL};
    qig_depth *x = &o->m->depth;
    const int32_t layers = o->m->n_layers;
    if (!whole_group(o, keys, 3, "an early exit")) {
        if (qig_has_key(o, "qig.decoherence.threshold"))
            FAIL(o, QIG_ERR_FORMAT, "%s: qig.decoherence.threshold without qig.exit.blocks: states collapse at exits", o->file);
        return;
    }
    x->exit_blocks = qig_get_ints(o, keys[0], layers, &x->n_exits);
    for (int32_t e = 0, least = x->mandatory; e < x->n_exits && !o->rc; e++) {
        const int32_t n = x->exit_blocks[e];
        if (n < least || n >= layers)
            FAIL(o, QIG_ERR_FORMAT, "%s: qig.exit.blocks[%d] is %d, it must be in [%d, %d): rising, from the mandatory blocks to before the last", o->file,
                 (int)e, (int)n, (int)least, (int)layers);
        least = n + 1;
    }
    x->exit_thresholds = o->rc ? NULL : qig_get_floats(o, keys[1], x->n_exits, "one for each exit");
    for (int32_t e = 0; e < x->n_exits && !o->rc; e++)
        if (!(x->exit_thresholds[e] >= 0 && x->exit_thresholds[e] <= 1))
            FAIL(o, QIG_ERR_FORMAT, "%s: qig.exit.thresholds[%d] is %g, it must be in [0, 1]", o->file, (int)e, (double)x->exit_thresholds[e]);
    x->exit_rule = qig_get_choice(o, keys[2], rules, "bures, probe") ? QIG_EXIT_PROBE : QIG_EXIT_BURES;
    if (qig_has_key(o, "qig.decoherence.threshold")) x->collapse = qig_get_float(o, "qig.decoherence.threshold", 0, 0);
}

static void read_recursion(opener *o) {
    static const char *const keys[] = {"qig.recursion.min_loops", "qig.recursion.max_loops", "qig.recursion.min_phi"};
    qig_depth *x = &o->m->depth;
    if (!whole_group(o, keys, 3, "the integrator")) return;
    x->max_loops = qig_get_int(o, keys[1], 1, QIG_MAX_LOOPS);
    x->min_loops = qig_get_int(o, keys[0], 1, QIG_MAX_LOOPS);
    x->min_phi = qig_get_float_in(o, keys[2], 0, 1, 0);
    if (!o->rc && x->min_loops > x->max_loops)
        FAIL(o, QIG_ERR_FORMAT, "%s: %s is %d, above qig.recursion.max_loops %d", o->file, keys[0], (int)x->min_loops, (int)x->max_loops);
}

static void read_draft(opener *o) {
    static const char *const keys[] = {"qig.draft.lag", "qig.draft.feed_forward_length", "qig.draft.vocab"};
    qig_draft *d = &o->m->draft;
    if (!whole_group(o, keys, 3, "a draft")) return;
    d->lag = qig_get_int(o, keys[0], 1, QIG_MAX_DRAFT);
    d->hidden = qig_get_int(o, keys[1], 1, QIG_MAX_WIDTH);
    d->words = qig_get_int(o, keys[2], 1, INT32_MAX); /* the vocabulary is not read yet */
}

static int32_t optional_int(opener *o, const char *key, int32_t min, int32_t max, int32_t absent) {
    return qig_has_key(o, key) ? qig_get_int(o, key, min, max) : absent;
}

void qig_read_depth(opener *o) {
    static const char *const confidence[] = {"qig.confidence.scale", "qig.confidence.bias"};
    qig_model *m = o->m;
    qig_depth *x = &m->depth;
    if (o->rc) return;
    x->mandatory = optional_int(o, "qig.mandatory_blocks", 1, m->n_layers, m->n_layers);
    x->shallow = optional_int(o, "qig.shallow_length", 0, QIG_MAX_WIDTH, 0);
    x->symmetry_rank = optional_int(o, "qig.symmetry.rank", 0, m->d_model - 1, 0);
    read_regime(o);
    read_exits(o);
    read_recursion(o);
    read_draft(o);
    if (qig_has_key(o, "qig.code_rate.max_entropy")) qig_get_float_in(o, "qig.code_rate.max_entropy", 0, 1, QIG_OPEN_LOW | QIG_OPEN_HIGH);
    m->calibrated = whole_group(o, confidence, 2, "a calibrated confidence");
    if (!m->calibrated) return;
    m->confidence_scale = qig_get_float(o, confidence[0], 0, 0);
    m->confidence_bias = qig_get_float(o, confidence[1], -INFINITY, 0);
}

static int exit_follows(const qig_depth *x, int32_t block) {
    for (int32_t e = 0; e < x->n_exits; e++)
        if (x->exit_blocks[e] == block + 1) return 1;
    return 0;
}

void qig_place_depth_block(opener *o, int32_t n, const char *prefix) {
    const qig_model *m = o->m;
    const qig_depth *x = &m->depth;
    qig_layer *l = &m->layers[n];
    const int64_t d = m->d_model;
    char name[64];
    if (x->shallow && n >= x->mandatory) {
        snprintf(name, sizeof name, "%s.ffn_shallow_up.weight", prefix);
        qig_place(o, &l->ffn_shallow_up, name, x->shallow, d, QIG_ANY_TYPE);
        snprintf(name, sizeof name, "%s.ffn_shallow_down.weight", prefix);
        qig_place(o, &l->ffn_shallow_down, name, d, x->shallow, QIG_ANY_TYPE);
        snprintf(name, sizeof name, "%s.ffn_route.weight", prefix);
        qig_place(o, &l->ffn_route, name, 0, 2, QIG_ONLY_F32);
        qig_check_values(o, &l->ffn_route, name, -INFINITY, 0, INFINITY);
    }
    if (x->exit_rule == QIG_EXIT_PROBE && exit_follows(x, n)) {
        snprintf(name, sizeof name, "%s.exit_probe.weight", prefix);
        qig_place(o, &l->exit_probe, name, 0, d + 1, QIG_ONLY_F32);
        qig_check_values(o, &l->exit_probe, name, -INFINITY, 0, INFINITY);
    }
}

void qig_place_depth(opener *o) {
    qig_model *m = o->m;
    qig_depth *x = &m->depth;
    const int64_t d = m->d_model;
    if (qig_has_key(o, "qig.code_rate.max_entropy")) {
        qig_place(o, &m->token_scale, "token_scale.weight", 0, m->vocab_size, QIG_ONLY_F32);
        qig_check_values(o, &m->token_scale, "token_scale.weight", 1, 1, INFINITY);
    }
    if (x->collapse > 0) {
        const char *name = "decoherence_modes.weight";
        const qig_gguf_tensor *t = qig_gguf_tensor_find(o->g, name);
        int64_t modes = t && t->n_dims == 2 ? t->ne[1] : d;
        qig_place(o, &x->modes, name, modes < d ? modes : d, d, QIG_ONLY_F32);
    }
    if (x->symmetry_rank) qig_place(o, &x->symmetry, "symmetry.weight", x->symmetry_rank, d, QIG_ONLY_F32);
    if (x->max_loops) qig_place_block(o, &x->integrator, "integrator");
    if (!m->draft.lag) return;
    if (!o->rc && m->draft.words > m->vocab_size)
        FAIL(o, QIG_ERR_FORMAT, "%s: qig.draft.vocab is %d, the vocabulary has %d words", o->file, (int)m->draft.words, (int)m->vocab_size);
    qig_place(o, &m->draft.input, "draft_input.weight", d, m->draft.lag * d, QIG_ANY_TYPE);
    qig_place(o, &m->draft.norm, "draft_norm.weight", 0, d, QIG_ONLY_F32);
    qig_place(o, &m->draft.up, "draft_up.weight", m->draft.hidden, d, QIG_ANY_TYPE);
    qig_place(o, &m->draft.down, "draft_down.weight", d, m->draft.hidden, QIG_ANY_TYPE);
    qig_place(o, &m->draft.output_norm, "draft_output_norm.weight", 0, d, QIG_ONLY_F32);
}
