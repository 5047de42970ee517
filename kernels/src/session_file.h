/* session_file.h - a session as bytes: what qig_session_save writes and qig_session_load reads (docs/formats.md, "A kept session").
 *
 *   header | settings | note | counts | parts of qig_session | u64 sum of everything before        each of them padded with zeros to 8 bytes
 *
 * The reader trusts nothing: sizes follow from the session, the header's position and the counts, and have to add up to the file's; every value that the engine
 * would take for an index or a length is checked, and so is every float that it counts on being finite. A session is touched when all of it has passed.
 */
#ifndef QIG_SESSION_FILE_H
#define QIG_SESSION_FILE_H

#include "session.h"

enum { QIG_KEPT_VERSION = 1, QIG_KEPT_ORDER = 0x01020304, QIG_KEPT_NOTE = 64 << 20 /* the longest note, bytes */ };

typedef struct {
    char magic[8];     /* "QIGSESS\n" */
    uint32_t order;    /* 0x01020304 as this machine writes it */
    uint32_t version;
    uint64_t bytes;    /* of the file */
    uint64_t model;    /* qig_model_fingerprint */
    uint64_t rng;
    double lse;        /* ln sum exp of the logits */
    int32_t pos, cache_type, n_caches, dense, n_kv_heads, state_dim, head_dim, d_model, vocab, lag;
    uint32_t n_settings, note_bytes;
    uint64_t sum;      /* of the header before it */
} qig_kept_header;

typedef struct { char key[28]; float value; } qig_kept_setting; /* one a number; the key ends with zeros */

typedef struct { /* a record as it stands in the file */
    float phi, surprise, confidence, agency, curvature, kappa, coherence_drift, mean_surprise;
    int32_t regime, blocks_run;
    uint64_t bytes_read;
    double phi_mean;
    uint64_t keys_seen, keys_sketched, sketch_bytes, keys_read, values_read;
} qig_kept_record;

_Static_assert(sizeof(qig_kept_header) == 104 && sizeof(qig_kept_setting) == 32 && sizeof(qig_kept_record) == 96, "no padding: these are the file's bytes");

/* Takes the next n bytes of a file that is being written; 0, or -1 with errno. */
typedef int qig_kept_sink(void *arg, const void *data, size_t n);

/* Writes the session to the sink. Returns a qig_status; where the sink failed QIG_ERR_IO with err left alone. */
int qig_session_write(const qig_session *s, const char *note, size_t note_len, qig_kept_sink *sink, void *arg, char *err, size_t errlen);
/* Whether a file of `size` bytes that begins with this header may be one of the session; it may be trusted as far as that. */
int qig_kept_check_header(const qig_session *s, const qig_kept_header *h, uint64_t size, const char *name, char *err, size_t errlen);
/* Makes the session what the bytes of a whole file say, or leaves it as it was. data: aligned to 8. name is only used in errors. */
int qig_session_read(qig_session *s, const void *data, size_t size, const char *name, char *err, size_t errlen);

#endif
