/* main_state.c - what a user sees of the model's state: words for its numbers, a row or a JSON line a token, an answer as a whole.
 *
 * qig_edge/runtime/state.py writes the same texts, character by character; docs/formats.md ("Telemetry in words") says what the words mean.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "main.h"

enum { BREAKDOWN = 2, SHOWN_WIDTH = 24 };

static const char *const regimes[N_REGIMES] = { "linear", "geometric", "breakdown" };

/* The cut points of the words: below low the first, below high the second, else the third. */
typedef struct { double low, high; const char *words[3]; } level;
static const level phi_level = { 0.3, 0.7, { "loose", "moderate", "strong" } };
static const level confidence_level = { 0.2, 0.5, { "unsure", "fairly sure", "sure" } };
static const level surprise_level = { 0.55, 0.95, { "expected", "surprising", "astonishing" } };

static const char *const fields[N_FIELDS] = {
    "phi", "surprise", "confidence", "agency", "curvature", "kappa", "coherence_drift", "blocks_run", "bytes_read",
};

static void values_of(const qig_telemetry *t, double *out) {
    const double values[N_FIELDS] = {
        t->phi, t->surprise, t->confidence, t->agency, t->curvature, t->kappa, t->coherence_drift, t->blocks_run, (double)t->bytes_read,
    };
    memcpy(out, values, sizeof values);
}

static const char *regime_name(int regime) { return regime >= 0 && regime < N_REGIMES ? regimes[regime] : "-"; }

static const char *word(const level *l, double v) {
    return isnan(v) ? "-" : l->words[v < l->low ? 0 : v < l->high ? 1 : 2];
}

/* The number and its word, "0.52 moderate"; what was not observed is a dash. */
static const char *cell(char *buf, size_t size, const level *l, double v) {
    if (isnan(v)) snprintf(buf, size, "   -");
    else snprintf(buf, size, "%.2f %s", v, word(l, v));
    return buf;
}

void add_state(state_sums *s, const qig_telemetry *t) {
    double values[N_FIELDS];
    values_of(t, values);
    s->tokens++;
    if (t->regime >= 0 && t->regime < N_REGIMES) s->regimes[t->regime]++;
    for (int i = 0; i < N_FIELDS; i++)
        if (!isnan(values[i])) {
            s->sums[i] += values[i];
            s->counts[i]++;
        }
}

static double mean(const state_sums *s, int field) { return s->counts[field] ? s->sums[field] / s->counts[field] : NAN; }
static double share(const state_sums *s, int regime) { return s->tokens ? (double)s->regimes[regime] / s->tokens : NAN; }

int is_breakdown(const qig_telemetry *t) { return t->regime == BREAKDOWN; }

void print_token_line(FILE *f, const answer *a, const token_state *t) {
    double values[N_FIELDS];
    values_of(&t->telemetry, values);
    fprintf(f, "{\"pos\": %d, \"token\": %d, \"text\": ", (int)t->pos, (int)t->token);
    print_json_text(f, a->text.bytes + t->from, t->len);
    fprintf(f, ", \"regime\": ");
    print_json_string(f, regime_name(t->telemetry.regime));
    for (int i = 0; i < N_FIELDS; i++) {
        fprintf(f, ", \"%s\": ", fields[i]);
        if (i < N_FRACTIONS) print_json_number(f, values[i]);
        else fprintf(f, "%.0f", values[i]);
    }
    fputs("}\n", f);
}

static int is_letter_start(char c) { return ((unsigned char)c & 0xc0) != 0x80; }

/* A text as JSON shows it, cut to SHOWN_WIDTH characters; returns how many it has. */
static int shown_text(const char *text, size_t len, text_buffer *out) {
    int n = 2;
    out->n = 0;
    int rc = add_bytes(out, "\"", 1);
    char escaped[8];
    for (size_t i = 0; i < len && rc == QIG_EXIT_OK; i++) {
        const size_t bytes = json_escape(text[i], escaped);
        rc = add_bytes(out, escaped, bytes);
        n += is_letter_start(text[i]) ? (int)bytes : 0;
    }
    if (rc == QIG_EXIT_OK) rc = add_bytes(out, "\"", 1);
    if (rc != QIG_EXIT_OK) return -1;
    if (n <= SHOWN_WIDTH) return n;
    size_t end = 0;
    for (int k = 0; end < out->n; end++)
        if (is_letter_start(out->bytes[end]) && k++ == SHOWN_WIDTH - 1) break;
    out->n = end;
    return add_bytes(out, "\xE2\x80\xA6", 3) == QIG_EXIT_OK ? SHOWN_WIDTH : -1;
}

