/* session.c - a session's memory, history and bookkeeping; the arithmetic is in forward.c. */
#include "session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "depth.h"
#include "error.h"
#include "pass.h"
#include "topology.h"

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

enum {
    MAX_THREADS = 256,
    MAX_BATCH = 4096,
    DEFAULT_BATCH = 128,
    WORK_BYTES = 8 << 20, /* the default batch shrinks until a pass's buffers fit */
    HEAD_ROWS = 16,       /* distributions at a time where every token's is wanted: 2 MB at a vocabulary of 32000 */
};

static const qig_sampler_params default_sampler = { .temperature = 0, .top_k = 0, .top_p = 1, .min_p = 0, .repeat_penalty = 1, .repeat_last_n = 0, .seed = 0 };

static size_t max_size(size_t a, size_t b) { return a > b ? a : b; }
static size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

/* Weights of a block whoever runs it: all but the matrices of its feed-forwards. */
static uint64_t block_bytes(const qig_layer *y) {
    const qig_tensor *all[] = { &y->attn_norm, &y->attn_q, &y->attn_k, &y->attn_v, &y->attn_output, &y->attn_temp, &y->attn_q_gain, &y->attn_k_gain,
                                &y->attn_gate, &y->ffn_norm, &y->ffn_route, &y->attn_norm_bias, &y->ffn_norm_bias };
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) bytes += qig_tensor_bytes(all[i]);
    return bytes;
}

/* What follows from the model and does not change: bytes by use, and the gates' distances. */
static void fill_tables(qig_session *s) {
    const qig_model *m = s->model;
    const size_t heads = (size_t)m->n_heads;
    s->embed_bytes = m->token_embd.row_bytes + (m->token_scale.data ? sizeof(float) : 0);
    s->readout_bytes = qig_tensor_bytes(&m->output_norm) + qig_tensor_bytes(&m->output_norm_bias) + qig_tensor_bytes(&m->depth.symmetry);
    s->head_bytes = qig_tensor_bytes(&m->output_down) + qig_tensor_bytes(&m->output);
    s->guess_bytes = m->draft.bytes + s->embed_bytes + qig_tensor_bytes(&m->basin_proj) + qig_tensor_bytes(&m->output_down) +
                     (uint64_t)m->draft.words * m->output.row_bytes;
    for (int32_t i = 0; m->draft.lag && i < m->d_model; i++) s->spec.ones[i] = 1;
    for (int32_t l = 0; l <= m->n_layers; l++) {
        const qig_layer *y = l < m->n_layers ? &m->layers[l] : &m->depth.integrator;
        s->block_bytes[l] = block_bytes(y);
        for (size_t h = 0; h < heads; h++) {
            float threshold = y->attn_gate.data ? ((const float *)y->attn_gate.data)[h] : m->gate_threshold;
            float *to = &s->max_distance[(size_t)l * heads + h];
            *to = h > 0 && !y->attn_gate.data ? to[-1] : qig_gate_distance(threshold, m->metric);
        }
    }
    for (int32_t i = 0; i < s->n_batch; i++) s->everyone[i] = i;
}

/* One entry a buffer; the arena is laid out from the list, so that sizes stand in one place. */
typedef struct { void **slot; size_t bytes; } buffer;

enum { MAX_BUFFERS = 64 };

static int has_transposed(const qig_model *m) {
    for (int32_t l = 0; l < m->n_layers; l++)
        if (m->layers[l].ffn_down_t.data) return 1;
    return m->depth.integrator.ffn_down_t.data != NULL;
}

/* Whether some head will read a sketch before the context is full. */
static int wants_sketch(const qig_session *s) {
    const qig_model *m = s->model;
    int32_t some = 0;
    for (int32_t h = 0; m->decay_slopes && h < m->n_heads; h++) some |= qig_sifts(s->margin, m->decay_slopes[h], s->n_ctx);
    return s->cache_i8 && some && m->state_dim % 8 == 0;
}

