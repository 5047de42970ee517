/* qig.h - the whole public C API of libqig.
 *
 * Ownership. A qig_model is an opened GGUF file: mapped read-only, immutable once a session was opened, shared by any number of sessions and threads; close it after
 * its last session. A qig_session is one mutable timeline (cache, token history, sampler, telemetry) and belongs to one thread at a time.
 * Strings and arrays returned by pointer belong to the object they came from and live as long as it.
 *
 * Errors. Functions that can fail return QIG_OK (0) or a negative qig_status, and write one line without newline to err (truncated to
 * errlen, always terminated; err may be NULL). The library never exits, never prints, and allocates nothing in the token loop.
 */
#ifndef QIG_H
#define QIG_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define QIG_API __declspec(dllexport)
#else
#define QIG_API __attribute__((visibility("default")))
#endif

typedef enum {
    QIG_OK = 0,
    QIG_ERR_ARG = -1,         /* an argument out of its range */
    QIG_ERR_IO = -2,          /* the operating system refused (open, map, ...) */
    QIG_ERR_FORMAT = -3,      /* the file is damaged, lies about its lengths, or is no GGUF */
    QIG_ERR_UNSUPPORTED = -4, /* a valid file that this build cannot run (architecture, tensor type, ISA) */
    QIG_ERR_MEMORY = -5,
    QIG_ERR_CONTEXT_FULL = -6 /* no room for that many tokens; roll back or slide first */
} qig_status;

typedef enum { QIG_CACHE_AUTO = 0, QIG_CACHE_F32 = 1, QIG_CACHE_I8 = 2 } qig_cache_type; /* AUTO: F32 for an all-F32 file, else I8 */

typedef struct qig_model qig_model;
typedef struct qig_session qig_session;

QIG_API const char *qig_version(void);

/* --- the model ------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int32_t vocab_size, d_model, n_layers, n_heads, n_kv_heads, head_dim, hidden_dim, basin_dim, head_rank, context_length;
    /* basin_dim 0: the embedding has no factors; it and head_rank are 0 of all architectures but qig */
    int32_t draft_lag;     /* tokens in a row that the draft can guess, 0: there is none */
    uint64_t n_params;     /* weights in tensors */
    uint64_t file_bytes;   /* size of the mapped file */
    uint64_t weight_bytes; /* bytes of weights that one decode step reads (all tensors but the draft's and the embedding's unread rows) */
    const char *architecture, *name, *isa; /* "qig", "llama", "arcee" or "jarvis-quantum" (docs/formats.md); isa: the kernel set chosen, "ref", "neon", "avx2", "avx512_vnni", ... */
    const char *file_type;                 /* dominant type of the 2-D tensors, "Q4_0", "F32", ... */
} qig_model_info;

typedef struct {
    const char *name; /* GGUF tensor name */
    const char *type; /* "F32", "F16", "Q4_0", "Q4_1", "Q6_K", "Q8_0" */
    int32_t n_dims;
    int64_t ne[4];    /* ne[0] is the contiguous dimension, unused ones are 1 */
    uint64_t offset;  /* from the start of the file */
    uint64_t bytes;
} qig_tensor_info;

/* isa: NULL or "auto" picks the best this CPU runs; else one of qig_isa_list(). */
QIG_API int qig_model_open(const char *path, const char *isa, qig_model **out, char *err, size_t errlen);
QIG_API void qig_model_close(qig_model *m);
/* Overrides one number of the file, before the first session is opened. key: gate.margin, gate.threshold, regime.low, .high, .smoothing, .hysteresis,
 * .curvature, exit.threshold (of every exit), decoherence.threshold, recursion.min_phi. value: a decimal number. QIG_ERR_ARG, with the accepted
 * values named, for another key, a number out of range, or a key whose component the model lacks. */
