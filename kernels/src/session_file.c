/* session_file.c - see session_file.h. One walk over the parts of a session serves for their sizes, for writing, for checking and for taking over. */
#include "session_file.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "fingerprint.h"

static const char magic[8] = { 'Q', 'I', 'G', 'S', 'E', 'S', 'S', '\n' };

static size_t padded(size_t n) { return (n + 7) / 8 * 8; }

/* --- the parts --------------------------------------------------------------------------------------------------------------------------- */

typedef enum { TOKENS, RECORDS, RANDOM, BARE, FLOATS, LOGITS, POSITIONS, SCALES, ENTRIES } part;

typedef struct walk walk;
typedef int visit_fn(walk *w, part kind, void *slot, size_t bytes); /* slot: where it stands in the session; bytes: in the file, without padding */
struct walk {
    const qig_session *s;
    int32_t pos;
    const int32_t *counts; /* [n_caches] keys of each cache */
    visit_fn *visit;
    size_t size;           /* of the parts so far */
    const uint8_t *at;     /* reading: the next part */
    qig_kept_sink *sink;   /* writing */
    void *arg;
    uint64_t sum;
    const char *bad;       /* what is wrong with a part */
};

#define VISIT(kind, slot, bytes)                             \
    do {                                                     \
        int rc_ = w->visit(w, (kind), (void *)(slot), (bytes)); \
        if (rc_ != QIG_OK) return rc_;                       \
    } while (0)

static int walk_cache(walk *w, int32_t l) {
    const qig_session *s = w->s;
    const size_t n = (size_t)w->counts[l], x = (size_t)s->n_ctx, groups = (size_t)s->model->n_kv_heads, entry = s->cache_i8 ? 1 : sizeof(float);
    const size_t sd = (size_t)s->model->state_dim, c = (size_t)s->model->head_dim;
    if (l >= s->dense) VISIT(POSITIONS, qig_layer_positions(s, l), n * sizeof(int32_t));
    for (size_t g = 0; g < groups; g++) {
        const size_t first = ((size_t)l * groups + g) * x;
        VISIT(s->cache_i8 ? ENTRIES : FLOATS, (uint8_t *)s->keys + first * sd * entry, n * sd * entry);
        VISIT(s->cache_i8 ? ENTRIES : FLOATS, (uint8_t *)s->values + first * c * entry, n * c * entry);
        if (!s->cache_i8) continue;
        VISIT(SCALES, s->key_scales + first, n * sizeof(float));
        VISIT(SCALES, s->value_scales + first, n * sizeof(float));
    }
    return QIG_OK;
}

/* Everything that a session of pos tokens is, but for header and counts. The sketch follows from the keys, and what a draft made of the last token from what it
 * looks at: the last 1 + lag tokens. */
static int walk_parts(walk *w) {
    const qig_session *s = w->s;
    const size_t n = (size_t)w->pos, d = (size_t)s->model->d_model * sizeof(float);
    const int32_t lag = s->model->draft.lag;
    VISIT(TOKENS, s->tokens, n * sizeof(int32_t));
    VISIT(RECORDS, s->records, n * sizeof(qig_kept_record));
    VISIT(RANDOM, s->rng_at, (n + 1) * sizeof(uint64_t));
    if (lag) VISIT(BARE, s->spec.bare_at, n + 1);
    VISIT(FLOATS, s->early, (n < QIG_EARLY ? n : QIG_EARLY) * d);
    for (int32_t p = w->pos > 1 + lag ? w->pos - 1 - lag : 0; lag && p < w->pos; p++) {
        VISIT(FLOATS, qig_recent(s, s->spec.embedded, p), d);
        VISIT(FLOATS, qig_recent(s, s->spec.states, p), d);
    }
    if (n > 0) VISIT(LOGITS, s->logits, (size_t)s->model->vocab_size * sizeof(float));
    for (int32_t l = 0; l < s->n_caches; l++) {
        int rc = walk_cache(w, l);
        if (rc != QIG_OK) return rc;
    }
    return QIG_OK;
}

static int visit_size(walk *w, part kind, void *slot, size_t bytes) {
    (void)kind;
    (void)slot;
    w->size += padded(bytes);
    return QIG_OK;
}

/* --- what may stand in them -------------------------------------------------------------------------------------------------------------- */