static int list_buffers(qig_session *s, buffer *list) {
    const qig_model *m = s->model;
    const size_t n = (size_t)s->n_batch, x = (size_t)s->n_ctx, d = (size_t)m->d_model, heads = (size_t)m->n_heads, sd = (size_t)m->state_dim;
    const size_t c = (size_t)m->head_dim, groups = (size_t)m->n_kv_heads, vocab = (size_t)m->vocab_size;
    const size_t hidden = max_size((size_t)m->hidden_dim, (size_t)m->depth.shallow), layers = (size_t)m->n_layers;
    const size_t rows = (size_t)s->n_caches * groups * x, entry = s->cache_i8 ? 1 : sizeof(float);
    s->norm_width = round_up(max_size(max_size(d, (size_t)m->basin_dim), (size_t)m->head_width), 32);
    s->wide_width = max_size(max_size((heads + 2 * groups) * c, hidden), (size_t)m->head_width);
    s->wide_q_width = round_up(max_size(max_size(heads * c, hidden), (size_t)m->head_width), 32);
    s->scratch_width = round_up(max_size(max_size(s->sketched ? 3 * x : x, sd), d), 16);
    const size_t blocks = s->sketched ? round_up(x, QIG_SKETCH_BLOCK) / QIG_SKETCH_BLOCK : 0;
    const size_t sketch = (size_t)s->n_caches * groups * blocks * qig_sketch_words(m->state_dim) * sizeof *s->sketch;
    const size_t f = sizeof(float), positions = (size_t)(s->n_caches - s->dense) * x * sizeof *s->positions;
    const size_t parts = (size_t)qig_logit_parts(m->vocab_size);
    int k = 0;
#define BUFFER(field, size) list[k++] = (buffer){ (void **)&s->field, (size) }
    BUFFER(tokens, x * sizeof *s->tokens);
    BUFFER(records, x * sizeof *s->records);
    BUFFER(rng_at, (x + 1) * sizeof *s->rng_at);
    BUFFER(keys, rows * sd * entry);
    BUFFER(values, rows * c * entry);
    if (s->cache_i8) {
        BUFFER(key_scales, rows * f);
        BUFFER(value_scales, rows * f);
    }
    if (s->sketched) BUFFER(sketch, sketch);
    BUFFER(counts, (size_t)s->n_caches * sizeof *s->counts);
    BUFFER(positions, positions);
    BUFFER(block_bytes, (layers + 1) * sizeof *s->block_bytes);
    BUFFER(max_distance, (layers + 1) * heads * f);
    BUFFER(x, n * d * f);
    BUFFER(everyone, n * sizeof *s->everyone);
    BUFFER(alive, n * sizeof *s->alive);
    BUFFER(order, 2 * n * sizeof *s->order);
    BUFFER(x_in, n * d * f);
    BUFFER(norm, n * s->norm_width * f);
    BUFFER(wide, n * s->wide_width * f);
    if (m->layers[0].ffn_gate.data || m->jarvis) BUFFER(gate, n * hidden * f);
    BUFFER(mixed, n * heads * c * f);
    BUFFER(norm_q, n * (s->norm_width / 32) * sizeof(qig_block_a8));
    BUFFER(wide_q, n * (s->wide_q_width / 32) * sizeof(qig_block_a8));
    if (has_transposed(m)) {
        BUFFER(units, n * (size_t)m->hidden_dim * sizeof *s->units);
        BUFFER(n_units, n * sizeof *s->n_units);
    }
    BUFFER(query, n * heads * sd * entry);
    BUFFER(query_scale, n * heads * f);
    BUFFER(early, (x < QIG_EARLY ? x : QIG_EARLY) * d * f);
    BUFFER(turn, n * sd * f);
    BUFFER(coupling, n * f);
    BUFFER(frequency, c * sizeof(double));
    BUFFER(head_phi, n * heads * f);
    BUFFER(head_active, n * heads * sizeof(int32_t));
    BUFFER(head_reads, n * heads * sizeof *s->head_reads);
    BUFFER(sums, n * sizeof(qig_token_sums));
    BUFFER(scratch, (size_t)s->most_threads * s->scratch_width * f);
    BUFFER(logits, vocab * f);
    if (s->prompt_telemetry) BUFFER(rows, (size_t)s->head_rows * vocab * f);
    BUFFER(parts, n * parts * sizeof(qig_logit_part));
    if (m->depth.n_exits) {
        BUFFER(exit_distance, n * sizeof *s->exit_distance);
        BUFFER(exit_confidence, n * sizeof *s->exit_confidence);
    }
    if (m->depth.n_exits && m->depth.exit_rule == QIG_EXIT_BURES) {
        BUFFER(exit_logits[0], n * vocab * f);
        BUFFER(exit_logits[1], n * vocab * f);
        BUFFER(exit_lse, 2 * n * sizeof *s->exit_lse);
        BUFFER(exit_row, n * sizeof *s->exit_row);
        BUFFER(exit_parts, n * parts * sizeof *s->exit_parts);
    }
    BUFFER(candidates, vocab * sizeof(qig_candidate));
    if (m->draft.lag) {
        const size_t in = (size_t)m->draft.lag * d, inside = (size_t)m->draft.hidden;
        BUFFER(spec.embedded, QIG_RECENT * d * f);
        BUFFER(spec.states, QIG_RECENT * d * f);
        BUFFER(spec.input, in * f);
        BUFFER(spec.input_q, round_up(in, 32) / 32 * sizeof(qig_block_a8));
        BUFFER(spec.z, d * f);
        BUFFER(spec.hidden, inside * f);
        BUFFER(spec.hidden_q, round_up(inside, 32) / 32 * sizeof(qig_block_a8));
        BUFFER(spec.ones, d * f);
        BUFFER(spec.draft_rows, (size_t)m->draft.lag * (size_t)m->draft.words * f);
        BUFFER(spec.full_rows, ((size_t)m->draft.lag + 2) * vocab * f);
        BUFFER(spec.candidates, vocab * sizeof(qig_candidate));
        BUFFER(spec.bare_at, x + 1);
        BUFFER(spec.shares, vocab * sizeof(double));
    }
#undef BUFFER
    s->cache_bytes = rows * (sd + c) * entry + (s->cache_i8 ? 2 * rows * f : 0) + sketch + positions;
    return k;
}

