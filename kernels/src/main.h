/* main.h - the qig program: options, and what its commands share. Text goes to stdout, everything else to stderr. */
#ifndef QIG_MAIN_H
#define QIG_MAIN_H

#include <signal.h>
#include <stdio.h>

#include "../include/qig.h"

enum { QIG_EXIT_OK = 0, QIG_EXIT_USER = 2, ERR_SIZE = 512, MAX_DEPTHS = 16, PROMPT_STEP = 256 };

typedef struct {
    const char *command, *model, *prompt, *system, *isa;
    int n_tokens, threads, ctx, cache, prefill, decode, repeat;
    int greedy, stats, telemetry, json, tensors, seed_given;
    int depths[MAX_DEPTHS], n_depths;
    qig_sampler_params sampler;
} options;

/* main_args.c: fills o from argv; returns -1 to go on, or the exit code (help, version, or one line on stderr). */
int parse_options(int argc, char **argv, options *o);

int run_info(const options *o);
int run_generate(const options *o);
int run_chat(const options *o);
int run_bench(const options *o);

/* --- main_util.c ------------------------------------------------------------------------------------------------------------------- */

/* One line "qig: ..." on stderr; returns QIG_EXIT_USER. */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
int fail(const char *fmt, ...);
double now(void);              /* seconds, monotonic */
uint64_t peak_rss(void);       /* bytes, 0 unknown */
int flush_stdout(void);        /* QIG_EXIT_OK, or the failure of writing said */
void print_json_string(FILE *f, const char *s);
void print_json_number(FILE *f, double v); /* null where it is not finite */

typedef struct {
    qig_model *model;
    qig_session *session;
} opened;

/* Opens model and session as the options say; QIG_EXIT_OK or the exit code, the reason printed. */
int open_all(const options *o, opened *a, int n_ctx);
void close_all(opened *a);

/* Grown as needed; ids are freed by the caller with free(). */
typedef struct { int32_t *ids; int32_t n, cap; } id_list;
/* Append the tokens of a text or of a turn; QIG_EXIT_OK or the exit code. */
int add_text(id_list *l, const qig_model *m, const char *text, size_t len);
int add_turn(id_list *l, const qig_model *m, const char *role, const char *content, size_t len);
int add_id(id_list *l, int32_t id);

/* Everything of a stream, terminated, for free(); NULL with the reason printed. */
char *read_all(FILE *f, size_t *len);

/* What was asked by Ctrl-C: counted by the handler, cleared by who answered to it. */
extern volatile sig_atomic_t interrupts;
void catch_interrupts(void);

typedef struct { /* one answer */
    int32_t prompt_tokens, tokens;
    double prefill_s, decode_s;
    const char *end; /* why it stopped: "end", "length", "context", "stopped" */
} answer_stats;

/* Evaluates ids in steps; 1 done, 0 stopped by Ctrl-C (the session is back where it was), -1 failed with the reason printed. */
int feed(qig_session *s, const int32_t *ids, int32_t n);
/* Draws up to max tokens after what the session holds and writes them to stdout in whole characters. make_room is called when the context is
 * full; it returns 1 when there is room now. QIG_EXIT_OK or the exit code. */
int draw(const options *o, opened *a, int max, int (*make_room)(void *), void *arg, answer_stats *stats);
void print_stats(const options *o, const opened *a, const answer_stats *stats);

#endif
