/* model_open.c - see model_open.h. */
#include "model_open.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int qig_has_key(const opener *o, const char *key) { return !o->rc && qig_gguf_find(o->g, key) != NULL; }

const qig_kv *qig_need(opener *o, const char *key) {
    if (o->rc) return NULL;
    const qig_kv *kv = qig_gguf_find(o->g, key);
    if (!kv) FAIL(o, QIG_ERR_FORMAT, "%s: key '%s' is missing", o->file, key);
    return kv;
}

int32_t qig_get_int(opener *o, const char *key, int32_t min, int32_t max) {
    const qig_kv *kv = qig_need(o, key);
    uint32_t v;
    if (!kv) return 0;
    if (!qig_kv_u32(kv, &v)) FAIL(o, QIG_ERR_FORMAT, "%s: key '%s' must be a u32", o->file, key);
    else if (v < (uint32_t)min || v > (uint32_t)max)
        FAIL(o, v > (uint32_t)max ? QIG_ERR_UNSUPPORTED : QIG_ERR_FORMAT, "%s: %s is %u (this build runs %d to %d)", o->file, key, v, min, max);
    return o->rc ? 0 : (int32_t)v;
}

float qig_get_float(opener *o, const char *key, float low, int closed) {
    const qig_kv *kv = qig_need(o, key);
    float v;
    if (!kv) return 0;
    if (!qig_kv_f32(kv, &v)) FAIL(o, QIG_ERR_FORMAT, "%s: key '%s' must be an f32", o->file, key);
    else if (!isfinite(v) || !(v > low || (closed && v == low)))
        FAIL(o, QIG_ERR_FORMAT, "%s: %s is %g, it must be finite and %s %g", o->file, key, (double)v, closed ? "at least" : "above", (double)low);
    return o->rc ? 0 : v;
}

int qig_get_choice(opener *o, const char *key, const char *const *choices, const char *list) {
    char q[QIG_QUOTE_SIZE];
    const qig_kv *kv = qig_need(o, key);
    qig_str s;
    if (!kv) return 0;
    if (!qig_kv_str(kv, &s)) {
        FAIL(o, QIG_ERR_FORMAT, "%s: key '%s' must be a string", o->file, key);
        return 0;
    }
    for (int i = 0; choices[i]; i++)
        if (s.len == strlen(choices[i]) && memcmp(s.p, choices[i], s.len) == 0) return i;
    FAIL(o, QIG_ERR_UNSUPPORTED, "%s: %s '%s' is not run by this build (%s)", o->file, strrchr(key, '.') + 1, qig_quote(q, s.p, s.len), list);
    return 0;
}

float qig_get_float_in(opener *o, const char *key, float low, float high, int open) {
    const qig_kv *kv = qig_need(o, key);
    float v;
    if (!kv) return 0;
    if (!qig_kv_f32(kv, &v)) FAIL(o, QIG_ERR_FORMAT, "%s: key '%s' must be an f32", o->file, key);
    else if (!(open & QIG_OPEN_LOW ? v > low : v >= low) || !(open & QIG_OPEN_HIGH ? v < high : v <= high))
        FAIL(o, QIG_ERR_FORMAT, "%s: %s is %g, it must be in %c%g, %g%c", o->file, key, (double)v, open & QIG_OPEN_LOW ? '(' : '[', (double)low,
             (double)high, open & QIG_OPEN_HIGH ? ')' : ']');
    return o->rc ? 0 : v;
}

int qig_get_bool(opener *o, const char *key) {
    const qig_kv *kv = qig_need(o, key);
    int v = 0;
    if (kv && !qig_kv_bool(kv, &v)) FAIL(o, QIG_ERR_FORMAT, "%s: key '%s' must be a bool", o->file, key);
    return o->rc ? 0 : v;
}

/* A copy of n values of 4 bytes: in the file they stand at any byte. */
static void *copy_array(opener *o, const qig_kv *kv, size_t n) {
    void *copy = malloc(n * 4);
    if (copy) memcpy(copy, kv->data, n * 4);
    else FAIL(o, QIG_ERR_MEMORY, "%s: out of memory", o->file);
    return copy;
}