/* Bytes of buffers that grow with n_batch, for one token. */
static size_t pass_bytes(qig_session *s) {
    buffer list[MAX_BUFFERS];
    size_t with = 0, without = 0;
    s->n_batch = 2;
    int k = list_buffers(s, list);
    for (int i = 0; i < k; i++) with += list[i].bytes;
    s->n_batch = 1;
    list_buffers(s, list);
    for (int i = 0; i < k; i++) without += list[i].bytes;
    return with - without;
}

static int map_arena(qig_session *s, char *err, size_t errlen) {
    buffer list[MAX_BUFFERS];
    int k = list_buffers(s, list);
    size_t total = 0;
    for (int i = 0; i < k; i++) total += round_up(list[i].bytes, 64);
    void *mem = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED)
        return qig_fail(err, errlen, QIG_ERR_MEMORY, "no memory for a session of %d positions (%llu MiB)", (int)s->n_ctx, (unsigned long long)(total >> 20));
    s->arena = mem;
    s->arena_bytes = total;
    uint8_t *at = mem;
    for (int i = 0; i < k; i++) {
        *list[i].slot = at;
        at += round_up(list[i].bytes, 64);
    }
    return QIG_OK;
}

static int check_params(const qig_session_params *p, const qig_model *m, char *err, size_t errlen) {
    if (p->n_ctx < 0 || p->n_ctx > QIG_MAX_CONTEXT)
        return qig_fail(err, errlen, QIG_ERR_ARG, "n_ctx = %d must be 1 to %d, or 0 for the model's %d", (int)p->n_ctx, (int)QIG_MAX_CONTEXT, (int)m->context_length);
    if (p->n_threads < 0 || p->n_threads > MAX_THREADS)
        return qig_fail(err, errlen, QIG_ERR_ARG, "n_threads = %d must be 1 to %d, or 0 to choose", (int)p->n_threads, (int)MAX_THREADS);
    if (p->n_threads_batch < 0 || p->n_threads_batch > MAX_THREADS)
        return qig_fail(err, errlen, QIG_ERR_ARG, "n_threads_batch = %d must be 1 to %d, or 0 to choose", (int)p->n_threads_batch, (int)MAX_THREADS);
    if (p->n_batch < 0 || p->n_batch > MAX_BATCH)
        return qig_fail(err, errlen, QIG_ERR_ARG, "n_batch = %d must be 1 to %d, or 0 to choose", (int)p->n_batch, (int)MAX_BATCH);
    if (p->cache_type < QIG_CACHE_AUTO || p->cache_type > QIG_CACHE_I8)
        return qig_fail(err, errlen, QIG_ERR_ARG, "cache_type = %d must be 0 (auto), 1 (f32) or 2 (i8)", (int)p->cache_type);
    if (p->prompt_telemetry != 0 && p->prompt_telemetry != 1)
        return qig_fail(err, errlen, QIG_ERR_ARG, "prompt_telemetry = %d must be 0 or 1", (int)p->prompt_telemetry);
    if (p->all_keys != 0 && p->all_keys != 1) return qig_fail(err, errlen, QIG_ERR_ARG, "all_keys = %d must be 0 or 1", (int)p->all_keys);
    return QIG_OK;
}

