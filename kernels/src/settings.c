/* settings.c - numbers of a model that may be set after it was opened: qig_model_set, qig_model_setting. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "model.h"

/* Where a key's number stands (n of them), the range it is held to, and why the model has none where it has not. */
typedef struct {
    const char *key;
    float *to;
    int n;
    float low, high;
    int open_low, open_high;
    const char *missing;
} setting;

enum { SETTINGS = 10 };

static void list_settings(const qig_model *model, setting *list) {
    qig_model *m = (qig_model *)model; /* only qig_model_set writes through the list, to a model that it may change */
    qig_depth *x = &m->depth;
    const char *no_regime = x->regime ? NULL : "no regime detector", *no_exits = x->n_exits ? NULL : "no exits";
    const char *no_gates = m->dense ? "dot-product attention without gates" : NULL;
    const setting all[SETTINGS] = {
        { "gate.margin", &m->gate_margin, 1, 0, INFINITY, 0, 1, no_gates },
        { "gate.threshold", &m->gate_threshold, 1, 0, 1, 0, 1, m->dense ? no_gates : m->gate_learnt ? "a learnt threshold for each head instead" : NULL },
        { "regime.low", &x->low, 1, 0, x->high, 0, 1, no_regime },
        { "regime.high", &x->high, 1, x->low, 1, 1, 0, no_regime },
        { "regime.smoothing", &x->smoothing, 1, 0, 1, 1, 0, no_regime },
        { "regime.hysteresis", &x->hysteresis, 1, 0, (x->high - x->low) / 2, 0, 1, no_regime },
        { "regime.curvature", &x->curvature, 1, 0, 3.1416f, 0, 0, no_regime },
        { "exit.threshold", x->exit_thresholds, x->n_exits, 0, 1, 0, 0, no_exits },
        { "decoherence.threshold", &x->collapse, 1, 0, INFINITY, 1, 1, x->collapse > 0 ? NULL : "no decoherence" },
        { "recursion.min_phi", &x->min_phi, 1, 0, 1, 0, 0, x->max_loops ? NULL : "no integrator" },
    };
    memcpy(list, all, sizeof all);
}

/* The whole of text as a finite number. */
static int parse(const char *text, float *out) {
    char *end;
    if (!*text || strspn(text, "0123456789+-.eE") != strlen(text)) return 0; /* nothing that strtof would take beside: spaces, hex, nan */
    *out = strtof(text, &end);
    return *end == 0 && isfinite(*out);
}

int qig_model_set(qig_model *m, const char *key, const char *value, char *err, size_t errlen) {
    setting list[SETTINGS];
    char q[QIG_QUOTE_SIZE], range[64];
    if (!m || !key || !value) return qig_fail(err, errlen, QIG_ERR_ARG, "qig_model_set needs a model, a key and a value");
    if (atomic_load(&m->in_use)) return qig_fail(err, errlen, QIG_ERR_ARG, "settings are fixed once a session was opened");
    list_settings(m, list);
    const setting *s = NULL;
    for (int i = 0; i < SETTINGS; i++)
        if (strcmp(list[i].key, key) == 0) s = &list[i];
    if (!s) {
        char known[256] = "";
        for (int i = 0; i < SETTINGS; i++) {
            strcat(known, i ? ", " : "");
            strcat(known, list[i].key);
        }
        return qig_fail(err, errlen, QIG_ERR_ARG, "unknown setting '%s' (known: %s)", qig_quote(q, key, strlen(key)), known);
    }
    if (s->missing) return qig_fail(err, errlen, QIG_ERR_ARG, "%s cannot be set: the model has %s", key, s->missing);
    if (s->high < INFINITY)
        snprintf(range, sizeof range, "in %c%g, %g%c", s->open_low ? '(' : '[', (double)s->low, (double)s->high, s->open_high ? ')' : ']');
    else snprintf(range, sizeof range, "%s", s->open_low ? "a number above 0" : "a number of at least 0");
    float v;
    if (!parse(value, &v) || v < s->low || (s->open_low && v == s->low) || v > s->high || (s->open_high && v == s->high))
        return qig_fail(err, errlen, QIG_ERR_ARG, "%s = '%s' must be %s", key, qig_quote(q, value, strlen(value)), range);
    for (int i = 0; i < s->n; i++) s->to[i] = v;
    return QIG_OK;
}

const char *qig_model_setting(const qig_model *m, int32_t i, const float **values, int32_t *n) {
    setting list[SETTINGS];
    list_settings(m, list);
    for (int k = 0; k < SETTINGS; k++) {
        if (list[k].missing || i-- > 0) continue;
        *values = list[k].to;
        *n = list[k].n;
        return list[k].key;
    }
    return NULL;
}
