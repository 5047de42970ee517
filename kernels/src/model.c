/* model.c - opens a GGUF file as a qig_model: configuration and tensors held to docs/formats.md before anything uses them. */
#define _POSIX_C_SOURCE 200809L /* strnlen */

#include "model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model_open.h"

enum { MAX_NAME = 255 }; /* bytes of general.name that are kept */

/* --- configuration ----------------------------------------------------------------------------------------------------------------- */

static void read_slopes(opener *o) {
    const char *key = "qig.attention.decay_slopes";
    const int32_t heads = o->m->n_heads;
    if (o->rc || !qig_gguf_find(o->g, key)) return;
    const float *slopes = o->m->decay_slopes = qig_get_floats(o, key, heads, "one for each head");
    for (int i = 0; !o->rc && i < heads; i++)
        if (slopes[i] < 0) FAIL(o, QIG_ERR_FORMAT, "%s: %s[%d] is %g, it must not be negative", o->file, key, i, (double)slopes[i]);
}

static void read_config(opener *o) {
    static const char *const states[] = {"pure", "diagonal", NULL}, *const metrics[] = {"bures", "fisher_rao", NULL};
    qig_model *m = o->m;
    m->context_length = qig_get_int(o, "qig.context_length", 1, QIG_MAX_CONTEXT);
    m->d_model = qig_get_int(o, "qig.embedding_length", 1, QIG_MAX_WIDTH);
    m->n_layers = qig_get_int(o, "qig.block_count", 1, QIG_MAX_LAYERS);
    m->hidden_dim = qig_get_int(o, "qig.feed_forward_length", 1, QIG_MAX_WIDTH);
    m->n_heads = qig_get_int(o, "qig.attention.head_count", 1, QIG_MAX_HEADS);
    m->n_kv_heads = qig_get_int(o, "qig.attention.head_count_kv", 1, QIG_MAX_HEADS);
    m->head_dim = qig_get_int(o, "qig.attention.key_length", 2, QIG_MAX_HEAD_DIM);
    int32_t value_length = qig_get_int(o, "qig.attention.value_length", 2, QIG_MAX_HEAD_DIM);
    m->basin_dim = qig_get_int(o, "qig.basin_length", 0, QIG_MAX_WIDTH);
    m->head_rank = qig_get_int(o, "qig.head_rank", 0, QIG_MAX_WIDTH);
    m->head_width = m->head_rank ? m->head_rank : m->basin_dim ? m->basin_dim : m->d_model;
    m->norm_eps = qig_get_float(o, "qig.attention.layer_norm_rms_epsilon", 0, 0);
    m->rope_base = qig_get_float(o, "qig.rope.freq_base", 0, 0);
    m->coupling_beta = qig_get_float(o, "qig.coupling.beta", -INFINITY, 0);
    m->coupling_ref = qig_get_float(o, "qig.coupling.ref", 0, 0);
    m->coupling_min = qig_get_float(o, "qig.coupling.min", 0, 0);
    m->coupling_max = qig_get_float(o, "qig.coupling.max", m->coupling_min, 1);
    m->kappa_0 = qig_get_float(o, "qig.coupling.kappa_0", 0, 0);
    m->gate_threshold = qig_get_float(o, "qig.gate.threshold", 0, 1);
    m->gate_margin = qig_get_float(o, "qig.gate.margin", 0, 1);
    m->state = qig_get_choice(o, "qig.attention.state", states, "pure, diagonal") ? QIG_STATE_DIAGONAL : QIG_STATE_PURE;
    m->metric = qig_get_choice(o, "qig.attention.metric", metrics, "bures, fisher_rao") ? QIG_METRIC_FISHER_RAO : QIG_METRIC_BURES;
    m->gate_learnt = qig_has_key(o, "qig.gate.learnt") ? qig_get_bool(o, "qig.gate.learnt") : 0;
    if (m->state == QIG_STATE_DIAGONAL) m->state_phases = qig_get_bool(o, "qig.attention.state_phases");
    m->state_dim = m->head_dim << m->state_phases;
    if (o->rc) return;
    if (m->n_heads % m->n_kv_heads)
        FAIL(o, QIG_ERR_FORMAT, "%s: %d query heads are no multiple of %d key/value heads", o->file, m->n_heads, m->n_kv_heads);
    else if (m->head_dim % 2 || value_length != m->head_dim)
        FAIL(o, QIG_ERR_FORMAT, "%s: key_length %d and value_length %d must be even and equal", o->file, m->head_dim, value_length);
    else if (m->n_heads * m->head_dim > QIG_MAX_WIDTH)
        FAIL(o, QIG_ERR_UNSUPPORTED, "%s: %d heads of %d are wider than this build runs (%d)", o->file, m->n_heads, m->head_dim, QIG_MAX_WIDTH);
    else if (m->gate_threshold >= 1)
        FAIL(o, QIG_ERR_FORMAT, "%s: qig.gate.threshold is %g, it must be in [0, 1)", o->file, (double)m->gate_threshold);
    read_slopes(o);
    qig_read_depth(o);
}