/* The counts that are given, else where the trials of them begin. Work for many tokens at once has arithmetic for every core. */
static void choose_threads(qig_session *s, const qig_session_params *p, const qig_topology *machine) {
    const int32_t most = qig_topology_threads(machine, QIG_MOST_CHOSEN), batch = p->n_threads_batch ? p->n_threads_batch : p->n_threads;
    if (p->n_threads) qig_thread_count_set(&s->threads[0], p->n_threads);
    else qig_thread_count_begin(&s->threads[0], qig_topology_threads(machine, QIG_DEFAULT_DECODE), most);
    if (batch) qig_thread_count_set(&s->threads[1], batch);
    else qig_thread_count_begin(&s->threads[1], most, most);
    const int32_t chosen = p->n_threads && batch ? 0 : most, given = p->n_threads > batch ? p->n_threads : batch;
    s->most_threads = chosen > given ? chosen : given;
}

int qig_session_new(qig_model *m, const qig_session_params *p, qig_session **out, char *err, size_t errlen) {
    static const qig_session_params defaults = { 0 };
    if (!m || !out) return qig_fail(err, errlen, QIG_ERR_ARG, "qig_session_new needs a model and a place for the session");
    *out = NULL;
    if (!p) p = &defaults;
    int rc = check_params(p, m, err, errlen);
    if (rc != QIG_OK) return rc;
    qig_session *s = calloc(1, sizeof *s);
    if (!s) return qig_fail(err, errlen, QIG_ERR_MEMORY, "no memory for a session");
    s->model = m;
    s->n_ctx = p->n_ctx ? p->n_ctx : m->context_length;
    s->cache_i8 = p->cache_type == QIG_CACHE_I8 || (p->cache_type == QIG_CACHE_AUTO && !m->all_f32);
    s->prompt_telemetry = p->prompt_telemetry;
    s->head_rows = HEAD_ROWS;
    s->n_caches = m->n_layers + m->depth.max_loops;
    s->dense = qig_dense_caches(m);
    s->margin = m->gate_margin > 0 ? m->gate_margin : INFINITY;
    s->sketched = !p->all_keys && wants_sketch(s);
    s->sampler = default_sampler;
    qig_topology machine;
    qig_topology_read(&machine);
    choose_threads(s, p, &machine);
    size_t fit = WORK_BYTES / pass_bytes(s);
    s->n_batch = p->n_batch ? p->n_batch : fit < 8 ? 8 : fit < DEFAULT_BATCH ? (int32_t)fit : DEFAULT_BATCH;
    if (s->n_batch > s->n_ctx) s->n_batch = s->n_ctx;
    if (s->head_rows > s->n_batch) s->head_rows = s->n_batch;
    rc = map_arena(s, err, errlen);
    if (rc == QIG_OK) {
        s->pool = qig_pool_new(s->most_threads, &machine);
        if (!s->pool) rc = qig_fail(err, errlen, QIG_ERR_MEMORY, "the system refuses %d threads", (int)s->most_threads);
    }
    if (rc != QIG_OK) {
        qig_session_free(s);
        return rc;
    }
    fill_tables(s);
    atomic_store(&m->in_use, 1);
    /* pure states turn pairs (c, c + C/2), diagonal ones each amplitude: docs/formats.md */
    const double width = m->state == QIG_STATE_PURE ? 0.5 * m->head_dim : m->head_dim;
    for (int c = 0; c < m->head_dim; c++) s->frequency[c] = pow(m->rope_base, -c / width);
    s->rng = s->rng_at[0] = qig_rng_seed(s->sampler.seed);
    *out = s;
    return QIG_OK;
}

