/* main.h - the qig program: options, and what its commands share. Text goes to stdout, everything else to stderr. */
#ifndef QIG_MAIN_H
#define QIG_MAIN_H

#include <signal.h>
#include <stdio.h>

#include "../include/qig.h"

enum { QIG_EXIT_OK = 0, QIG_EXIT_USER = 2, ERR_SIZE = 512, MAX_DEPTHS = 16, MAX_SETTINGS = 32, MAX_KEY = 64, PROMPT_STEP = 256 };

typedef struct {
    const char *command, *model, *prompt, *system, *save, *load, *isa, *text;
    int n_tokens, threads, threads_batch, ctx, cache, prefill, decode, repeat;
    int greedy, stats, telemetry, telemetry_json, json, tensors, seed_given;
    int depths[MAX_DEPTHS], n_depths;
    const char *settings[MAX_SETTINGS]; /* KEY=VALUE, the key shorter than MAX_KEY */
    int n_settings;
    int draft; /* drafts a round, QIG_DRAFT_AUTO, 0 */
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
/* The bytes that stand for c in a JSON string; returns how many. */
size_t json_escape(char c, char out[8]);
void print_json_text(FILE *f, const char *s, size_t len);
void print_json_string(FILE *f, const char *s);
void print_json_number(FILE *f, double v); /* null where it is not finite */

typedef struct {
    qig_model *model;
    qig_session *session;
    int pause;    /* qig.regime.on_breakdown: an answer stops where a token is in breakdown */
    int adaptive; /* some component decides token by token what is computed */
} opened;

/* The model with the settings that the options ask for; QIG_EXIT_OK or the exit code, the reason printed. */
int open_model(const options *o, qig_model **m);
/* The same with a session. */
int open_all(const options *o, opened *a, int n_ctx);
void close_all(opened *a);

typedef struct { char *bytes; size_t n, cap; } text_buffer; /* grown as needed, freed by the caller with free(bytes) */
int add_bytes(text_buffer *t, const char *bytes, size_t n); /* QIG_EXIT_OK or the exit code */

/* Grown as needed; ids are freed by the caller with free(). */
typedef struct { int32_t *ids; int32_t n, cap; } id_list;
/* Append the tokens of a text, of a turn (first: of the first one), of the end of an answer's turn, or what stands before all text; QIG_EXIT_OK or the exit code. */
int add_text(id_list *l, const qig_model *m, const char *text, size_t len);
int add_turn(id_list *l, const qig_model *m, const char *role, const char *content, size_t len, int first);
int add_turn_end(id_list *l, const qig_model *m);
int add_start(id_list *l, const qig_model *m);
int add_id(id_list *l, int32_t id);

/* Everything of a stream, terminated, for free(); NULL with the reason printed. */
char *read_all(FILE *f, size_t *len);

/* What was asked by Ctrl-C: counted by the handler, cleared by who answered to it. */
extern volatile sig_atomic_t interrupts;
void catch_interrupts(void);

/* --- main_state.c ------------------------------------------------------------------------------------------------------------------ */

enum { N_REGIMES = 3, N_FIELDS = 9, N_FRACTIONS = 7, FIELD_AGENCY = 3, FIELD_BLOCKS = 7 };

typedef struct { /* over the tokens of an answer; what was not observed (NaN) is left out */
    double sums[N_FIELDS];
    int32_t tokens, counts[N_FIELDS], regimes[N_REGIMES];
} state_sums;

typedef struct {
    int32_t pos, token;
    size_t from, len;   /* in the answer's text: the characters that became whole with it */
    qig_telemetry telemetry;
} token_state;

typedef struct { /* one answer, freed by free_answer */
    int32_t prompt_tokens, tokens, threads, threads_batch;
    double prefill_s, decode_s;
    const char *end; /* why it stopped: "end", "length", "context", "breakdown", "stopped" */
    text_buffer text;
    state_sums state;
    qig_speculation_stats speculation; /* rounds, tokens, tested and accepted are this answer's */
    token_state *trace; /* with --telemetry */
    int32_t n_trace, trace_cap;
} answer;

void add_state(state_sums *s, const qig_telemetry *t);
int is_breakdown(const qig_telemetry *t);
void print_token_line(FILE *f, const answer *a, const token_state *t);
int print_token_table(const answer *a); /* on stderr; QIG_EXIT_OK or the exit code */
void print_state_summary(const state_sums *s);
void print_state_part(FILE *f, const state_sums *s, int adaptive, int n_layers); /* nothing where the model decides nothing by the token */
void print_state_notice(const answer *a, int conversation);
void print_answer_json(const answer *a, const text_buffer *message); /* message: what it answers, or NULL */

/* --- main_draw.c ------------------------------------------------------------------------------------------------------------------- */

/* Evaluates ids in steps; 1 done, 0 stopped by Ctrl-C (the session is back where it was), -1 failed with the reason printed. */
int feed(qig_session *s, const int32_t *ids, int32_t n);
/* Draws up to max tokens after what the session holds and writes their text, or a line for each, to stdout in whole characters. make_room is
 * called when the context is full; it returns 1 when there is room now. QIG_EXIT_OK or the exit code. */
int draw(const options *o, opened *m, int max, int (*make_room)(void *), void *arg, answer *a);
/* What follows an answer, on stdout and stderr; message: what was asked in a conversation, else NULL. QIG_EXIT_OK or the exit code. */
int finish_answer(const options *o, const opened *m, const answer *a, const char *message, size_t len);
void free_answer(answer *a);

/* --- main_keep.c ------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    int32_t start;      /* its position; it ends where the next one begins, the last one at the session's position */
    text_buffer question, answer;
} exchange;

typedef struct { /* freed by free_conversation */
    text_buffer system;
    int32_t system_tokens; /* of the system prompt and of what stands before it */
    int32_t pending;       /* tokens of the end of the last answer's turn that go in with the next question */
    int32_t n, cap;
    exchange *list;        /* what the context still holds */
} dialogue;

int add_exchange(dialogue *c, int32_t start, const char *question, size_t len); /* QIG_EXIT_OK or the exit code, as all of these */
/* The oldest k are gone, and so many tokens with them. */
void drop_exchanges(dialogue *c, int32_t k, int32_t tokens);
void free_conversation(dialogue *c);
/* Whether a file of that name can be written, before there is anything to lose. */
int check_save(const char *path);
int save_conversation(const dialogue *c, const qig_session *s, const char *path);
/* Into an empty conversation; after a failure free it and leave the session. */
int load_conversation(dialogue *c, qig_session *s, const qig_model *m, const char *path);

#endif