QIG_API int qig_model_set(qig_model *m, const char *key, const char *value, char *err, size_t errlen);
/* The settings in force, i = 0, 1, ...: the key of the i-th that this model has, and its numbers, more than one where exits differ; NULL past the last. */
QIG_API const char *qig_model_setting(const qig_model *m, int32_t i, const float **values, int32_t *n);
QIG_API void qig_model_get_info(const qig_model *m, qig_model_info *out);
QIG_API int64_t qig_model_tensor_count(const qig_model *m);
QIG_API int qig_model_tensor(const qig_model *m, int64_t i, qig_tensor_info *out);
/* String metadata by key ("tokenizer.chat_template"), NULL where absent or no string; *len without the terminator (none is promised). */
QIG_API const char *qig_model_meta_str(const qig_model *m, const char *key, size_t *len);
/* Kernel sets this build and CPU can run, best first, separated by commas: "avx512_vnni,avx2,ref". */
QIG_API const char *qig_isa_list(void);

/* --- text ------------------------------------------------------------------------------------------------------------------------ */

/* Writes at most cap ids; returns the number of ids the text has (may exceed cap: call again), or a negative qig_status. text need not be
 * terminated and may hold any bytes; invalid UTF-8 is encoded byte by byte. parse_special: whether "<|end|>" and the like become their control
 * token (never set it for what a user typed). The token that a text begins with is not among the ids: qig_token_bos. */
QIG_API int64_t qig_tokenize(const qig_model *m, const char *text, size_t len, int parse_special, int32_t *out, size_t cap);
/* The bytes of one token (not terminated; a token may hold part of a UTF-8 character). Control tokens have length 0 unless special. */
QIG_API const char *qig_token_bytes(const qig_model *m, int32_t token, int special, size_t *len);
/* Length of the longest prefix of buf that ends on a whole UTF-8 character (invalid bytes count as whole): what may be printed now. */
QIG_API size_t qig_utf8_whole(const char *buf, size_t len);
/* 1: qig_tokenize puts a space before a text (SentencePiece); whoever joins the bytes of a whole text's tokens takes it off again. */
QIG_API int qig_space_prefix(const qig_model *m);
QIG_API int32_t qig_token_bos(const qig_model *m); /* what a text or a conversation is to begin with, or -1: nothing */
QIG_API int32_t qig_token_eos(const qig_model *m); /* end of text */
QIG_API int32_t qig_token_eot(const qig_model *m); /* end of turn, or -1: the file has no chat format, or none that is known here */
/* One chat turn as tokens: header of the role, the content (special strings in it are plain text), end of turn; content NULL writes the
 * header alone (the cue for an answer). role: "system", "user", "assistant". first: nothing stands before it but qig_token_bos. Same return
 * convention as qig_tokenize. */
QIG_API int64_t qig_chat_turn(const qig_model *m, const char *role, const char *content, size_t len, int first, int32_t *out, size_t cap);
/* The tokens after the content of a turn, qig_token_eot among them: what follows an answer before the next turn. Same return convention. */
QIG_API int64_t qig_chat_end(const qig_model *m, int32_t *out, size_t cap);

/* --- a session ------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int32_t n_ctx;      /* positions; 0: the model's context length */
    /* Threads for decode, which is every pass of up to 9 tokens (a round of speculation at its longest), and for larger passes. n_threads_batch 0: as n_threads
     * where that is given. Otherwise 0: found by trial. The session begins with the big cores, at most 4 for decode and 8 for larger passes, and gives some turns of
     * a few milliseconds in the first passes that it is asked for to other counts, up to 8 of the big cores. One that is clearly faster (5%) takes over.
     * No token is evaluated for it; it costs at most 5% of the time so far and some 5 ms; what a session settles on, later ones of the model begin with.
     * On a machine with big and small cores the session's own threads are kept on the big ones, but for those that are more than there are big cores. The
     * calling thread takes part and is left where it is: pin it, or not. */
    int32_t n_threads;
    int32_t n_threads_batch;
    int32_t n_batch;    /* tokens per prefill pass; 0: 128, fewer for a wide model (work buffers stay under 8 MiB) */
    int32_t cache_type; /* qig_cache_type */
    /* 0: an evaluation of several tokens without all_logits computes the distribution after its last token only: surprise of all its tokens
     * and confidence of all but the last are not observed (NaN) and leave the running mean of surprise alone. 1: every distribution is
     * computed, and telemetry agrees with one-by-one evaluation, at the price of the head for every token. */
    int32_t prompt_telemetry;
    /* 1: every key of the cache is read, also where it is certain that the gate cuts it: the same floats and the time they take then. For measuring. */
    int32_t all_keys;
} qig_session_params;

