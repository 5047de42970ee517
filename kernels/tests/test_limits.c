/* test_limits.c - sessions at their limits: nothing in the context, all but one position of it taken, all of it; and numbers that are not finite. Every kind of
 * tiny_models.h in every kernel set that this processor runs, float and int8 cache, pass by pass and token by token. usage: test_limits [seed [kernel set ...]]
 */
#include "ops_test.h"

#include "../src/model.h"
#include "tiny_models.h"


static char err[256];

static qig_model *open_tiny(const tiny_file *f, const char *isa) {
    qig_gguf *g;
    qig_model *m = NULL;
    if (qig_gguf_read(f->p, f->n, "tiny", &g, err, sizeof err) != QIG_OK || qig_model_from_gguf(g, "tiny", isa, &m, err, sizeof err) != QIG_OK) {
        fprintf(stderr, "%s: %s\n", current, err);
        exit(1);
    }
    return m;
}

static qig_session *open_session(qig_model *m, qig_session_params p) {
    qig_session *s = NULL;
    if (qig_session_new(m, &p, &s, err, sizeof err) != QIG_OK) {
        fprintf(stderr, "%s: %s\n", current, err);
        exit(1);
    }
    return s;
}

/* --- what a session holds ----------------------------------------------------------------------------------------------------------- */

typedef struct {
    int32_t pos, tokens[TINY_CONTEXT];
    float logits[TINY_VOCAB];
    qig_telemetry last;
} snapshot;

static snapshot look(const qig_session *s) {
    snapshot v = {.pos = qig_session_pos(s)};
    memcpy(v.tokens, qig_session_tokens(s), (size_t)v.pos * sizeof *v.tokens);
    if (v.pos == 0) return v;
    memcpy(v.logits, qig_session_logits(s), sizeof v.logits);
    qig_session_telemetry(s, v.pos - 1, &v.last);
    return v;
}

/* The fields before bytes_read stand without gaps. */
static int same_record(const qig_telemetry *a, const qig_telemetry *b) {
    return !memcmp(a, b, offsetof(qig_telemetry, blocks_run) + sizeof a->blocks_run) && a->bytes_read == b->bytes_read;
}

static int unchanged(const qig_session *s, const snapshot *v) {
    const snapshot now = look(s);
    return now.pos == v->pos && !memcmp(now.tokens, v->tokens, sizeof now.tokens) && !memcmp(now.logits, v->logits, sizeof now.logits) && same_record(&now.last, &v->last);
}

/* An evaluation that is refused, with a word of why, and leaves nothing. */
static void refused(qig_session *s, const int32_t *tokens, int32_t n, int code, const char *word) {
    const snapshot before = look(s);
    err[0] = 0;
    const int rc = qig_session_eval(s, tokens, n, NULL, err, sizeof err);
    CHECK(rc == code && strstr(err, word), "%d tokens at %d: code %d, '%s'", (int)n, (int)before.pos, rc, err);
    CHECK(unchanged(s, &before), "%d tokens that were refused at %d left something", (int)n, (int)before.pos);
}

static void has_logits(const qig_session *s, const float *want, const char *when) {
    CHECK(qig_session_pos(s) > 0 && !memcmp(qig_session_logits(s), want, TINY_VOCAB * sizeof *want), "other logits %s", when);
}

/* A full session says so whatever asks for room, and still draws. */
static void is_full(qig_session *s, const int32_t *tokens) {
    int32_t token = -1, n = -1;
    const snapshot before = look(s);
    CHECK(before.pos == qig_session_n_ctx(s), "%d positions taken", (int)before.pos);
    refused(s, tokens, 1, QIG_ERR_CONTEXT_FULL, "full");
    refused(s, tokens, 2, QIG_ERR_CONTEXT_FULL, "full");
    CHECK(qig_session_next(s, &token, 1, &n, err, sizeof err) == QIG_ERR_CONTEXT_FULL && n == 0 && strstr(err, "full"), "next drew %d tokens", (int)n);
    CHECK(qig_session_sample(s, &token, err, sizeof err) == QIG_OK && token >= 0 && token < TINY_VOCAB, "a full session draws nothing: %s", err);
    CHECK(unchanged(s, &before), "a full session changed");
}