/* --- tensors ----------------------------------------------------------------------------------------------------------------------- */

void qig_place_block(opener *o, qig_layer *l, const char *prefix) {
    const qig_model *m = o->m;
    int64_t d = m->d_model, q = (int64_t)m->n_heads * m->head_dim, kv = (int64_t)m->n_kv_heads * m->head_dim;
    char name[64];
    snprintf(name, sizeof name, "%s.ffn_down_t.weight", prefix);
    const int turned = !m->dense && qig_has_tensor(o, name), gated = m->dense && strcmp(m->architecture, "llama") == 0;
    const struct { qig_tensor *to; const char *name; int64_t ne1, ne0; int absent; } parts[] = {
        {&l->attn_norm, "attn_norm", 0, d, 0}, {&l->attn_q, "attn_q", q, d, 0}, {&l->attn_k, "attn_k", kv, d, 0}, {&l->attn_v, "attn_v", kv, d, 0},
        {&l->attn_output, "attn_output", d, q, 0}, {&l->ffn_norm, "ffn_norm", 0, d, 0}, {&l->ffn_up, "ffn_up", m->hidden_dim, d, 0},
        {&l->ffn_gate, "ffn_gate", m->hidden_dim, d, !gated}, {&l->ffn_down, "ffn_down", d, m->hidden_dim, turned},
        {&l->ffn_down_t, "ffn_down_t", m->hidden_dim, d, !turned}};
    const struct { qig_tensor *to; const char *name; int64_t n; int wanted; float low, high; int closed; } scales[] = {
        {&l->attn_temp, "attn_temp", m->n_heads, !m->dense, 0, INFINITY, 0},
        {&l->attn_q_gain, "attn_q_gain", m->n_heads, m->state == QIG_STATE_DIAGONAL, -INFINITY, INFINITY, 0},
        {&l->attn_k_gain, "attn_k_gain", m->n_kv_heads, m->state == QIG_STATE_DIAGONAL, -INFINITY, INFINITY, 0},
        {&l->attn_gate, "attn_gate", m->n_heads, m->gate_learnt, 0, 1, 1}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].absent) continue;
        snprintf(name, sizeof name, "%s.%s.weight", prefix, parts[i].name);
        qig_place(o, parts[i].to, name, parts[i].ne1, parts[i].ne0, QIG_ANY_TYPE);
    }
    if (!o->rc && turned && (l->ffn_down_t.type == QIG_Q4_1 || l->ffn_down_t.type == QIG_Q6_K))
        FAIL(o, QIG_ERR_UNSUPPORTED, "%s: %s.ffn_down_t.weight is %s (its rows are summed from F32, F16, Q4_0 and Q8_0)", o->file, prefix,
             qig_type_name((uint32_t)l->ffn_down_t.type));
    if (!o->rc && turned && l->ffn_down_t.type != QIG_F32 && l->ffn_down_t.type != QIG_F16 && m->hidden_dim % 32)
        FAIL(o, QIG_ERR_FORMAT, "%s: %s.ffn_down_t.weight is quantized, so its %d units must be whole blocks of 32", o->file, prefix, m->hidden_dim);
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        if (!scales[i].wanted) continue;
        snprintf(name, sizeof name, "%s.%s.weight", prefix, scales[i].name);
        qig_place(o, scales[i].to, name, 0, scales[i].n, QIG_ONLY_F32);
        qig_check_values(o, scales[i].to, name, scales[i].low, scales[i].closed, scales[i].high);
    }
}