static int finite_floats(const float *v, size_t n, float low) {
    int good = 1;
    for (size_t i = 0; i < n; i++) good &= isfinite(v[i]) && v[i] >= low;
    return good;
}

static int good_tokens(const int32_t *v, size_t n, int32_t vocab) {
    for (size_t i = 0; i < n; i++)
        if (v[i] < 0 || v[i] >= vocab) return 0;
    return 1;
}

static int good_positions(const int32_t *v, size_t n, int32_t pos) {
    for (size_t i = 0; i < n; i++)
        if (v[i] < 0 || v[i] >= pos || (i > 0 && v[i] <= v[i - 1])) return 0;
    return 1;
}

static int good_records(const qig_kept_record *r, size_t n, int32_t n_caches) {
    for (size_t i = 0; i < n; i++)
        if (r[i].regime < 0 || r[i].regime > 2 || r[i].blocks_run < 1 || r[i].blocks_run > n_caches || !isfinite(r[i].phi_mean) || !isfinite(r[i].mean_surprise)) return 0;
    return 1;
}

/* Kernels count on -127 to 127. */
static int good_entries(const int8_t *v, size_t n) {
    int lowest = 0;
    for (size_t i = 0; i < n; i++) lowest = v[i] < lowest ? v[i] : lowest;
    return lowest >= -127;
}

static int good_flags(const uint8_t *v, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (v[i] > 1) return 0;
    return 1;
}

/* NULL, or what is wrong. data: as in the file. Random numbers may be any, and the sampler looks at logits itself. */
static const char *part_fault(const walk *w, part kind, const void *data, size_t bytes) {
    switch (kind) {
    case TOKENS: return good_tokens(data, bytes / 4, w->s->model->vocab_size) ? NULL : "a token that is not in the vocabulary";
    case RECORDS: return good_records(data, bytes / sizeof(qig_kept_record), w->s->n_caches) ? NULL : "a record with impossible numbers";
    case BARE: return good_flags(data, bytes) ? NULL : "a flag that is neither 0 nor 1";
    case FLOATS: return finite_floats(data, bytes / 4, -INFINITY) ? NULL : "a state that is not finite";
    case POSITIONS: return good_positions(data, bytes / 4, w->pos) ? NULL : "positions of keys that do not rise within the text";
    case SCALES: return finite_floats(data, bytes / 4, 0) ? NULL : "a scale of the cache that is negative or not finite";
    case ENTRIES: return good_entries(data, bytes) ? NULL : "an entry of the cache beyond -127";
    default: return NULL;
    }
}

/* --- writing ----------------------------------------------------------------------------------------------------------------------------- */

static int put(walk *w, const void *data, size_t bytes) {
    static const uint8_t zeros[8];
    uint8_t last[8] = { 0 };
    const size_t whole = bytes / 8 * 8;
    w->sum = qig_sum(w->sum, data, whole);
    if (bytes > whole) {
        memcpy(last, (const uint8_t *)data + whole, bytes - whole);
        w->sum = qig_sum(w->sum, last, sizeof last);
    }
    if (w->sink(w->arg, data, bytes) != 0 || w->sink(w->arg, zeros, padded(bytes) - bytes) != 0) return QIG_ERR_IO;
    return QIG_OK;
}

static qig_kept_record pack(const qig_record *r) {
    const qig_telemetry *t = &r->telemetry;
    const qig_cache_reads *c = &r->reads;
    return (qig_kept_record){ t->phi, t->surprise, t->confidence, t->agency, t->curvature, t->kappa, t->coherence_drift, r->mean_surprise, t->regime, t->blocks_run,
                              t->bytes_read, r->phi_mean, c->keys_seen, c->keys_sketched, c->sketch_bytes, c->keys_read, c->values_read };
}

static qig_record unpack(const qig_kept_record *k) {
    return (qig_record){
        .telemetry = { k->phi, k->surprise, k->confidence, k->agency, k->curvature, k->kappa, k->coherence_drift, k->regime, k->blocks_run, k->bytes_read },
        .mean_surprise = k->mean_surprise,
        .phi_mean = k->phi_mean,
        .reads = { k->keys_seen, k->keys_sketched, k->sketch_bytes, k->keys_read, k->values_read },
    };
}

