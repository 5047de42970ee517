/* fuzz_session.c - libFuzzer target of the reader of kept sessions: changes to the files of sessions that were really kept, with the sums put right or left wrong;
 * what is taken is used as a session.
 *
 *   python kernels/fuzz/make_seeds.py SEEDS && build/fuzz/fuzz_session -max_total_time=60 CORPUS SEEDS/fuzz_session
 *
 * An input: a byte, of which bits 0 to 4 choose the kept session, bit 6 keeps wrong sums, bit 7 says that the rest stands in place of the file (with its header's
 * model and length put right, which no input could guess). Else the rest is changes: u16 where, in bytes modulo the file's length, then a byte that is xored in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../tests/kept_session.h"

static uint64_t rng_state = 3;
static uint32_t rng(void) {
    rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(rng_state >> 32);
}
static float rng_float(void) { return (float)rng() * (2.0f / 4294967296.0f) - 1.0f; }

#include "../tests/tiny_models.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SESSIONS = 2 * TINY_KINDS, CHANGE = 3, WRONG_SUMS = 0x40, WHOLE = 0x80 };

static struct {
    qig_model *model;
    int32_t cache;
    size_t n;
    uint8_t *bytes;
    qig_session *session; /* used again and again: what an input leaves must not matter */
} kept[SESSIONS];

static qig_session *open_session(int i) {
    const qig_session_params p = {.n_ctx = TINY_CONTEXT, .n_threads = 1, .n_batch = 8, .cache_type = kept[i].cache};
    qig_session *s;
    if (qig_session_new(kept[i].model, &p, &s, NULL, 0) || qig_session_set_speculation(s, kept[i].model->draft.lag, NULL, 0)) abort();
    return s;
}

static void begin(void) {
    static kept_bytes out;
    for (int i = 0; i < SESSIONS; i++) {
        const tiny_file f = tiny_random(&tiny_kinds[i / 2]); /* stays as long as the process */
        qig_gguf *g;
        if (qig_gguf_read(f.p, f.n, "tiny", &g, NULL, 0) || qig_model_from_gguf(g, "tiny", "ref", &kept[i].model, NULL, 0)) abort();
        kept[i].cache = i % 2 ? QIG_CACHE_I8 : QIG_CACHE_F32;
        qig_session *s = open_session(i);
        int32_t text[20], tokens[QIG_MAX_DRAFT + 1], n;
        for (int k = 0; k < 20; k++) text[k] = (int32_t)(rng() % 256);
        if (qig_session_eval(s, text, 20, NULL, NULL, 0) || qig_session_next(s, tokens, QIG_MAX_DRAFT + 1, &n, NULL, 0)) abort();
        out.n = 0, out.most = KEPT_ROOM;
        if (qig_session_write(s, "a note", 6, kept_sink, &out, NULL, 0)) abort();
        kept[i].session = s;
        kept[i].n = out.n;
        kept[i].bytes = malloc(out.n);
        if (!kept[i].bytes) abort();
        memcpy(kept[i].bytes, out.bytes, out.n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!kept[0].model) begin();
    if (size == 0) return 0;
    const int i = (data[0] & 31) % SESSIONS, whole = data[0] & WHOLE;
    const size_t n = whole ? size - 1 : kept[i].n;
    uint8_t *file = malloc(n ? n : 1); /* of its very length, so that a byte beyond it is seen; and aligned, as a reader wants it */
    if (!file) abort();
    memcpy(file, whole ? data + 1 : kept[i].bytes, n);
    for (size_t at = 1; !whole && at + CHANGE <= size; at += CHANGE) file[(data[at] | (size_t)data[at + 1] << 8) % n] ^= data[at + 2];
    qig_kept_header h;
    if (whole && n >= sizeof h) {
        memcpy(&h, file, sizeof h);
        h.model = qig_model_fingerprint(kept[i].model);
        h.bytes = n;
        memcpy(file, &h, sizeof h);
    }
    if (!(data[0] & WRONG_SUMS)) kept_fix(file, n);
    qig_session *s = kept[i].session;
    const int32_t before = 7;
    char err[96] = "";
    if (qig_session_rollback(s, 0, NULL, 0) || qig_session_eval(s, &before, 1, NULL, NULL, 0)) abort();
    if (qig_session_read(s, file, n, "fuzz.qig", err, sizeof err) == QIG_OK) {
        if (!kept_use(s)) abort();
    } else if (!err[0] || qig_session_pos(s) != 1 || qig_session_tokens(s)[0] != before) {
        abort();
    }
    for (const char *p = err; *p; p++)
        if ((unsigned char)*p < 0x20) abort();
    free(file);
    return 0;
}