static void place_tensors(opener *o) {
    qig_model *m = o->m;
    int64_t d = m->d_model, b = m->basin_dim ? m->basin_dim : d, v = m->vocab_size;
    const int factored = m->basin_dim > 0 || (m->head_rank > 0 && m->head_rank != m->d_model);
    m->layers = calloc((size_t)m->n_layers, sizeof *m->layers);
    o->placed = calloc(o->g->n_tensors + 1, 1);
    if (!m->layers || !o->placed) {
        FAIL(o, QIG_ERR_MEMORY, "%s: out of memory", o->file);
        return;
    }
    qig_place(o, &m->token_embd, "token_embd.weight", v, b, QIG_ANY_TYPE);
    if (m->basin_dim) qig_place(o, &m->basin_proj, "basin_proj.weight", d, b, QIG_ANY_TYPE);
    for (int32_t n = 0; n < m->n_layers && !o->rc; n++) {
        char prefix[24];
        snprintf(prefix, sizeof prefix, "blk.%d", (int)n);
        if (m->jarvis) qig_place_jarvis_block(o, &m->layers[n], prefix);
        else qig_place_block(o, &m->layers[n], prefix);
        if (!m->dense) qig_place_depth_block(o, n, prefix);
    }
    if (!m->dense) qig_place_depth(o);
    if (!m->jarvis || qig_has_tensor(o, "output_norm.weight")) qig_place(o, &m->output_norm, "output_norm.weight", 0, d, QIG_ONLY_F32);
    if (m->jarvis && m->output_norm.data) qig_place(o, &m->output_norm_bias, "output_norm.bias", 0, d, QIG_ONLY_F32);
    if (factored) qig_place(o, &m->output_down, "output_down.weight", m->head_width, d, QIG_ANY_TYPE);
    if (m->jarvis || (m->dense ? qig_has_tensor(o, "output.weight") : m->head_rank > 0)) qig_place(o, &m->output, "output.weight", v, m->head_width, QIG_ANY_TYPE);
    else m->output = m->token_embd;
    for (uint64_t i = 0; !o->rc && i < o->g->n_tensors; i++) {
        char q[QIG_QUOTE_SIZE];
        const char *name = o->g->tensors[i].name;
        if (!o->placed[i]) FAIL(o, QIG_ERR_UNSUPPORTED, "%s: tensor %s has no place in a model of this kind", o->file, qig_quote(q, name, strlen(name)));
    }
}

/* Sums over all tensors, and the type that most weights of matrices have. */
static void count_weights(qig_model *m) {
    uint64_t of_type[QIG_N_TYPES] = {0}, bytes = 0;
    uint32_t most = QIG_F32;
    m->all_f32 = 1;
    for (uint64_t i = 0; i < m->gguf->n_tensors; i++) {
        const qig_gguf_tensor *t = &m->gguf->tensors[i];
        uint64_t weights = (uint64_t)(t->ne[0] * t->ne[1]);
        m->n_params += weights;
        bytes += t->bytes;
        if (t->type != QIG_F32) m->all_f32 = 0;
        if (t->n_dims == 2 && (of_type[t->type] += weights) > of_type[most]) most = t->type;
    }
    m->file_type = qig_type_name(most);
    /* A decode step reads one row of the embedding, unless the head reads the whole table. */
    uint64_t unread = m->output.data != m->token_embd.data ? (uint64_t)(m->token_embd.ne1 - 1) * m->token_embd.row_bytes : 0;
    if (m->token_scale.data) unread += (uint64_t)(m->token_scale.ne0 - 1) * sizeof(float);
    const qig_draft *d = &m->draft;
    const qig_tensor *looks[] = { &d->input, &d->norm, &d->up, &d->down, &d->output_norm };
    for (size_t i = 0; d->lag && i < sizeof looks / sizeof *looks; i++) m->draft.bytes += (uint64_t)looks[i]->ne1 * looks[i]->row_bytes;
    m->weight_bytes = bytes - unread - m->draft.bytes;
}