/* A part that could not be read back is not written: the numbers of a broken model are the only way to one. */
static int visit_write(walk *w, part kind, void *slot, size_t bytes) {
    if (kind != RECORDS) {
        w->bad = part_fault(w, kind, slot, bytes);
        return w->bad ? QIG_ERR_ARG : put(w, slot, bytes);
    }
    const qig_record *r = slot;
    for (size_t i = 0; i < bytes / sizeof(qig_kept_record); i++) {
        const qig_kept_record k = pack(&r[i]);
        w->bad = part_fault(w, kind, &k, sizeof k);
        int rc = w->bad ? QIG_ERR_ARG : put(w, &k, sizeof k);
        if (rc != QIG_OK) return rc;
    }
    return QIG_OK;
}

/* The settings in force, to list unless it is NULL; returns how many numbers they are. */
static uint32_t list_settings(const qig_model *m, qig_kept_setting *list) {
    uint32_t n = 0;
    const float *values = NULL;
    int32_t count = 0;
    const char *key;
    for (int32_t i = 0; (key = qig_model_setting(m, i, &values, &count)); i++)
        for (int32_t k = 0; k < count; k++, n++) {
            if (!list) continue;
            list[n] = (qig_kept_setting){ .value = values[k] };
            memcpy(list[n].key, key, strlen(key) < sizeof list[n].key ? strlen(key) : sizeof list[n].key);
        }
    return n;
}

static qig_kept_header header_of(const qig_session *s, size_t note_len) {
    const qig_model *m = s->model;
    qig_kept_header h = {
        .order = QIG_KEPT_ORDER, .version = QIG_KEPT_VERSION, .model = qig_model_fingerprint(m), .rng = s->rng, .lse = s->lse, .pos = s->pos,
        .cache_type = s->cache_i8 ? QIG_CACHE_I8 : QIG_CACHE_F32, .n_caches = s->n_caches, .dense = s->dense, .n_kv_heads = m->n_kv_heads,
        .state_dim = m->state_dim, .head_dim = m->head_dim, .d_model = m->d_model, .vocab = m->vocab_size, .lag = m->draft.lag,
        .n_settings = list_settings(m, NULL), .note_bytes = (uint32_t)note_len,
    };
    memcpy(h.magic, magic, sizeof magic);
    return h;
}

/* Bytes before the parts and after them. */
static size_t frame_bytes(const qig_kept_header *h) {
    return sizeof *h + h->n_settings * sizeof(qig_kept_setting) + padded(h->note_bytes) + padded((size_t)h->n_caches * sizeof(int32_t)) + sizeof(uint64_t);
}

int qig_session_write(const qig_session *s, const char *note, size_t note_len, qig_kept_sink *sink, void *arg, char *err, size_t errlen) {
    if (note_len > QIG_KEPT_NOTE || (!note && note_len))
        return qig_fail(err, errlen, QIG_ERR_ARG, "a note of %llu bytes: at most %d MiB are kept", (unsigned long long)note_len, QIG_KEPT_NOTE >> 20);
    if (s->pos > 0 && !isfinite(s->lse)) return qig_fail(err, errlen, QIG_ERR_ARG, "the session cannot be kept: its logits are not finite");
    qig_kept_header h = header_of(s, note_len);
    walk w = { .s = s, .pos = s->pos, .counts = s->counts, .visit = visit_size, .sink = sink, .arg = arg };
    walk_parts(&w);
    h.bytes = frame_bytes(&h) + w.size;
    h.sum = qig_sum(0, &h, offsetof(qig_kept_header, sum));
    qig_kept_setting *settings = calloc(h.n_settings + 1, sizeof *settings);
    if (!settings) return qig_fail(err, errlen, QIG_ERR_MEMORY, "no memory for a list of settings");
    list_settings(s->model, settings);
    w.visit = visit_write;
    int rc = put(&w, &h, sizeof h);
    if (rc == QIG_OK) rc = put(&w, settings, h.n_settings * sizeof *settings);
    if (rc == QIG_OK && note_len) rc = put(&w, note, note_len);
    if (rc == QIG_OK) rc = put(&w, s->counts, (size_t)s->n_caches * sizeof *s->counts);
    if (rc == QIG_OK) rc = walk_parts(&w);
    const uint64_t sum = w.sum;
    if (rc == QIG_OK) rc = put(&w, &sum, sizeof sum);
    free(settings);
    return w.bad ? qig_fail(err, errlen, rc, "the session cannot be kept: it has %s", w.bad) : rc;
}

/* --- reading ----------------------------------------------------------------------------------------------------------------------------- */

