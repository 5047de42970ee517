/* model_llama.c - the keys of a file in llama.cpp's layout (docs/formats.md): architecture llama, with a gated feed-forward, or arcee, with squared ReLU.
 *
 * Whatever such a file asks for that is not run here is an error that names it: a key below the architecture's name that is neither read nor known to
 * ask for nothing with the value it has is refused.
 */
#include <math.h>
#include <string.h>

#include "model_open.h"

enum { MAX_KEY = 96 };

static const float ROPE_BASE = 10000; /* where the file does not say */

/* Keys that are read elsewhere in this file, whatever their value. */
static const char *const read_keys[] = {
    "context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count", "attention.head_count_kv",
    "attention.key_length", "attention.value_length", "attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.dimension_count",
    "vocab_size", /* the vocabulary and the tensors' shapes are what counts, as in llama.cpp */
    "rope.scaling.original_context_length", "rope.scaling.finetuned", /* tell of a scaling that other keys ask for */
    "tensor_data_layout", /* the origin of a layout that is this one */
};

/* Keys that a converter writes for nothing: the values that ask for nothing. */
static const struct { const char *key; double a, b; } idle_keys[] = {
    { "rope.scaling.factor", 1, 0 }, { "rope.scale_linear", 1, 0 }, { "rope.scaling.attn_factor", 1, 0 }, { "expert_count", 0, 0 },
    { "expert_used_count", 0, 0 }, { "attention.sliding_window", 0, 0 }, { "attention.causal", 1, 1 }, { "attention.scale", 0, 0 },
    { "logit_scale", 0, 1 }, { "residual_scale", 0, 1 }, { "embedding_scale", 0, 1 }, { "use_parallel_residual", 0, 0 }, { "pooling_type", 0, 0 },
};

static const char *full_key(const opener *o, char buf[MAX_KEY], const char *key) {
    snprintf(buf, MAX_KEY, "%s.%s", o->m->architecture, key);
    return buf;
}

static int has(const opener *o, const char *key) {
    char name[MAX_KEY];
    return qig_has_key(o, full_key(o, name, key));
}

/* A size that every block shares; absent: where the file does not say, 0: it has to. */
static int32_t get_size(opener *o, const char *key, int32_t min, int32_t max, int32_t absent) {
    char name[MAX_KEY];
    full_key(o, name, key);
    if (absent && !qig_has_key(o, name)) return absent;
    const qig_kv *kv = qig_need(o, name);
    if (kv && kv->type == QIG_KV_ARRAY) FAIL(o, QIG_ERR_UNSUPPORTED, "%s: %s differs by block, which this build does not run", o->file, name);
    return qig_get_int(o, name, min, max);
}

/* The value of a number or a bool, NaN for anything else. */
static double number(const qig_kv *kv) {
    uint32_t u;
    float f;
    int b;
    uint16_t half;
    if (kv->type == QIG_KV_U16) {
        memcpy(&half, kv->data, sizeof half);
        return half;
    }
    if (qig_kv_u32(kv, &u)) return u;
    if (qig_kv_f32(kv, &f)) return (double)f;
    return qig_kv_bool(kv, &b) ? b : (double)NAN;
}

static void refuse(opener *o, const qig_kv *kv) {
    char q[QIG_QUOTE_SIZE], text[QIG_QUOTE_SIZE];
    qig_str s;
    const double v = number(kv);
    qig_quote(q, kv->key.p, kv->key.len);
    if (qig_kv_str(kv, &s)) FAIL(o, QIG_ERR_UNSUPPORTED, "%s: %s is '%s', which this build does not run", o->file, q, qig_quote(text, s.p, s.len));
    else if (!isnan(v)) FAIL(o, QIG_ERR_UNSUPPORTED, "%s: %s is %g, which this build does not run", o->file, q, v);
    else FAIL(o, QIG_ERR_UNSUPPORTED, "%s: %s asks for something that this build does not run", o->file, q);
}

static int known_key(const char *key, size_t len) {
    for (size_t i = 0; i < sizeof read_keys / sizeof *read_keys; i++)
        if (strlen(read_keys[i]) == len && memcmp(read_keys[i], key, len) == 0) return 1;
    return 0;
}

static int idle(const qig_kv *kv, const char *key, size_t len) {
    const double v = number(kv);
    for (size_t i = 0; i < sizeof idle_keys / sizeof *idle_keys; i++)
        if (strlen(idle_keys[i].key) == len && memcmp(idle_keys[i].key, key, len) == 0) return v == idle_keys[i].a || v == idle_keys[i].b;
    return 0;
}

static int is_text(const qig_kv *kv, const char *text) {
    qig_str s;
    return qig_kv_str(kv, &s) && s.len == strlen(text) && memcmp(s.p, text, s.len) == 0;
}