/* A session without a token, fresh or rolled back: nothing to look at, to draw from or to go back to. */
static void is_empty(qig_session *s, const int32_t *tokens) {
    qig_telemetry record;
    qig_cache_reads reads;
    int32_t token, n = 0;
    CHECK(qig_session_pos(s) == 0 && qig_session_logits(s) == NULL, "%d tokens in an empty session", (int)qig_session_pos(s));
    CHECK(qig_session_telemetry(s, 0, &record) == QIG_ERR_ARG && qig_session_cache_reads(s, 0, &reads) == QIG_ERR_ARG, "a record of nothing");
    CHECK(qig_session_sample(s, &token, err, sizeof err) == QIG_ERR_ARG && strstr(err, "nothing"), "draws from nothing: %s", err);
    CHECK(qig_session_next(s, &token, 1, &n, err, sizeof err) == QIG_ERR_ARG && n == 0, "goes on from nothing");
    CHECK(qig_session_rollback(s, 1, err, sizeof err) == QIG_ERR_ARG && qig_session_rollback(s, -1, err, sizeof err) == QIG_ERR_ARG, "rolls back to nowhere");
    CHECK(qig_session_slide(s, 1, 0, err, sizeof err) == QIG_ERR_ARG && qig_session_slide(s, 0, 1, err, sizeof err) == QIG_ERR_ARG, "keeps what is not there");
    CHECK(qig_session_rollback(s, 0, err, sizeof err) == QIG_OK && qig_session_slide(s, 0, 0, err, sizeof err) == QIG_OK && qig_session_pos(s) == 0, "%s", err);
    refused(s, tokens, 0, QIG_ERR_ARG, "nothing to evaluate");
    refused(s, tokens, -1, QIG_ERR_ARG, "nothing to evaluate");
    refused(s, NULL, 1, QIG_ERR_ARG, "nothing to evaluate");
    refused(s, tokens, qig_session_n_ctx(s) + 1, QIG_ERR_CONTEXT_FULL, "full");
}

/* --- the context -------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int32_t tokens[TINY_CONTEXT + 1];
    float logits[TINY_CONTEXT][TINY_VOCAB]; /* after each token, one by one and with room to spare */
} text;

/* Returns the numbers of blocks that tokens ran, as bits. */
static int read_text(qig_model *m, int32_t cache, text *t) {
    qig_session *s = open_session(m, (qig_session_params){.n_ctx = 2 * TINY_CONTEXT, .n_threads = 1, .cache_type = cache});
    int depths = 0;
    for (int i = 0; i <= TINY_CONTEXT; i++) t->tokens[i] = rng_int(0, TINY_VOCAB - 1);
    for (int i = 0; i < TINY_CONTEXT; i++) {
        qig_telemetry r;
        CHECK(qig_session_eval(s, t->tokens + i, 1, NULL, err, sizeof err) == QIG_OK && qig_session_telemetry(s, i, &r) == QIG_OK, "%s", err);
        memcpy(t->logits[i], qig_session_logits(s), sizeof t->logits[i]);
        depths |= 1 << (r.blocks_run < 31 ? r.blocks_run : 31);
        for (int v = 0; v < TINY_VOCAB; v++) CHECK(isfinite(t->logits[i][v]), "logit %d after token %d is %g", v, i, (double)t->logits[i][v]);
    }
    qig_session_free(s);
    return depths;
}

/* The first token of all: attention over itself alone. */
static void first_token(qig_session *s, const text *t) {
    qig_telemetry r = {0};
    qig_cache_reads reads = {0};
    CHECK(qig_session_eval(s, t->tokens, 1, NULL, err, sizeof err) == QIG_OK && qig_session_telemetry(s, 0, &r) == QIG_OK && qig_session_cache_reads(s, 0, &reads) == QIG_OK, "%s", err);
    has_logits(s, t->logits[0], "after the first token");
    CHECK(r.phi == 0 && r.surprise == 0 && r.agency == 1 && r.blocks_run >= 1, "phi %g, surprise %g, agency %g of the first token", (double)r.phi, (double)r.surprise, (double)r.agency);
    CHECK(reads.keys_seen == (uint64_t)r.blocks_run && reads.keys_read == reads.keys_seen && reads.values_read == reads.keys_seen, "the first token saw %d keys and read %d",
          (int)reads.keys_seen, (int)reads.keys_read);
}