static const char *cache_name(int32_t type) { return type == QIG_CACHE_I8 ? "int8" : "float"; }

int qig_kept_check_header(const qig_session *s, const qig_kept_header *h, uint64_t size, const char *name, char *err, size_t errlen) {
    const qig_kept_header own = header_of(s, 0);
    if (size < sizeof *h || memcmp(h->magic, magic, sizeof magic) != 0) return qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is no kept session", name);
    if (h->order != own.order) return qig_fail(err, errlen, QIG_ERR_UNSUPPORTED, "'%s' was written by a machine with the other order of bytes", name);
    if (h->version != own.version)
        return qig_fail(err, errlen, QIG_ERR_UNSUPPORTED, "'%s' is of version %u of the format: this program reads version %u", name, (unsigned)h->version, (unsigned)own.version);
    if (h->sum != qig_sum(0, h, offsetof(qig_kept_header, sum))) return qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is damaged: the sum of its header is wrong", name);
    if (h->model != own.model) return qig_fail(err, errlen, QIG_ERR_ARG, "'%s' was kept with another model file than '%s'", name, s->model->name);
    if (h->cache_type != own.cache_type && (h->cache_type == QIG_CACHE_F32 || h->cache_type == QIG_CACHE_I8))
        return qig_fail(err, errlen, QIG_ERR_ARG, "'%s' has a cache of type %s, this session one of type %s", name, cache_name(h->cache_type), cache_name(own.cache_type));
    const int32_t theirs[] = { h->cache_type, h->n_caches, h->dense, h->n_kv_heads, h->state_dim, h->head_dim, h->d_model, h->vocab, h->lag };
    const int32_t ours[] = { own.cache_type, own.n_caches, own.dense, own.n_kv_heads, own.state_dim, own.head_dim, own.d_model, own.vocab, own.lag };
    if (memcmp(theirs, ours, sizeof ours) != 0 || h->n_settings != own.n_settings || h->pos < 0 || h->note_bytes > QIG_KEPT_NOTE)
        return qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is damaged: its header does not fit its model", name);
    if (h->pos > s->n_ctx)
        return qig_fail(err, errlen, QIG_ERR_CONTEXT_FULL, "'%s' holds %d tokens, the context has room for %d", name, (int)h->pos, (int)s->n_ctx);
    if (size < h->bytes)
        return qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is truncated: %llu of its %llu bytes are there", name, (unsigned long long)size, (unsigned long long)h->bytes);
    /* no more than all caches full, so that no lie about sizes reserves memory */
    walk w = { .s = s, .pos = h->pos, .visit = visit_size };
    int32_t *full = malloc((size_t)s->n_caches * sizeof *full);
    if (!full) return qig_fail(err, errlen, QIG_ERR_MEMORY, "no memory to read '%s'", name);
    for (int32_t l = 0; l < s->n_caches; l++) full[l] = h->pos;
    w.counts = full;
    walk_parts(&w);
    free(full);
    if (size != h->bytes || size % 8 != 0 || size > frame_bytes(h) + w.size)
        return qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is damaged: it has more bytes than its header tells of", name);
    return QIG_OK;
}

static int check_settings(const qig_session *s, const qig_kept_setting *theirs, uint32_t n, const char *name, char *err, size_t errlen) {
    char q[QIG_QUOTE_SIZE];
    qig_kept_setting *ours = calloc(n + 1, sizeof *ours);
    if (!ours) return qig_fail(err, errlen, QIG_ERR_MEMORY, "no memory to read '%s'", name);
    list_settings(s->model, ours);
    int rc = QIG_OK;
    for (uint32_t i = 0; i < n && rc == QIG_OK; i++) {
        if (memcmp(ours[i].key, theirs[i].key, sizeof ours[i].key) != 0)
            rc = qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is damaged: '%s' is no setting of its model", name, qig_quote(q, theirs[i].key, strnlen(theirs[i].key, sizeof theirs[i].key)));
        else if (!(ours[i].value == theirs[i].value))
            rc = qig_fail(err, errlen, QIG_ERR_ARG, "'%s' was kept with %.*s = %.9g, it is %.9g here", name, (int)sizeof ours[i].key, ours[i].key, (double)theirs[i].value, (double)ours[i].value);
    }
    free(ours);
    return rc;
}