/* Everything that the file says of the model has to be read, or ask for nothing. */
static void check_keys(opener *o) {
    static const char scaling[] = "rope.scaling.type";
    char prefix[MAX_KEY];
    const size_t skip = (size_t)snprintf(prefix, sizeof prefix, "%s.", o->m->architecture);
    for (uint64_t i = 0; !o->rc && i < o->g->n_kv; i++) {
        const qig_kv *kv = &o->g->kv[i];
        if (kv->key.len <= skip || memcmp(kv->key.p, prefix, skip)) continue;
        const char *key = kv->key.p + skip;
        const size_t len = kv->key.len - skip;
        if (known_key(key, len) || idle(kv, key, len)) continue;
        /* linear scaling is idle with the factor 1, which another key must have then */
        if (len == strlen(scaling) && memcmp(key, scaling, len) == 0 && (is_text(kv, "none") || is_text(kv, "linear"))) continue;
        refuse(o, kv);
    }
}

static void check_split(opener *o) {
    static const char key[] = "split.count";
    const qig_kv *kv = o->rc ? NULL : qig_gguf_find(o->g, key);
    if (kv && !(number(kv) <= 1))
        FAIL(o, QIG_ERR_UNSUPPORTED, "%s: a part of a file that was split; join them with llama-gguf-split --merge", o->file);
}

void qig_read_llama(opener *o) {
    char name[MAX_KEY];
    qig_model *m = o->m;
    check_split(o);
    check_keys(o);
    m->context_length = get_size(o, "context_length", 1, QIG_MAX_CONTEXT, 0);
    m->d_model = get_size(o, "embedding_length", 1, QIG_MAX_WIDTH, 0);
    m->n_layers = get_size(o, "block_count", 1, QIG_MAX_LAYERS, 0);
    m->hidden_dim = get_size(o, "feed_forward_length", 1, QIG_MAX_WIDTH, 0);
    m->n_heads = get_size(o, "attention.head_count", 1, QIG_MAX_HEADS, 0);
    if (o->rc) return;
    m->n_kv_heads = get_size(o, "attention.head_count_kv", 1, QIG_MAX_HEADS, m->n_heads);
    if (!has(o, "attention.key_length") && m->d_model % m->n_heads) {
        FAIL(o, QIG_ERR_FORMAT, "%s: a width of %d does not divide into %d heads, and there is no key_length", o->file, (int)m->d_model, (int)m->n_heads);
        return;
    }
    m->head_dim = get_size(o, "attention.key_length", 1, QIG_MAX_HEAD_DIM, m->d_model / m->n_heads);
    const int32_t value_length = get_size(o, "attention.value_length", 1, QIG_MAX_HEAD_DIM, m->d_model / m->n_heads > 0 ? m->d_model / m->n_heads : 1);
    const int32_t turned = get_size(o, "rope.dimension_count", 1, QIG_MAX_HEAD_DIM, m->head_dim);
    m->norm_eps = qig_get_float(o, full_key(o, name, "attention.layer_norm_rms_epsilon"), 0, 0);
    m->rope_base = has(o, "rope.freq_base") ? qig_get_float(o, full_key(o, name, "rope.freq_base"), 0, 0) : ROPE_BASE;
    if (o->rc) return;
    if (m->n_heads % m->n_kv_heads)
        FAIL(o, QIG_ERR_FORMAT, "%s: %d query heads are no multiple of %d key/value heads", o->file, (int)m->n_heads, (int)m->n_kv_heads);
    else if (m->head_dim % 2 || m->head_dim > QIG_MAX_HEAD_DIM || m->n_heads * (int64_t)m->head_dim > QIG_MAX_WIDTH)
        FAIL(o, QIG_ERR_UNSUPPORTED, "%s: %d heads of %d (this build runs heads of an even width up to %d, together up to %d)", o->file, (int)m->n_heads,
             (int)m->head_dim, (int)QIG_MAX_HEAD_DIM, (int)QIG_MAX_WIDTH);
    else if (value_length != m->head_dim)
        FAIL(o, QIG_ERR_UNSUPPORTED, "%s: key_length %d and value_length %d differ, which this build does not run", o->file, (int)m->head_dim, (int)value_length);
    else if (turned != m->head_dim)
        FAIL(o, QIG_ERR_UNSUPPORTED, "%s: rope.dimension_count %d turns a part of a head of %d, which this build does not run", o->file, (int)turned, (int)m->head_dim);
    qig_dense_defaults(m);
}

void qig_dense_defaults(qig_model *m) {
    m->head_width = m->d_model;
    m->state = QIG_STATE_PURE; /* one state entry a value, pairs turned by the angles of pure states */
    m->state_dim = m->head_dim;
    m->coupling_ref = m->coupling_min = m->coupling_max = 1; /* r(L) = 1, and kappa 0 of a coupling that there is not */
    m->depth.mandatory = m->n_layers;
    for (int i = 0; i < 3; i++) m->depth.factor[i] = 1;
}