void qig_session_free(qig_session *s) {
    if (!s) return;
    qig_pool_free(s->pool);
    if (s->arena) munmap(s->arena, s->arena_bytes);
    free(s->note);
    free(s);
}

int32_t qig_session_pos(const qig_session *s) { return s->pos; }
int32_t qig_session_n_ctx(const qig_session *s) { return s->n_ctx; }
int32_t qig_session_n_threads(const qig_session *s) { return s->threads[0].count; }
int32_t qig_session_n_threads_batch(const qig_session *s) { return s->threads[1].count; }
uint64_t qig_session_cache_bytes(const qig_session *s) { return s->cache_bytes; }
const int32_t *qig_session_tokens(const qig_session *s) { return s->tokens; }
const float *qig_session_logits(const qig_session *s) { return s->pos > 0 ? s->logits : NULL; }

/* The record of the token at pos but for what depends on distributions. */
static void record_blocks(qig_session *s, int32_t pos, const qig_token_sums *sums, float coupling, double head_share) {
    const qig_model *m = s->model;
    s->records[pos].telemetry = (qig_telemetry){
        .phi = (float)(sums->phi / ((double)sums->blocks * m->n_heads)),
        .surprise = NAN,
        .confidence = NAN,
        .agency = (float)((double)sums->active / (double)sums->possible),
        .curvature = (float)(sums->curvature / sums->blocks),
        .kappa = m->kappa_0 * coupling,
        .coherence_drift = (float)sums->drift,
        .regime = sums->regime,
        .blocks_run = sums->blocks,
        .bytes_read = (uint64_t)(sums->weight_bytes + head_share + 0.5) + s->embed_bytes + sums->cache_bytes,
    };
    s->records[pos].mean_surprise = pos > 0 ? s->records[pos - 1].mean_surprise : 0;
    s->records[pos].phi_mean = sums->phi_mean;
    s->records[pos].reads = sums->reads;
}

/* Surprise of the token at pos under the distribution before it, if that was computed; moves the running mean. */
static void record_surprise(qig_session *s, int32_t pos, double log_p) {
    qig_record *r = &s->records[pos];
    const float mean = pos > 0 ? r[-1].mean_surprise : 0;
    r->telemetry.surprise = pos > 0 ? qig_surprise(log_p) : 0;
    r->mean_surprise = pos > 0 ? mean + (r->telemetry.surprise - mean) / 16 : 0;
}

/* Confidence after the token at pos, from the distribution in parts[row]; returns its ln sum exp. */
static double record_confidence(qig_session *s, int32_t pos, int32_t row) {
    const int parts = qig_logit_parts(s->model->vocab_size);
    qig_logit_stats stats = qig_logits_combine(s->parts + (size_t)row * (size_t)parts, parts);
    s->records[pos].telemetry.confidence = qig_confidence(s->model, stats.purity, s->records[pos].mean_surprise);
    return stats.lse;
}

/* Logits of rows [row0, row0 + n) of the pass to out, and their parts. */
static void distributions(qig_session *s, int32_t row0, int32_t n, float *out) {
    if (s->ready) memcpy(out, s->ready, (size_t)s->model->vocab_size * sizeof *out);
    else qig_forward_head(s, row0, n, out);
}

/* Distributions computed at a time: as many as there is room for. */
static int32_t head_step(const qig_session *s, const float *all_logits) { return all_logits ? s->n_batch : s->head_rows; }