typedef struct {
    float temperature;    /* 0: greedy */
    int32_t top_k;        /* 0: off */
    float top_p;          /* 1: off */
    float min_p;          /* 0: off */
    float repeat_penalty; /* 1: off */
    int32_t repeat_last_n;
    uint64_t seed;
} qig_sampler_params;

typedef struct { /* one record a token; DESIGN of each field in docs/formats.md */
    float phi;        /* mean over heads and blocks of ln N_eff / ln n, in [0, 1] */
    float surprise;   /* sqrt(1 - sqrt p) of the token that came, in [0, 1]; 0 for the first */
    float confidence; /* purity of the next distribution times (1 - running mean of surprise), in [0, 1] */
    float agency;     /* active / possible pairs, in [0, 1] */
    float curvature;  /* mean angle by which a block turned the state, radians */
    float kappa;      /* running coupling kappa_eff at this context length */
    float coherence_drift; /* Bures distance of the final state to the mean of the session's first 16, in [0, sqrt 2] */
    int32_t regime;        /* 0 linear, 1 geometric, 2 breakdown; 1 without a detector */
    int32_t blocks_run;
    uint64_t bytes_read; /* weights and cache read for this token; a pass's weights are shared evenly by its tokens */
} qig_telemetry;

QIG_API int qig_session_new(qig_model *m, const qig_session_params *p, qig_session **out, char *err, size_t errlen);
QIG_API void qig_session_free(qig_session *s);
QIG_API int32_t qig_session_pos(const qig_session *s);   /* tokens evaluated so far */
QIG_API int32_t qig_session_n_ctx(const qig_session *s);
QIG_API int32_t qig_session_n_threads(const qig_session *s); /* for decode and for larger passes: as given, else as they stand now */
QIG_API int32_t qig_session_n_threads_batch(const qig_session *s);
QIG_API uint64_t qig_session_cache_bytes(const qig_session *s);
QIG_API const int32_t *qig_session_tokens(const qig_session *s); /* [pos] */
/* Evaluates n tokens after the present position, n_batch at a time. Floats do not depend on how a text is split into calls, on n_batch or
 * on thread counts. all_logits: NULL, or [n, vocab]; qig_session_logits has the last row either way. On an error nothing was evaluated. */
QIG_API int qig_session_eval(qig_session *s, const int32_t *tokens, int32_t n, float *all_logits, char *err, size_t errlen);
QIG_API const float *qig_session_logits(const qig_session *s); /* [vocab], NULL before the first eval */
QIG_API int qig_session_telemetry(const qig_session *s, int32_t pos, qig_telemetry *out); /* of the token at pos */
typedef struct { /* what the token at a position read of the cache, over blocks and key/value heads */
    uint64_t keys_seen;    /* keys that stood there, each once for all query heads of its group */
    uint64_t keys_sketched; /* of which the sketch was read, and its bytes */
    uint64_t sketch_bytes;
    uint64_t keys_read;    /* in full: as many as the group's query heads read together, at most all */
    uint64_t values_read;  /* likewise, of the pairs let through */
} qig_cache_reads;

QIG_API int qig_session_cache_reads(const qig_session *s, int32_t pos, qig_cache_reads *out);
/* Forgets everything from position pos on, telemetry included; the sampler draws what it drew when the session first stood at pos (its
 * parameters stay). The token at pos - 1 is evaluated again for its logits: the same floats. */
QIG_API int qig_session_rollback(qig_session *s, int32_t pos, char *err, size_t errlen);
/* Keeps the first n_keep and the last n_tail tokens and evaluates them anew: equal to a fresh session fed those tokens in one call, but
 * that the sampler's random numbers go on. */
