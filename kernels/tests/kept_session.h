/* kept_session.h - what the test and the fuzzer of kept sessions share: a session as bytes, sums put right over changed bytes, and the use of what was read. */
#ifndef QIG_KEPT_SESSION_H
#define QIG_KEPT_SESSION_H

#include <stdlib.h>
#include <string.h>

#include "../src/fingerprint.h"
#include "../src/session_file.h"

enum { KEPT_ROOM = 1 << 18 };

typedef struct {
    size_t n, most; /* the sink fails beyond most bytes */
    uint64_t bytes[KEPT_ROOM / 8]; /* aligned as a reader wants them */
} kept_bytes;

static inline int kept_sink(void *arg, const void *data, size_t n) {
    kept_bytes *k = arg;
    if (n > k->most - k->n) return -1;
    memcpy((uint8_t *)k->bytes + k->n, data, n);
    k->n += n;
    return 0;
}

/* As a writer would have left them: so that what lies behind the sums is reached. n is the whole file's length. */
static inline void kept_fix(uint8_t *p, size_t n) {
    qig_kept_header h;
    if (n < sizeof h + sizeof(uint64_t) || n % 8 != 0) return;
    memcpy(&h, p, sizeof h);
    h.sum = qig_sum(0, &h, offsetof(qig_kept_header, sum));
    memcpy(p, &h, sizeof h);
    const uint64_t sum = qig_sum(0, p, n - sizeof sum);
    memcpy(p + n - sizeof sum, &sum, sizeof sum);
}

/* Whatever was read is a session: everything may be asked of it. 0 where something is off. */
static inline int kept_use(qig_session *s) {
    const int32_t pos = qig_session_pos(s), vocab = s->model->vocab_size;
    char err[128] = "";
    int32_t token = 0, tokens[QIG_MAX_DRAFT + 1], n = 0;
    for (int32_t i = 0; i < pos; i++) {
        qig_telemetry record;
        if (qig_session_telemetry(s, i, &record) != QIG_OK || record.regime < 0 || record.regime > 2) return 0;
        if (qig_session_tokens(s)[i] < 0 || qig_session_tokens(s)[i] >= vocab) return 0;
    }
    if (pos > 0 && qig_session_sample(s, &token, err, sizeof err) == QIG_OK && (token < 0 || token >= vocab)) return 0;
    if (pos > 0 && pos < qig_session_n_ctx(s)) {
        if (qig_session_next(s, tokens, QIG_MAX_DRAFT + 1, &n, err, sizeof err) != QIG_OK && !err[0]) return 0;
    }
    token = vocab / 2;
    if (qig_session_pos(s) < qig_session_n_ctx(s) && qig_session_eval(s, &token, 1, NULL, err, sizeof err) != QIG_OK) return 0;
    if (qig_session_rollback(s, qig_session_pos(s) * 2 / 3, err, sizeof err) != QIG_OK) return 0;
    if (qig_session_pos(s) > 1 && qig_session_slide(s, 1, 1, err, sizeof err) != QIG_OK) return 0;
    return 1;
}

#endif