/* The next tokens by qig_session_next where there is room for one: one comes (or an end, which is not evaluated), drafts or none. */
static void next_fits(qig_session *s, int32_t drafts) {
    int32_t tokens[QIG_MAX_DRAFT + 1], n = 0;
    const int32_t pos = qig_session_pos(s);
    CHECK(qig_session_set_speculation(s, drafts, err, sizeof err) == QIG_OK, "%s", err);
    CHECK(qig_session_next(s, tokens, QIG_MAX_DRAFT + 1, &n, err, sizeof err) == QIG_OK && n == 1, "%d tokens where one fits: %s", (int)n, err);
    CHECK(qig_session_pos(s) == pos + (tokens[0] != TINY_EOS && tokens[0] != TINY_EOT), "at %d after next", (int)qig_session_pos(s));
    CHECK(qig_session_rollback(s, pos, err, sizeof err) == QIG_OK && qig_session_set_speculation(s, 0, err, sizeof err) == QIG_OK, "%s", err);
}

static void test_context(qig_model *m, int32_t cache, int32_t batch, const text *t) {
    static float all[TINY_CONTEXT * TINY_VOCAB];
    const int32_t unknown[2] = {t->tokens[0], TINY_VOCAB};
    qig_session *s = open_session(m, (qig_session_params){.n_ctx = TINY_CONTEXT, .n_threads = 1, .n_batch = batch, .cache_type = cache});
    begin_case();
    is_empty(s, t->tokens);
    first_token(s, t);
    CHECK(qig_session_eval(s, t->tokens + 1, TINY_CONTEXT - 2, NULL, err, sizeof err) == QIG_OK, "%s", err);
    has_logits(s, t->logits[TINY_CONTEXT - 2], "one short of full");
    refused(s, t->tokens, 2, QIG_ERR_CONTEXT_FULL, "full");
    refused(s, t->tokens, 0, QIG_ERR_ARG, "nothing to evaluate");
    refused(s, unknown + 1, 1, QIG_ERR_ARG, "vocabulary");
    refused(s, unknown, 2, QIG_ERR_ARG, "vocabulary");
    for (int32_t drafts = 0; drafts <= m->draft.lag; drafts++) {
        next_fits(s, drafts);
        has_logits(s, t->logits[TINY_CONTEXT - 2], "rolled back to one short of full");
    }
    for (int again = 0; again < 2; again++) {
        CHECK(qig_session_eval(s, t->tokens + TINY_CONTEXT - 1, 1, NULL, err, sizeof err) == QIG_OK, "the last token: %s", err);
        has_logits(s, t->logits[TINY_CONTEXT - 1], "when full");
        is_full(s, t->tokens);
        CHECK(qig_session_rollback(s, TINY_CONTEXT, err, sizeof err) == QIG_OK, "%s", err);
        CHECK(qig_session_rollback(s, TINY_CONTEXT - 1, err, sizeof err) == QIG_OK, "%s", err);
        has_logits(s, t->logits[TINY_CONTEXT - 2], "rolled back from full");
    }
    CHECK(qig_session_rollback(s, 0, err, sizeof err) == QIG_OK, "%s", err);
    is_empty(s, t->tokens);
    CHECK(qig_session_eval(s, t->tokens, TINY_CONTEXT, all, err, sizeof err) == QIG_OK && !memcmp(all, t->logits, sizeof all), "filled at once it has other logits");
    is_full(s, t->tokens);

    qig_session *fresh = open_session(m, (qig_session_params){.n_threads = 1, .cache_type = cache});
    CHECK(qig_session_slide(s, 3, 10, err, sizeof err) == QIG_OK && qig_session_pos(s) == 13, "%s", err);
    CHECK(qig_session_eval(fresh, qig_session_tokens(s), 13, NULL, err, sizeof err) == QIG_OK, "%s", err);
    has_logits(s, qig_session_logits(fresh), "after it slid");
    CHECK(qig_session_eval(s, t->tokens, TINY_CONTEXT - 13, NULL, err, sizeof err) == QIG_OK, "%s", err);
    is_full(s, t->tokens);
    qig_session_free(fresh);
    qig_session_free(s);
    end_case();

    begin_case(); /* a context of one token is full with the first */
    s = open_session(m, (qig_session_params){.n_ctx = 1, .n_threads = 1, .n_batch = batch, .cache_type = cache});
    is_empty(s, t->tokens);
    first_token(s, t);
    is_full(s, t->tokens);
    CHECK(qig_session_slide(s, 0, 1, err, sizeof err) == QIG_OK, "%s", err);
    has_logits(s, t->logits[0], "after it slid");
    CHECK(qig_session_slide(s, 0, 0, err, sizeof err) == QIG_OK, "%s", err);
    is_empty(s, t->tokens);
    qig_session_free(s);
    end_case();
}