int print_token_table(const answer *a) {
    text_buffer shown = { 0 };
    int width = 5;
    for (int32_t i = 0; i < a->n_trace; i++) {
        int n = shown_text(a->text.bytes + a->trace[i].from, a->trace[i].len, &shown);
        if (n > width) width = n;
    }
    fprintf(stderr, "%-*s  %-9s  %-13s  %-16s  %-16s  %5s  %6s  %5s\n", width, "token", "regime", "phi", "confidence", "surprise", "drift", "blocks", "pairs");
    int rc = QIG_EXIT_OK;
    for (int32_t i = 0; i < a->n_trace; i++) {
        const token_state *t = &a->trace[i];
        int n = shown_text(a->text.bytes + t->from, t->len, &shown);
        if (n < 0) {
            rc = QIG_EXIT_USER;
            break;
        }
        fwrite(shown.bytes, 1, shown.n, stderr);
        fprintf(stderr, "%*s", width - n, "");
        char phi[32], confidence[32], surprise[32];
        const qig_telemetry *v = &t->telemetry;
        fprintf(stderr, "  %-9s  %-13s  %-16s  %-16s  %5.2f  %6d  %4.0f%%\n", regime_name(v->regime), cell(phi, sizeof phi, &phi_level, v->phi),
                cell(confidence, sizeof confidence, &confidence_level, v->confidence), cell(surprise, sizeof surprise, &surprise_level, v->surprise),
                v->coherence_drift, (int)v->blocks_run, 100.0 * v->agency);
    }
    free(shown.bytes);
    return rc;
}

/* "linear 5%, geometric 95%": the regimes that came up. */
static void print_shares(FILE *f, const state_sums *s) {
    const char *between = "";
    for (int i = 0; i < N_REGIMES; i++)
        if (s->regimes[i]) {
            fprintf(f, "%s%s %.0f%%", between, regimes[i], 100 * share(s, i));
            between = ", ";
        }
}

void print_state_summary(const state_sums *s) {
    char phi[32], confidence[32], surprise[32];
    if (s->tokens == 0) {
        fputs("[no token was evaluated, so there is no telemetry]\n", stderr);
        return;
    }
    fprintf(stderr, "[mean of %d tokens: phi %s, confidence %s, surprise %s, agency %.2f; ", (int)s->tokens, cell(phi, sizeof phi, &phi_level, mean(s, 0)),
            cell(confidence, sizeof confidence, &confidence_level, mean(s, 2)), cell(surprise, sizeof surprise, &surprise_level, mean(s, 1)), mean(s, 3));
    print_shares(stderr, s);
    fputs("]\n", stderr);
}

void print_state_part(FILE *f, const state_sums *s, int adaptive, int n_layers) {
    if (s->tokens == 0 || !(adaptive || mean(s, FIELD_AGENCY) < 1)) return;
    fprintf(f, "; blocks %.2f of %d, pairs active %.0f%%, ", mean(s, FIELD_BLOCKS), n_layers, 100 * mean(s, FIELD_AGENCY));
    print_shares(f, s);
    if (s->regimes[BREAKDOWN]) fputs(", uncertain", f);
}

void print_state_notice(const answer *a, int conversation) {
    if (strcmp(a->end, "breakdown") == 0)
        fprintf(stderr, conversation ? "(the model lost the thread: it waits for you)\n" : "(the model lost the thread: it stopped)\n");
    else if (a->state.regimes[BREAKDOWN])
        fprintf(stderr, "(uncertain: %d of %d tokens in breakdown)\n", (int)a->state.regimes[BREAKDOWN], (int)a->state.tokens);
}

void print_answer_json(const answer *a, const text_buffer *message) {
    const state_sums *s = &a->state;
    putchar('{');
    if (message) {
        fputs("\"message\": ", stdout);
        print_json_text(stdout, message->bytes, message->n);
        fputs(", ", stdout);
    }
    printf("\"%s\": ", message ? "answer" : "text");
    print_json_text(stdout, a->text.bytes, a->text.n);
    printf(", \"end\": \"%s\", \"prompt_tokens\": %d, \"tokens\": %d, \"uncertain\": %s, \"regimes\": {", a->end, (int)a->prompt_tokens, (int)a->tokens,
           s->regimes[BREAKDOWN] ? "true" : "false");
    for (int i = 0; i < N_REGIMES; i++) {
        printf("%s\"%s\": ", i ? ", " : "", regimes[i]);
        print_json_number(stdout, share(s, i));
    }
    putchar('}');
    for (int i = 0; i < N_FIELDS; i++) {
        printf(", \"%s\": ", fields[i]);
        print_json_number(stdout, mean(s, i));
    }
    fputs(", \"prefill_s\": ", stdout);
    print_json_number(stdout, a->prefill_s);
    fputs(", \"decode_s\": ", stdout);
    print_json_number(stdout, a->decode_s);
    printf(", \"threads\": %d, \"threads_batch\": %d}\n", (int)a->threads, (int)a->threads_batch);
}