/* Distributions of the n tokens of a pass that began at pos0, a few at a time, to out [n, vocab] or through `rows`. */
static void observe_pass(qig_session *s, int32_t pos0, int32_t n, float *out) {
    const size_t vocab = (size_t)s->model->vocab_size;
    const int32_t step = head_step(s, out);
    for (int32_t at = 0; at < n; at += step) {
        const int32_t count = n - at < step ? n - at : step;
        float *rows = out ? out + (size_t)at * vocab : n == 1 ? s->logits : s->rows;
        const int32_t first = pos0 + at;
        double log_p = first > 0 ? (double)s->logits[s->tokens[first]] - s->lse : 0; /* before a single row overwrites it */
        distributions(s, at, count, rows);
        for (int32_t i = 0; i < count; i++) {
            record_surprise(s, first + i, log_p);
            s->lse = record_confidence(s, first + i, i);
            if (i + 1 < count) log_p = (double)rows[(size_t)i * vocab + (size_t)s->tokens[first + i + 1]] - s->lse;
        }
        if (rows != s->logits) memcpy(s->logits, rows + (size_t)(count - 1) * vocab, vocab * sizeof(float));
    }
}

/* tokens[pos .. pos + n) are in place and checked. */
static void evaluate(qig_session *s, int32_t n, float *all_logits) {
    qig_speculation_forget(&s->spec);
    if (s->spec.bare_at) memset(s->spec.bare_at + s->pos + 1, 0, (size_t)n);
    const size_t vocab = (size_t)s->model->vocab_size;
    const int observe = n == 1 || all_logits || s->prompt_telemetry;
    const int32_t step = head_step(s, all_logits);
    for (int32_t done = 0; done < n;) {
        const int32_t count = n - done < s->n_batch ? n - done : s->n_batch, pos0 = s->pos, last = done + count == n;
        qig_forward_blocks(s, pos0, count);
        const uint64_t heads = s->ready ? 0 : observe ? (uint64_t)((count + step - 1) / step) : (uint64_t)last;
        const double head_share = (double)(heads * s->head_bytes) / count;
        for (int32_t i = 0; i < count; i++) {
            record_blocks(s, pos0 + i, &s->sums[i], s->coupling[i], head_share);
            if (!observe && pos0 + i == 0) record_surprise(s, 0, 0);
            s->rng_at[pos0 + i + 1] = s->rng;
        }
        if (observe) {
            observe_pass(s, pos0, count, all_logits ? all_logits + (size_t)done * vocab : NULL);
        } else if (last) {
            distributions(s, count - 1, 1, s->logits);
            s->lse = record_confidence(s, pos0 + count - 1, 0);
        }
        s->pos += count;
        done += count;
    }
}

int qig_session_eval(qig_session *s, const int32_t *tokens, int32_t n, float *all_logits, char *err, size_t errlen) {
    if (!tokens || n < 1) return qig_fail(err, errlen, QIG_ERR_ARG, "nothing to evaluate: n = %d must be at least 1", (int)n);
    for (int32_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= s->model->vocab_size)
            return qig_fail(err, errlen, QIG_ERR_ARG, "token %d at index %d is not in the vocabulary of %d", (int)tokens[i], (int)i, (int)s->model->vocab_size);
    if (n > s->n_ctx - s->pos)
        return qig_fail(err, errlen, QIG_ERR_CONTEXT_FULL, "the context of %d tokens is full: %d in it, %d more asked", (int)s->n_ctx, (int)s->pos, (int)n);
    memmove(s->tokens + s->pos, tokens, (size_t)n * sizeof *tokens); /* may be the session's own history */
    evaluate(s, n, all_logits);
    return QIG_OK;
}

int qig_session_telemetry(const qig_session *s, int32_t pos, qig_telemetry *out) {
    if (pos < 0 || pos >= s->pos || !out) return QIG_ERR_ARG;
    *out = s->records[pos].telemetry;
    return QIG_OK;
}

int qig_session_cache_reads(const qig_session *s, int32_t pos, qig_cache_reads *out) {
    if (pos < 0 || pos >= s->pos || !out) return QIG_ERR_ARG;
    *out = s->records[pos].reads;
    return QIG_OK;
}

/* Forgets the keys of tokens from pos on. */
static void truncate_caches(qig_session *s, int32_t pos) {
    for (int32_t l = 0; l < s->n_caches; l++) {
        const int32_t *positions = qig_layer_positions(s, l);
        if (!positions) s->counts[l] = pos;
        else while (s->counts[l] > 0 && positions[s->counts[l] - 1] >= pos) s->counts[l]--;
    }
}