/* --- not finite --------------------------------------------------------------------------------------------------------------------- */

enum { CLEAN = 20 }; /* tokens before the bad one: more than a block of the sketch */
static const float bad_values[] = {NAN, INFINITY, -INFINITY};

/* Puts a value into row `row` of a tensor, into a block's scale where it has blocks; returns where, and what was there in *old. */
static uint8_t *spoil(const tiny_file *f, const qig_tensor_info *t, uint64_t row, float bad, uint32_t *old) {
    const int f32 = !strcmp(t->type, "F32");
    const uint16_t half = isnan(bad) ? 0x7e00 : bad > 0 ? 0x7c00 : 0xfc00;
    uint8_t *p = f->p + t->offset + row * (t->bytes / (t->n_dims > 1 ? t->ne[1] : 1));
    memcpy(old, p, 4);
    memcpy(p, f32 ? (const void *)&bad : &half, f32 ? 4 : 2);
    return p;
}

/* Records are in their ranges or NaN, and a session of which nothing can be drawn says so (-inf is a token that is impossible). */
static void tells_the_truth(const qig_model *m, qig_session *s) {
    const float *logits = qig_session_logits(s);
    int possible = 0, bad = 0;
    for (int v = 0; v < TINY_VOCAB; v++) possible |= !!isfinite(logits[v]), bad |= isnan(logits[v]) || logits[v] == INFINITY;
    for (int32_t i = 0; i < qig_session_pos(s); i++) {
        qig_telemetry r = {0};
        CHECK(qig_session_telemetry(s, i, &r) == QIG_OK && r.regime >= 0 && r.regime <= 2 && r.blocks_run >= 1 && r.blocks_run <= TINY_BLOCKS + m->depth.max_loops,
               "token %d: regime %d, %d blocks", (int)i, (int)r.regime, (int)r.blocks_run);
        CHECK(!(r.agency < 0) && !(r.agency > 1) && !(r.phi < 0) && !(r.phi > 1) && !(r.confidence < 0) && !(r.confidence > 1), "token %d: agency %g, phi %g, confidence %g", (int)i,
               (double)r.agency, (double)r.phi, (double)r.confidence);
    }
    int32_t token = -1;
    const int rc = qig_session_sample(s, &token, err, sizeof err);
    if (possible && !bad) CHECK(rc == QIG_OK && token >= 0 && token < TINY_VOCAB, "draws nothing: %s", err);
    else CHECK(rc == QIG_ERR_ARG && err[0], "draws %d from what is not finite", (int)token);
}

/* A token whose embedding is bad, in the midst of others: it is not finite, and forgotten with it is all that came of it. */
static void test_bad_token(qig_model *m, const tiny_file *f, int32_t cache, int32_t batch, const text *t, float bad) {
    qig_tensor_info embedding = {0};
    int32_t poison = t->tokens[CLEAN - 1];
    uint32_t old;
    for (int used = 1; used;) { /* a token that the text does not use */
        poison = (poison + 1) % TINY_VOCAB, used = 0;
        for (int i = 0; i < TINY_CONTEXT; i++) used |= t->tokens[i] == poison;
    }
    begin_case();
    for (int64_t i = 0; qig_model_tensor(m, i, &embedding) == QIG_OK && strcmp(embedding.name, "token_embd.weight"); i++) continue;
    qig_session *s = open_session(m, (qig_session_params){.n_threads = 1, .n_batch = batch, .cache_type = cache, .prompt_telemetry = 1});
    const int32_t tokens[4] = {poison, t->tokens[0], t->tokens[1], poison};
    CHECK(qig_session_eval(s, t->tokens, CLEAN, NULL, err, sizeof err) == QIG_OK, "%s", err);
    for (int once = 0; once < 2; once++) { /* alone, then in one pass with others */
        uint8_t *at = spoil(f, &embedding, (uint64_t)poison, bad, &old);
        CHECK(qig_session_eval(s, tokens, once ? 4 : 1, NULL, err, sizeof err) == QIG_OK, "%s", err);
        for (int v = 0; v < TINY_VOCAB; v++) CHECK(isnan(qig_session_logits(s)[v]), "%g in an embedding gave the logit %g", (double)bad, (double)qig_session_logits(s)[v]);
        tells_the_truth(m, s);
        CHECK(qig_session_eval(s, t->tokens, 5, NULL, err, sizeof err) == QIG_OK, "%s", err);
        tells_the_truth(m, s);
        memcpy(at, &old, 4); /* the head may be the same table */
        CHECK(qig_session_rollback(s, CLEAN - 3 * once, err, sizeof err) == QIG_OK, "%s", err);
        has_logits(s, t->logits[CLEAN - 3 * once - 1], "when what is not finite was forgotten");
    }
    CHECK(qig_session_eval(s, t->tokens + CLEAN - 3, TINY_CONTEXT - CLEAN + 3, NULL, err, sizeof err) == QIG_OK, "%s", err);
    has_logits(s, t->logits[TINY_CONTEXT - 1], "after what was not finite");
    qig_session_free(s);
    end_case();
}

