/* tiny_models.h - random models of a few blocks in memory, of every kind that a session runs: plain blocks, everything of docs/formats.md's Depth at once with a
 * draft, and the llama layout; each with matrices of one type. Included after ops_test.h, whose random numbers it uses. */
#ifndef QIG_TINY_MODELS_H
#define QIG_TINY_MODELS_H

#include "tiny_gguf.h"

typedef struct {
    const char *name, *architecture;
    uint32_t type;     /* of the matrices */
    const char *exits; /* rule of a qig model's exits; NULL: plain blocks */
    const char *state; /* of a qig model */
} tiny_kind;

static const tiny_kind tiny_kinds[] = {
    {"plain F32", "qig", TINY_F32, NULL, "pure"},      {"plain Q4_0", "qig", TINY_Q4_0, NULL, "pure"},   {"depth by probe, F32", "qig", TINY_F32, "probe", "pure"},
    {"depth by probe, Q4_0", "qig", TINY_Q4_0, "probe", "pure"}, {"depth by bures, Q8_0, diagonal", "qig", TINY_Q8_0, "bures", "diagonal"},
    {"depth by bures, F32", "qig", TINY_F32, "bures", "pure"},   {"llama Q8_0", "llama", TINY_Q8_0, NULL, ""},
    {"llama F32", "llama", TINY_F32, NULL, ""},        {"arcee Q4_0", "arcee", TINY_Q4_0, NULL, ""}};
enum { TINY_KINDS = sizeof tiny_kinds / sizeof *tiny_kinds, TINY_CONTEXT = 40, TINY_BLOCKS = 4, TINY_LOOPS = 3, TINY_LAG = 2, TINY_MAX_TENSORS = 96 };

typedef struct {
    char names[TINY_MAX_TENSORS][48];
    tiny_tensor list[TINY_MAX_TENSORS];
    size_t n;
} tiny_tensors;

static void tiny_add(tiny_tensors *t, const char *prefix, const char *name, uint64_t rows, uint64_t cols, uint32_t type) {
    if (t->n == TINY_MAX_TENSORS) abort();
    snprintf(t->names[t->n], sizeof t->names[0], "%s%s.weight", prefix, name);
    t->list[t->n] = (tiny_tensor){t->names[t->n], rows, cols, rows ? type : TINY_F32};
    t->n++;
}

static void tiny_block(tiny_tensors *t, const tiny_kind *k, const char *prefix, int number) {
    const int qig = !strcmp(k->architecture, "qig"), turned = k->exits && number % 2 == 1;
    tiny_add(t, prefix, "attn_norm", 0, 32, 0), tiny_add(t, prefix, "ffn_norm", 0, 32, 0);
    tiny_add(t, prefix, "attn_q", 32, 32, k->type), tiny_add(t, prefix, "attn_k", 16, 32, k->type);
    tiny_add(t, prefix, "attn_v", 16, 32, k->type), tiny_add(t, prefix, "attn_output", 32, 32, k->type);
    tiny_add(t, prefix, "ffn_up", 64, 32, k->type);
    if (turned) tiny_add(t, prefix, "ffn_down_t", 64, 32, k->type);
    else tiny_add(t, prefix, "ffn_down", 32, 64, k->type);
    if (!strcmp(k->architecture, "llama")) tiny_add(t, prefix, "ffn_gate", 64, 32, k->type);
    if (qig) tiny_add(t, prefix, "attn_temp", 0, 2, 0);
    if (!strcmp(k->state, "diagonal")) tiny_add(t, prefix, "attn_q_gain", 0, 2, 0), tiny_add(t, prefix, "attn_k_gain", 0, 1, 0);
    if (k->exits) tiny_add(t, prefix, "attn_gate", 0, 2, 0);
    if (!k->exits || number < 1 || number == TINY_BLOCKS) return;
    tiny_add(t, prefix, "ffn_shallow_up", 32, 32, k->type), tiny_add(t, prefix, "ffn_shallow_down", 32, 32, k->type), tiny_add(t, prefix, "ffn_route", 0, 2, 0);
    if (number < TINY_BLOCKS - 1 && !strcmp(k->exits, "probe")) tiny_add(t, prefix, "exit_probe", 0, 33, 0);
}

static void tiny_floats(tiny_file *f, const char *key, const float *v, size_t n) {
    tiny_kv_array(f, key, 6, n);
    tiny_put(f, v, n * sizeof *v);
}

/* Everything of Depth: exits after blocks 2 and 3, half of the blocks with ffn_down_t, an integrator, a draft. */
static void tiny_depth_keys(tiny_file *f, const tiny_kind *k) {
    static const struct { const char *key; uint32_t v; } ints[] = {
        {"qig.mandatory_blocks", 1}, {"qig.shallow_length", 32}, {"qig.recursion.min_loops", 1}, {"qig.recursion.max_loops", TINY_LOOPS}, {"qig.symmetry.rank", 2},
        {"qig.draft.lag", TINY_LAG}, {"qig.draft.feed_forward_length", 32}, {"qig.draft.vocab", 250}};
    static const struct { const char *key; float v; } floats[] = {
        {"qig.regime.low", 0.3f}, {"qig.regime.high", 0.6f}, {"qig.regime.smoothing", 0.3f}, {"qig.regime.hysteresis", 0.01f}, {"qig.regime.curvature", 0.6f},
        {"qig.recursion.min_phi", 0.4f}, {"qig.decoherence.threshold", 2}, {"qig.code_rate.max_entropy", 0.9f}, {"qig.confidence.scale", 0.7f}, {"qig.confidence.bias", 0.1f}};
    static const float factors[] = {0.7f, 1.1f, 1.4f}, thresholds[] = {0.4f, 0.3f};
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) tiny_kv_u32(f, ints[i].key, ints[i].v);
    for (size_t i = 0; i < sizeof floats / sizeof *floats; i++) tiny_kv_f32(f, floats[i].key, floats[i].v);
    tiny_kv_str(f, "qig.regime.on_breakdown", "mark");
    tiny_kv_str(f, "qig.exit.rule", k->exits);
    tiny_floats(f, "qig.regime.coupling", factors, 3);
    tiny_floats(f, "qig.exit.thresholds", thresholds, 2);
    tiny_kv_array(f, "qig.exit.blocks", 4, 2);
    tiny_u32(f, 2), tiny_u32(f, 3);
    tiny_key(f, "qig.gate.learnt", 7);
    tiny_put(f, "\1", 1);
}