float *qig_get_floats(opener *o, const char *key, int32_t n, const char *why) {
    const qig_kv *kv = qig_need(o, key);
    if (!kv) return NULL;
    if (kv->type != QIG_KV_ARRAY || kv->elem_type != QIG_KV_F32 || kv->count != (uint64_t)n) {
        FAIL(o, QIG_ERR_FORMAT, "%s: key '%s' must be an array of %d f32, %s", o->file, key, (int)n, why);
        return NULL;
    }
    float *out = copy_array(o, kv, (size_t)n);
    for (int32_t i = 0; out && !o->rc && i < n; i++)
        if (!isfinite(out[i])) FAIL(o, QIG_ERR_FORMAT, "%s: %s[%d] is %g, it must be finite", o->file, key, (int)i, (double)out[i]);
    return out;
}

int32_t *qig_get_ints(opener *o, const char *key, int32_t max, int32_t *n) {
    const qig_kv *kv = qig_need(o, key);
    if (!kv) return NULL;
    if (kv->type != QIG_KV_ARRAY || kv->elem_type != QIG_KV_U32 || kv->count < 1 || kv->count > (uint64_t)max) {
        FAIL(o, QIG_ERR_FORMAT, "%s: key '%s' must be an array of 1 to %d u32", o->file, key, (int)max);
        return NULL;
    }
    int32_t *out = copy_array(o, kv, (size_t)kv->count);
    *n = out ? (int32_t)kv->count : 0;
    for (int32_t i = 0; i < *n && !o->rc; i++)
        if (out[i] < 0) FAIL(o, QIG_ERR_FORMAT, "%s: %s[%d] is %u, it must be below 2^31", o->file, key, (int)i, (unsigned)out[i]);
    return out;
}

void qig_place(opener *o, qig_tensor *to, const char *name, int64_t ne1, int64_t ne0, int only_f32) {
    if (o->rc) return;
    const qig_gguf_tensor *t = qig_gguf_tensor_find(o->g, name);
    uint32_t n_dims = ne1 ? 2 : 1;
    if (!t) {
        FAIL(o, QIG_ERR_FORMAT, "%s: tensor %s is missing", o->file, name);
    } else if (t->n_dims != n_dims || t->ne[0] != ne0 || (ne1 && t->ne[1] != ne1)) {
        char have[4 * 24] = "", want[2 * 24];
        for (uint32_t d = t->n_dims, n = 0; d-- > 0;) n += (uint32_t)snprintf(have + n, sizeof have - n, "%lld%s", (long long)t->ne[d], d ? ", " : "");
        snprintf(want, sizeof want, "%lld, %lld", (long long)ne1, (long long)ne0);
        FAIL(o, QIG_ERR_FORMAT, "%s: tensor %s is [%s], it must be [%s]", o->file, name, have, ne1 ? want : strchr(want, ' ') + 1);
    } else if ((!ne1 || only_f32) && t->type != QIG_F32) {
        FAIL(o, QIG_ERR_UNSUPPORTED, "%s: tensor %s is %s, it must be F32", o->file, name, qig_type_name(t->type));
    } else {
        *to = (qig_tensor){o->g->map + t->offset, (int)t->type, ne0, ne1 ? ne1 : 1, t->row_bytes};
        o->placed[t - o->g->tensors] = 1;
    }
}

int qig_has_tensor(const opener *o, const char *name) { return !o->rc && qig_gguf_tensor_find(o->g, name) != NULL; }

void qig_check_values(opener *o, const qig_tensor *t, const char *name, float low, int closed, float high) {
    char range[64] = "";
    if (high < INFINITY) snprintf(range, sizeof range, " and in %c%g, %g)", closed ? '[' : '(', (double)low, (double)high);
    else if (low > -INFINITY) snprintf(range, sizeof range, " and %s %g", closed ? "at least" : "above", (double)low);
    for (int64_t i = 0; !o->rc && i < t->ne0; i++) {
        float v;
        memcpy(&v, (const char *)t->data + (size_t)i * sizeof v, sizeof v);
        if (!isfinite(v) || !(v > low || (closed && v == low)) || !(v < high))
            FAIL(o, QIG_ERR_FORMAT, "%s: %s[%lld] is %g, it must be finite%s", o->file, name, (long long)i, (double)v, range);
    }
}