/* --- opening ----------------------------------------------------------------------------------------------------------------------- */

static void check_architecture(opener *o) {
    static const char *const known[] = {"qig", "llama", "arcee", "jarvis-quantum", NULL};
    const int which = qig_get_choice(o, "general.architecture", known, "qig, llama, arcee, jarvis-quantum");
    o->m->architecture = known[which];
    o->m->dense = which > 0;
    o->m->jarvis = which == 3;
}

/* Types are looked at after the architecture: a file of another architecture is named so, whatever its tensors are. */
static void check_types(opener *o) {
    char q[QIG_QUOTE_SIZE];
    for (uint64_t i = 0; !o->rc && i < o->g->n_tensors; i++) {
        const qig_gguf_tensor *t = &o->g->tensors[i];
        if (!qig_type_name(t->type))
            FAIL(o, QIG_ERR_UNSUPPORTED, "%s: tensor %s is of type %u (this build reads F32, F16, Q8_0, Q6_K, Q4_1 and Q4_0%s)", o->file,
                 qig_quote(q, t->name, strlen(t->name)), t->type, o->m->dense ? "; llama-quantize --pure makes a file of one of them" : "");
    }
}

static void copy_name(opener *o) {
    qig_str s = {"", 0};
    const qig_kv *kv = qig_gguf_find(o->g, "general.name");
    if (o->rc) return;
    if (kv) qig_kv_str(kv, &s);
    size_t n = strnlen(s.p, s.len < MAX_NAME ? s.len : MAX_NAME);
    n = qig_utf8_whole(s.p, n);
    o->m->name = malloc(n + 1);
    if (!o->m->name) {
        FAIL(o, QIG_ERR_MEMORY, "%s: out of memory", o->file);
        return;
    }
    memcpy(o->m->name, s.p, n);
    o->m->name[n] = 0;
}

int qig_model_from_gguf(qig_gguf *g, const char *file, const char *isa, qig_model **out, char *err, size_t errlen) {
    *out = NULL;
    qig_model *m = calloc(1, sizeof *m);
    if (!m) {
        qig_gguf_close(g);
        return qig_fail(err, errlen, QIG_ERR_MEMORY, "%s: out of memory", file);
    }
    opener o = {.m = m, .g = g, .file = file, .err = err, .errlen = errlen};
    m->gguf = g;
    m->ops = qig_ops_get(isa);
    if (!m->ops) FAIL(&o, QIG_ERR_UNSUPPORTED, "no kernel set '%s' here (auto, %s)", isa ? isa : "auto", qig_ops_list());
    check_architecture(&o);
    check_types(&o);
    if (!o.rc && m->jarvis) qig_read_jarvis(&o);
    else if (!o.rc && m->dense) qig_read_llama(&o);
    else if (!o.rc) read_config(&o);
    if (!o.rc) o.rc = qig_tokenizer_new(g, file, &m->tokenizer, err, errlen);
    if (!o.rc) m->vocab_size = qig_tokenizer_size(m->tokenizer);
    if (!o.rc) place_tensors(&o);
    copy_name(&o);
    free(o.placed);
    if (o.rc) {
        qig_model_close(m);
        return o.rc;
    }
    count_weights(m);
    *out = m;
    return QIG_OK;
}