void qig_session_keep(qig_session *s, int32_t n, int32_t kept, const float *rows, double bytes) {
    const size_t vocab = (size_t)s->model->vocab_size;
    const int32_t pos0 = s->pos;
    for (int32_t i = kept; i < n; i++) bytes += s->sums[i].weight_bytes + (double)(s->sums[i].cache_bytes + s->embed_bytes);
    double log_p = (double)s->logits[s->tokens[pos0]] - s->lse;
    for (int32_t i = 0; i < kept; i++) {
        record_blocks(s, pos0 + i, &s->sums[i], s->coupling[i], bytes / kept);
        record_surprise(s, pos0 + i, log_p);
        s->lse = record_confidence(s, pos0 + i, i);
        if (i + 1 < kept) log_p = (double)rows[(size_t)i * vocab + (size_t)s->tokens[pos0 + i + 1]] - s->lse;
    }
    memcpy(s->logits, rows + (size_t)(kept - 1) * vocab, vocab * sizeof(float));
    s->pos += kept;
    truncate_caches(s, s->pos);
}

int qig_session_rollback(qig_session *s, int32_t pos, char *err, size_t errlen) {
    const qig_model *m = s->model;
    if (pos < 0 || pos > s->pos) return qig_fail(err, errlen, QIG_ERR_ARG, "cannot roll back to %d: the session is at %d", (int)pos, (int)s->pos);
    s->rng = s->rng_at[pos];
    s->spec.has_next = 0;
    if (pos == s->pos) return QIG_OK;
    qig_speculation_forget(&s->spec);
    s->pos = pos;
    /* Records and keys are as they were; only the logits have to come back, and what a draft looks at. */
    const int32_t again = 1 + m->draft.lag, from = pos > again ? pos - again : 0;
    truncate_caches(s, from);
    if (pos == 0) return QIG_OK;
    int32_t n = 0;
    for (int32_t at = from; at < pos; at += n) {
        n = pos - at < s->n_batch ? pos - at : s->n_batch;
        qig_forward_blocks(s, at, n);
    }
    distributions(s, n - 1, 1, s->logits);
    const int parts = qig_logit_parts(s->model->vocab_size);
    s->lse = qig_logits_combine(s->parts, parts).lse;
    return QIG_OK;
}

int qig_session_slide(qig_session *s, int32_t n_keep, int32_t n_tail, char *err, size_t errlen) {
    if (n_keep < 0 || n_tail < 0 || n_keep > s->pos || n_tail > s->pos - n_keep)
        return qig_fail(err, errlen, QIG_ERR_ARG, "cannot keep %d + %d of %d tokens", (int)n_keep, (int)n_tail, (int)s->pos);
    memmove(s->tokens + n_keep, s->tokens + (s->pos - n_tail), (size_t)n_tail * sizeof *s->tokens);
    s->pos = 0;
    truncate_caches(s, 0);
    s->rng_at[0] = s->rng;
    if (s->spec.bare_at) s->spec.bare_at[0] = 0;
    if (n_keep + n_tail > 0) evaluate(s, n_keep + n_tail, NULL);
    return QIG_OK;
}

int qig_session_set_sampler(qig_session *s, const qig_sampler_params *p, char *err, size_t errlen) {
    if (!p) return qig_fail(err, errlen, QIG_ERR_ARG, "no sampler parameters given");
    int rc = qig_sampler_check(p, err, errlen);
    if (rc != QIG_OK) return rc;
    s->sampler = *p;
    s->spec.has_next = 0;
    s->rng = s->rng_at[s->pos] = qig_rng_seed(p->seed);
    return QIG_OK;
}

int qig_session_sample(qig_session *s, int32_t *token, char *err, size_t errlen) {
    if (!token || s->pos == 0) return qig_fail(err, errlen, QIG_ERR_ARG, "nothing to sample from: evaluate a token first");
    if (s->spec.wanted) return qig_speculation_sample(s, token, err, errlen);
    return qig_sampler_draw(&s->sampler, s->logits, s->model->vocab_size, s->tokens, s->pos, s->candidates, &s->rng, token, err, errlen);
}
