/* model_jarvis.c - the keys and tensors of a Jarvis model's own layout (docs/formats.md): architecture jarvis-quantum.
 *
 * Norms have biases, attention has no output product, positions are sines and cosines added to the embedding, and the hidden units go through GELU.
 * A key below the architecture's name that is not read here is refused, as in files of llama.cpp's layout.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model_open.h"

#define ARCH "jarvis-quantum."

static void check_keys(opener *o) {
    static const char *const read_keys[] = {"context_length",       "embedding_length",             "block_count", "feed_forward_length",
                                            "attention.head_count", "attention.layer_norm_epsilon", "vocab_size"};
    static const size_t skip = sizeof ARCH - 1;
    char q[QIG_QUOTE_SIZE];
    for (uint64_t i = 0; !o->rc && i < o->g->n_kv; i++) {
        const qig_str key = o->g->kv[i].key;
        int known = key.len <= skip || memcmp(key.p, ARCH, skip) != 0;
        for (size_t k = 0; !known && k < sizeof read_keys / sizeof *read_keys; k++)
            known = key.len - skip == strlen(read_keys[k]) && memcmp(key.p + skip, read_keys[k], key.len - skip) == 0;
        if (!known) FAIL(o, QIG_ERR_UNSUPPORTED, "%s: %s asks for something that this build does not run", o->file, qig_quote(q, key.p, key.len));
    }
}

void qig_read_jarvis(opener *o) {
    qig_model *m = o->m;
    check_keys(o);
    m->context_length = qig_get_int(o, ARCH "context_length", 1, QIG_MAX_CONTEXT);
    m->d_model = qig_get_int(o, ARCH "embedding_length", 2, QIG_MAX_WIDTH);
    m->n_layers = qig_get_int(o, ARCH "block_count", 1, QIG_MAX_LAYERS);
    m->hidden_dim = qig_get_int(o, ARCH "feed_forward_length", 1, QIG_MAX_WIDTH);
    m->n_heads = m->n_kv_heads = qig_get_int(o, ARCH "attention.head_count", 1, QIG_MAX_HEADS);
    m->norm_eps = qig_get_float(o, ARCH "attention.layer_norm_epsilon", 0, 0);
    if (o->rc) return;
    m->head_dim = m->d_model / m->n_heads;
    if (m->d_model % 2) FAIL(o, QIG_ERR_FORMAT, "%s: a width of %d is odd: sines and cosines come in pairs", o->file, (int)m->d_model);
    else if (m->d_model % m->n_heads || m->head_dim > QIG_MAX_HEAD_DIM)
        FAIL(o, QIG_ERR_FORMAT, "%s: a width of %d does not divide into %d heads of at most %d", o->file, (int)m->d_model, (int)m->n_heads, (int)QIG_MAX_HEAD_DIM);
    if (o->rc) return;
    m->position_frequency = malloc((size_t)m->d_model / 2 * sizeof *m->position_frequency);
    if (!m->position_frequency) {
        FAIL(o, QIG_ERR_MEMORY, "%s: out of memory", o->file);
        return;
    }
    for (int32_t c = 0; c < m->d_model / 2; c++) m->position_frequency[c] = pow(10000.0, -2.0 * c / m->d_model);
    m->rope_base = 1; /* angles that nothing is turned by */
    qig_dense_defaults(m);
}

void qig_place_jarvis_block(opener *o, qig_layer *l, const char *prefix) {
    const qig_model *m = o->m;
    const int64_t d = m->d_model;
    char name[64];
    const struct { qig_tensor *to; const char *name; int64_t ne1, ne0; } parts[] = {
        {&l->attn_norm, "attn_norm.weight", 0, d}, {&l->attn_norm_bias, "attn_norm.bias", 0, d}, {&l->attn_q, "attn_q.weight", d, d},
        {&l->attn_k, "attn_k.weight", d, d}, {&l->attn_v, "attn_v.weight", d, d}, {&l->ffn_norm, "ffn_norm.weight", 0, d},
        {&l->ffn_norm_bias, "ffn_norm.bias", 0, d}, {&l->ffn_up, "ffn_up.weight", m->hidden_dim, d}, {&l->ffn_down, "ffn_down.weight", d, m->hidden_dim}};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(name, sizeof name, "%s.%s", prefix, parts[i].name);
        qig_place(o, parts[i].to, name, parts[i].ne1, parts[i].ne0, QIG_ANY_TYPE);
    }
}