/* A bad value in any tensor whose values are not checked when a model is opened, by turns a NaN and the infinities: the session runs, records stay in range, and
 * it draws or says why not. */
static void test_bad_weights(qig_model *m, const tiny_file *f, int32_t cache, const text *t) {
    static const char *const checked[] = {"attn_temp", "attn_gate", "attn_q_gain", "attn_k_gain", "ffn_route", "exit_probe", "token_scale"};
    qig_tensor_info x;
    int spoilt = 0;
    begin_case();
    for (int64_t i = 0; qig_model_tensor(m, i, &x) == QIG_OK; i++) {
        int skip = 0;
        for (size_t c = 0; c < sizeof checked / sizeof *checked; c++) skip |= strstr(x.name, checked[c]) != NULL;
        if (skip) continue;
        uint32_t old;
        uint8_t *at = spoil(f, &x, x.n_dims > 1 ? (uint64_t)rng_int(0, (int)x.ne[1] - 1) : 0, bad_values[(spoilt++ + cache) % 3], &old);
        qig_session *s = open_session(m, (qig_session_params){.n_threads = 1, .cache_type = cache, .prompt_telemetry = 1});
        CHECK(qig_session_eval(s, t->tokens, 4, NULL, err, sizeof err) == QIG_OK && qig_session_eval(s, t->tokens + 4, 1, NULL, err, sizeof err) == QIG_OK, "%s: %s", x.name, err);
        tells_the_truth(m, s);
        qig_session_free(s);
        memcpy(at, &old, 4);
    }
    CHECK(spoilt > 8 * TINY_BLOCKS, "only %d tensors", spoilt);
    end_case();
}

int main(int argc, char **argv) {
    static text t;
    char isas[128], label[200];
    int sets = 0;
    rng_state = argc > 1 ? strtoull(argv[1], NULL, 10) : 4;
    printf("test_limits: seed %llu, kernel sets here: %s\n", (unsigned long long)rng_state, qig_isa_list());
    for (int k = 0; k < TINY_KINDS; k++) {
        tiny_file f = tiny_random(&tiny_kinds[k]);
        snprintf(isas, sizeof isas, "%s", qig_isa_list());
        int depths = sets = 0;
        for (const char *isa = strtok(isas, ","); isa; isa = strtok(NULL, ",")) {
            if (!asked_for(isa, argc, argv)) continue;
            sets++;
            qig_model *m = open_tiny(&f, isa);
            for (int32_t cache = QIG_CACHE_F32; cache <= QIG_CACHE_I8; cache++) {
                snprintf(label, sizeof label, "%s, %s, %s cache", tiny_kinds[k].name, isa, cache == QIG_CACHE_I8 ? "int8" : "float");
                current = label;
                begin_case();
                depths |= read_text(m, cache, &t);
                end_case();
                for (int32_t batch = 1; batch <= 7; batch += 6) {
                    test_context(m, cache, batch, &t);
                    for (int b = 0; b < 3; b++) test_bad_token(m, &f, cache, batch, &t, bad_values[b]);
                }
                test_bad_weights(m, &f, cache, &t);
            }
            qig_model_close(m);
        }
        begin_case();
        CHECK(tiny_kinds[k].exits ? (depths & (depths - 1)) != 0 : depths == 1 << TINY_BLOCKS, "tokens ran these numbers of blocks: %x", (unsigned)depths);
        end_case();
        free(f.p);
    }
    printf("test_limits: %ld cases, %ld failed\n", cases_run, cases_failed);
    return cases_failed || !sets || cases_run != (long)TINY_KINDS * (1 + sets * 2 * (1 + 2 * 5 + 1));
}