QIG_API int qig_session_slide(qig_session *s, int32_t n_keep, int32_t n_tail, char *err, size_t errlen);
QIG_API int qig_session_set_sampler(qig_session *s, const qig_sampler_params *p, char *err, size_t errlen);
QIG_API int qig_session_sample(qig_session *s, int32_t *token, char *err, size_t errlen); /* from the last logits; does not evaluate it */

/* Writes all of the session to a file (docs/formats.md, "A kept session"), with a note of the caller's, any bytes, at most 64 MiB: whole and on the disk, or the
 * file is as it was. */
QIG_API int qig_session_save(const qig_session *s, const char *path, const char *note, size_t note_len, char *err, size_t errlen);
/* The session becomes the saved one, whatever it was: its next tokens, telemetry, rollbacks and slides are those that the saved one would have had, to the last
 * bit on the same kernel set. Sampler parameters and the draft length stay this session's, its random numbers go on as the saved ones. It may have
 * another n_ctx where the tokens fit, n_batch and other threads; its model file, settings and cache type have to be the same.
 * QIG_ERR_ARG: they are not; QIG_ERR_FORMAT: no such file, truncated, or damaged; QIG_ERR_CONTEXT_FULL: no room. On an error the session is as it was. */
QIG_API int qig_session_load(qig_session *s, const char *path, char *err, size_t errlen);
/* The note of the file that was loaded last, *len bytes; NULL before. */
QIG_API const char *qig_session_note(const qig_session *s, size_t *len);

/* --- exact speculation ------------------------------------------------------------------------------------------------------------- */

enum { QIG_DRAFT_AUTO = -1, QIG_MAX_DRAFT = 8 };

typedef struct { /* since qig_session_set_speculation, of qig_session_next */
    uint64_t rounds, tokens;  /* passes that verified; tokens that they left evaluated */
    uint64_t drafted;         /* tokens that were evaluated as drafts, beside the first of each round */
    uint64_t tested, accepted; /* guesses of the draft that were held against the full model; that stood */
    double draft_seconds, verify_seconds; /* without speculation all of it is verify_seconds */
    int32_t active;           /* whether rounds may draft */
    int32_t draft_len;        /* of the next round */
} qig_speculation_stats;

/* How many tokens a round of qig_session_next drafts: 0 none (so it begins), 1 to the model's qig.draft.lag, or QIG_DRAFT_AUTO: as many as measured
 * acceptance and measured time make worth it, none where that does not pay or the model has no draft. QIG_ERR_ARG for a length of 1 or more that the
 * model has no draft for. Greedy text does not depend on it. Sampled text has the same distribution
 * with it as without; for one seed it is the same text whatever the length, another than without, and with QIG_DRAFT_AUTO one that depends on what
 * took how long. qig_session_sample follows it too. */
QIG_API int qig_session_set_speculation(qig_session *s, int32_t draft_len, char *err, size_t errlen);
/* Draws the next tokens and evaluates them, as qig_session_sample and qig_session_eval by turns: one, or with speculation up to the draft length + 1;
 * at most cap, and as many as there is room for. An end of text or of a turn comes alone and is not evaluated. Where the file pauses on
 * breakdown, a token in breakdown is the last. QIG_ERR_CONTEXT_FULL without room for one; then nothing was drawn. Telemetry is that of tokens
 * evaluated one by one, but that bytes_read is what the round read, shared by the tokens that stayed. */
QIG_API int qig_session_next(qig_session *s, int32_t *tokens, int32_t cap, int32_t *n, char *err, size_t errlen);
QIG_API void qig_session_speculation(const qig_session *s, qig_speculation_stats *out);

/* --- measuring ------------------------------------------------------------------------------------------------------------------- */

/* Sequential read bandwidth of a buffer of that many bytes with n_threads (0: the big cores, at most 4), bytes a second: the best of `rounds` rounds, each
 * of which reads with and without prefetching; 0 when out of memory. */
QIG_API double qig_read_bandwidth(uint64_t bytes, int32_t n_threads, int32_t rounds);

#ifdef __cplusplus
}
#endif
#endif