int qig_model_open(const char *path, const char *isa, qig_model **out, char *err, size_t errlen) {
    if (err && errlen) err[0] = 0;
    if (!out) return qig_fail(err, errlen, QIG_ERR_ARG, "qig_model_open: out is NULL");
    *out = NULL;
    if (!path) return qig_fail(err, errlen, QIG_ERR_ARG, "qig_model_open: path is NULL");
    qig_gguf *g;
    int rc = qig_gguf_open(path, &g, err, errlen);
    return rc ? rc : qig_model_from_gguf(g, path, isa, out, err, errlen);
}

void qig_model_close(qig_model *m) {
    if (!m) return;
    qig_tokenizer_free(m->tokenizer);
    qig_gguf_close(m->gguf);
    free(m->decay_slopes);
    free(m->position_frequency);
    free(m->depth.exit_blocks);
    free(m->depth.exit_thresholds);
    free(m->layers);
    free(m->name);
    free(m);
}

/* --- what the file holds ----------------------------------------------------------------------------------------------------------- */

void qig_model_get_info(const qig_model *m, qig_model_info *out) {
    *out = (qig_model_info){
        .vocab_size = m->vocab_size, .d_model = m->d_model, .n_layers = m->n_layers, .n_heads = m->n_heads, .n_kv_heads = m->n_kv_heads,
        .head_dim = m->head_dim, .hidden_dim = m->hidden_dim, .basin_dim = m->basin_dim, .head_rank = m->head_rank,
        .context_length = m->context_length, .draft_lag = m->draft.lag, .n_params = m->n_params, .file_bytes = m->gguf->size, .weight_bytes = m->weight_bytes,
        .architecture = m->architecture, .name = m->name, .isa = m->ops->isa, .file_type = m->file_type};
}

int64_t qig_model_tensor_count(const qig_model *m) { return (int64_t)m->gguf->n_tensors; }

int qig_model_tensor(const qig_model *m, int64_t i, qig_tensor_info *out) {
    if (i < 0 || (uint64_t)i >= m->gguf->n_tensors) return QIG_ERR_ARG;
    const qig_gguf_tensor *t = &m->gguf->tensors[i];
    *out = (qig_tensor_info){.name = t->name, .type = qig_type_name(t->type), .n_dims = (int32_t)t->n_dims, .offset = t->offset, .bytes = t->bytes};
    memcpy(out->ne, t->ne, sizeof out->ne);
    return QIG_OK;
}

const char *qig_model_meta_str(const qig_model *m, const char *key, size_t *len) {
    const qig_kv *kv = qig_gguf_find(m->gguf, key);
    qig_str s;
    *len = 0;
    if (!kv || !qig_kv_str(kv, &s)) return NULL;
    *len = s.len;
    return s.p;
}

const char *qig_version(void) { return QIG_VERSION; } /* from CMake's project() */
const char *qig_isa_list(void) { return qig_ops_list(); }

int64_t qig_tokenize(const qig_model *m, const char *text, size_t len, int parse_special, int32_t *out, size_t cap) {
    return qig_tokenizer_encode(m->tokenizer, text, len, parse_special, out, cap);
}

const char *qig_token_bytes(const qig_model *m, int32_t token, int special, size_t *len) { return qig_tokenizer_bytes(m->tokenizer, token, special, len); }

int qig_space_prefix(const qig_model *m) { return qig_tokenizer_space_prefix(m->tokenizer); }
int32_t qig_token_bos(const qig_model *m) { return qig_tokenizer_bos(m->tokenizer); }
int32_t qig_token_eos(const qig_model *m) { return qig_tokenizer_eos(m->tokenizer); }
int32_t qig_token_eot(const qig_model *m) { return qig_tokenizer_eot(m->tokenizer); }

int64_t qig_chat_turn(const qig_model *m, const char *role, const char *content, size_t len, int first, int32_t *out, size_t cap) {
    return qig_tokenizer_chat_turn(m->tokenizer, role, content, len, first, out, cap);
}

int64_t qig_chat_end(const qig_model *m, int32_t *out, size_t cap) { return qig_tokenizer_chat_end(m->tokenizer, out, cap); }
