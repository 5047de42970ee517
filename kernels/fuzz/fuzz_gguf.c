/* fuzz_gguf.c - libFuzzer target of the GGUF reader: any bytes are read as a model file; what opens is used as the rest of the library uses it.
 *
 *   python kernels/fuzz/make_seeds.py SEEDS && build/fuzz/fuzz_gguf -max_total_time=60 CORPUS SEEDS/fuzz_gguf
 */
#include <stdlib.h>
#include <string.h>

#include "model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint64_t sum; /* keeps reads from being optimized away */

static void touch(const void *p, uint64_t n) {
    const uint8_t *b = p;
    for (uint64_t i = 0; i < n; i++) sum += b[i];
}

/* Every value, read in every way that there is. */
static void read_values(const qig_gguf *g) {
    for (uint64_t i = 0; i < g->n_kv; i++) {
        const qig_kv *kv = &g->kv[i];
        uint32_t u;
        float f;
        int b;
        qig_str s;
        touch(kv->key.p, kv->key.len);
        touch(kv->data, kv->bytes);
        sum += (uint64_t)(qig_kv_u32(kv, &u) + qig_kv_f32(kv, &f) + qig_kv_bool(kv, &b));
        if (qig_kv_str(kv, &s)) touch(s.p, s.len);
        uint64_t n = 0;
        for (uint64_t pos = 0; qig_kv_next_str(kv, &pos, &s); n++) touch(s.p, s.len);
        if (kv->type == QIG_KV_ARRAY && kv->elem_type == QIG_KV_STRING && n != kv->count) abort();
    }
}

static void use_text(const qig_model *m, const char *text, size_t len) {
    enum { ROOM = 256 };
    int32_t ids[ROOM];
    for (int special = 0; special < 2; special++) {
        int64_t n = qig_tokenize(m, text, len, special, ids, ROOM);
        if (n < 0 || n > 2 * (int64_t)len) abort(); /* a token of one byte, and the space that follows a special one */
        for (int64_t i = 0; i < n && i < ROOM; i++) {
            size_t k;
            const char *p = qig_token_bytes(m, ids[i], special, &k);
            if (!p || k == 0) abort();
            touch(p, k);
        }
    }
    static const char *const roles[] = {"system", "user", "assistant"};
    if ((qig_token_eot(m) < 0) != (qig_chat_end(m, ids, ROOM) < 1)) abort();
    for (size_t i = 0; i < 3; i++) qig_chat_turn(m, roles[i], text, len, (int)(i % 2), ids, ROOM);
}

/* A few tokens through the engine: weights of any bits, NaN among them, may give any floats, and still a token of the vocabulary. */
static void use_session(qig_model *m) {
    const qig_session_params params = {.n_ctx = 8, .n_threads = 1, .n_batch = 2, .prompt_telemetry = 1};
    const int32_t last = m->vocab_size - 1, tokens[3] = {0, last, last / 2};
    qig_session *session;
    char err[96] = "";
    if (qig_session_new(m, &params, &session, err, sizeof err)) {
        if (!err[0]) abort();
        return;
    }
    int32_t token;
    int rc = qig_session_eval(session, tokens, 3, NULL, err, sizeof err);
    if (!rc) rc = qig_session_sample(session, &token, err, sizeof err);
    if (rc ? !err[0] : token < 0 || token > last) abort();
    qig_telemetry record;
    if (qig_session_pos(session) == 3) {
        qig_session_telemetry(session, 2, &record);
        if (record.blocks_run < 1 || record.regime < 0 || record.regime > 2) abort();
        if (qig_session_rollback(session, 1, err, sizeof err) || qig_session_eval(session, tokens, 2, NULL, err, sizeof err)) abort();
        if (qig_session_slide(session, 1, 1, err, sizeof err) || qig_session_pos(session) != 2) abort();
    }
    qig_session_free(session);
}

static void use_model(qig_model *m, const uint8_t *data, size_t size) {
    qig_model_info info;
    qig_model_get_info(m, &info);
    sum += strlen(info.name) + strlen(info.file_type);
    for (int64_t i = 0; i < qig_model_tensor_count(m); i++) {
        qig_tensor_info t;
        if (qig_model_tensor(m, i, &t) || t.offset > size || t.bytes > size - t.offset) abort();
        touch(data + t.offset, t.bytes);
        sum += strlen(t.name) + strlen(t.type);
    }
    const qig_tensor *head[] = {&m->token_embd, &m->basin_proj, &m->output_norm, &m->output_down, &m->output};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++) touch(head[i]->data, (uint64_t)head[i]->ne1 * head[i]->row_bytes);
    for (int32_t n = 0; n < m->n_layers; n++) {
        const qig_tensor *part = &m->layers[n].attn_norm;
        for (size_t i = 0; i < sizeof(qig_layer) / sizeof *part; i++)
            if (part[i].data) touch(part[i].data, (uint64_t)part[i].ne1 * part[i].row_bytes);
    }
    const qig_tensor *depth[] = {&m->token_scale, &m->depth.modes, &m->depth.symmetry, &m->depth.integrator.attn_q, &m->depth.integrator.ffn_up};
    for (size_t i = 0; i < sizeof depth / sizeof *depth; i++)
        if (depth[i]->data) touch(depth[i]->data, (uint64_t)depth[i]->ne1 * depth[i]->row_bytes);
    size_t len;
    const char *template = qig_model_meta_str(m, "tokenizer.chat_template", &len);
    if (template) touch(template, len);
    static const char typed[] = "Hello, the <|end|> caf\xc3\xa9 \xff 42";
    use_text(m, typed, sizeof typed - 1);
    use_text(m, (const char *)data, size < 200 ? size : 200);
    use_session(m);
    use_text(m, (const char *)data + size - (size < 200 ? size : 200), size < 200 ? size : 200);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char err[96] = "";
    qig_gguf *g;
    int rc = qig_gguf_read(data, size, "fuzz.gguf", &g, err, sizeof err);
    if (!rc) {
        qig_model *m;
        read_values(g);
        rc = qig_model_from_gguf(g, "fuzz.gguf", "ref", &m, err, sizeof err);
        if (!rc) use_model(m, data, size);
        qig_model_close(m);
    }
    if (rc && !err[0]) abort(); /* an error without a line */
    for (const char *p = err; *p; p++)
        if ((unsigned char)*p < 0x20) abort(); /* or one that spans two */
    return 0;
}