static void tiny_llama_keys(tiny_file *f, const char *architecture) {
    static const struct { const char *key; uint32_t v; } ints[] = {
        {"context_length", TINY_CONTEXT}, {"embedding_length", 32}, {"block_count", TINY_BLOCKS}, {"feed_forward_length", 64},
        {"attention.head_count", 2}, {"attention.head_count_kv", 1}, {"attention.key_length", 16}, {"attention.value_length", 16}};
    char key[64];
    for (size_t i = 0; i < sizeof ints / sizeof *ints; i++) {
        snprintf(key, sizeof key, "%s.%s", architecture, ints[i].key);
        tiny_kv_u32(f, key, ints[i].v);
    }
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", architecture);
    tiny_kv_f32(f, key, 1e-5f);
}

/* One weight or block of a tensor, inside what its values may be. */
static void tiny_fill(const tiny_tensor *t, uint8_t *p) {
    static const uint16_t d4 = 0x2a80, d8 = 0x1a00; /* random nibbles and bytes times that have a size of about 1/4 */
    const size_t block = t->type == TINY_Q4_0 ? 18 : 34;
    for (uint64_t at = 0; at < tiny_bytes(t); at += t->type == TINY_F32 ? 4 : block) {
        const float r = rng_float();
        const float v = t->rows ? (strstr(t->name, "symmetry") || strstr(t->name, "modes") ? 0.2f : 0.35f) * r
                        : strstr(t->name, "attn_temp") || strstr(t->name, "attn_gate") ? 0.2f + 0.1f * r
                        : strstr(t->name, "ffn_route") ? at ? 0.7f : 0.2f
                        : strstr(t->name, "exit_probe") ? 0.8f * r : strstr(t->name, "token_scale") ? 1.5f + 0.5f * r : 1.0f + 0.5f * r;
        if (t->type == TINY_F32) memcpy(p + at, &v, 4);
        else {
            memcpy(p + at, t->type == TINY_Q4_0 ? &d4 : &d8, 2);
            for (size_t i = 2; i < block; i++) p[at + i] = (uint8_t)rng();
        }
    }
}

/* The whole file; free f.p. */
static tiny_file tiny_random(const tiny_kind *k) {
    static const float slopes[] = {3.0f, 0.05f}; /* the first is steep enough for keys to be left out within the context */
    const int qig = !strcmp(k->architecture, "qig");
    tiny_tensors *t = calloc(1, sizeof *t);
    if (!t) abort();
    tiny_file f = tiny_open(k->architecture, 32);
    if (qig) tiny_qig_keys(&f, TINY_CONTEXT, TINY_BLOCKS, 64, 4, k->state);
    else tiny_llama_keys(&f, k->architecture);
    if (qig) tiny_floats(&f, "qig.attention.decay_slopes", slopes, 2);
    if (!strcmp(k->state, "diagonal")) tiny_key(&f, "qig.attention.state_phases", 7), tiny_put(&f, "\1", 1);
    if (k->exits) tiny_depth_keys(&f, k);
    tiny_words(&f);

    tiny_add(t, "", "token_embd", TINY_VOCAB, 32, k->type);
    for (int l = 0; l < TINY_BLOCKS; l++) {
        char prefix[16];
        snprintf(prefix, sizeof prefix, "blk.%d.", l);
        tiny_block(t, k, prefix, l);
    }
    tiny_add(t, "", "output_norm", 0, 32, 0);
    if (qig) tiny_add(t, "", "basin_proj", 32, 32, k->type), tiny_add(t, "", "output_down", 32, 32, k->type);
    if (k->exits) {
        tiny_block(t, k, "integrator.", TINY_BLOCKS);
        tiny_add(t, "", "token_scale", 0, TINY_VOCAB, 0);
        tiny_add(t, "", "decoherence_modes", 24, 32, TINY_F32), tiny_add(t, "", "symmetry", 2, 32, TINY_F32);
        tiny_add(t, "", "draft_input", 32, 32 * TINY_LAG, k->type), tiny_add(t, "", "draft_up", 32, 32, k->type), tiny_add(t, "", "draft_down", 32, 32, k->type);
        tiny_add(t, "", "draft_norm", 0, 32, 0), tiny_add(t, "", "draft_output_norm", 0, 32, 0);
    }
    f = tiny_close(f, t->list, t->n, 32);
    uint8_t *p = f.p + f.data;
    for (size_t i = 0; i < t->n; p += (tiny_bytes(&t->list[i]) + 31) / 32 * 32, i++) tiny_fill(&t->list[i], p);
    free(t);
    return f;
}

#endif