static int visit_check(walk *w, part kind, void *slot, size_t bytes) {
    (void)slot;
    w->bad = part_fault(w, kind, w->at, bytes);
    w->at += padded(bytes);
    return w->bad ? QIG_ERR_FORMAT : QIG_OK;
}

static int visit_take(walk *w, part kind, void *slot, size_t bytes) {
    const qig_kept_record *k = (const qig_kept_record *)w->at;
    qig_record *r = slot;
    if (kind == RECORDS) for (size_t i = 0; i < bytes / sizeof *k; i++) r[i] = unpack(&k[i]);
    else memcpy(slot, w->at, bytes);
    w->at += padded(bytes);
    return QIG_OK;
}

static int good_counts(const qig_session *s, const int32_t *counts, int32_t pos) {
    for (int32_t l = 0; l < s->n_caches; l++)
        if (counts[l] < 0 || counts[l] > pos || (l < s->dense && counts[l] != pos)) return 0;
    return 1;
}

/* The sketch of the keys that came. */
static void sketch_keys(qig_session *s) {
    const size_t sd = (size_t)s->model->state_dim, groups = (size_t)s->model->n_kv_heads;
    for (int32_t l = 0; s->sketched && l < s->n_caches; l++)
        for (int32_t g = 0; g < (int32_t)groups; g++)
            for (int32_t j = 0; j < s->counts[l]; j++) {
                const size_t row = ((size_t)l * groups + (size_t)g) * (size_t)s->n_ctx + (size_t)j;
                qig_sketch_key((const int8_t *)s->keys + row * sd, s->key_scales[row], (int)sd, qig_layer_sketch(s, l, g), j);
            }
}

/* All parts have passed. */
static void take_over(qig_session *s, const qig_kept_header *h, const int32_t *counts, walk *w) {
    qig_speculation_forget(&s->spec);
    s->ready = NULL;
    s->pos = h->pos;
    s->rng = h->rng;
    s->lse = h->lse;
    memcpy(s->counts, counts, (size_t)s->n_caches * sizeof *counts);
    w->visit = visit_take;
    walk_parts(w);
    sketch_keys(s);
}

int qig_session_read(qig_session *s, const void *data, size_t size, const char *name, char *err, size_t errlen) {
    const uint8_t *bytes = data;
    qig_kept_header h = { 0 };
    uint64_t sum = 0;
    memcpy(&h, data, size < sizeof h ? size : sizeof h);
    int rc = qig_kept_check_header(s, &h, size, name, err, errlen);
    if (rc != QIG_OK) return rc;
    if (size < frame_bytes(&h)) return qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is damaged: it has fewer bytes than its header tells of", name);
    memcpy(&sum, bytes + size - sizeof sum, sizeof sum);
    if (sum != qig_sum(0, data, size - sizeof sum)) return qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is damaged: its sum is wrong", name);
    const qig_kept_setting *settings = (const qig_kept_setting *)(bytes + sizeof h);
    rc = check_settings(s, settings, h.n_settings, name, err, errlen);
    if (rc != QIG_OK) return rc;
    const uint8_t *note = (const uint8_t *)(settings + h.n_settings);
    const int32_t *counts = (const int32_t *)(note + padded(h.note_bytes));
    walk w = { .s = s, .pos = h.pos, .counts = counts, .visit = visit_size };
    if (!isfinite(h.lse) && h.pos > 0) w.bad = "a sum of its logits that is not finite";
    else if (!good_counts(s, counts, h.pos)) w.bad = "more keys than tokens, or fewer where every token has one";
    if (!w.bad) {
        walk_parts(&w);
        if (frame_bytes(&h) + w.size != size) w.bad = "another length than its contents";
    }
    w.at = (const uint8_t *)counts + padded((size_t)s->n_caches * sizeof *counts);
    const uint8_t *parts = w.at;
    w.visit = visit_check;
    if (!w.bad) walk_parts(&w);
    if (w.bad) return qig_fail(err, errlen, QIG_ERR_FORMAT, "'%s' is damaged: it has %s", name, w.bad);
    char *kept = malloc(h.note_bytes + 1);
    if (!kept) return qig_fail(err, errlen, QIG_ERR_MEMORY, "no memory to read '%s'", name);
    memcpy(kept, note, h.note_bytes);
    free(s->note);
    s->note = kept;
    s->note_len = h.note_bytes;
    w.at = parts;
    take_over(s, &h, counts, &w);
    return QIG_OK;
}
