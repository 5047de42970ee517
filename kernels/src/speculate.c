/* speculate.c - exact speculation: a draft guesses tokens, one pass of the model verifies them, and what comes out is the full model's.
 *
 * The draft (draft.c) runs no block, and what it makes of a token depends on the text alone: it looks at no state that the round's own pass has yet to
 * make. One pass then takes all tokens through the model, with every decision on depth as usual, and each next token is drawn from the full
 * distribution p:
 *   greedy: the likeliest token of p. The draft was right where it is the same.
 *   sampled: the draft x, drawn from the draft's distribution q, is taken with probability min(1, p(x) / q(x)), else a token is drawn from max(0, p - q),
 *            scaled. Together that is a draw from p. Both p and q are what the sampler's parameters make of the logits after the same history.
 * A position has three random numbers of its own (for x, for the test, for the other token), whether a round drafted there or not. So the token drawn
 * there is a function of the text before it and of the generator: it depends on neither the length of drafts nor on where rounds begin, sample()
 * followed by eval() gives the same, and a rollback draws again what was drawn. Where the automatic length is 0, the token after the round is drawn
 * from p alone with the third number: nothing is read for a draft. That choice is noted by position, for rollbacks; it depends on measured time.
 * Tokens after the first draft that was wrong are forgotten; the session then equals one that evaluated the kept ones one by one.
 */
#include "speculate.h"

#include <string.h>

#include "clock.h"
#include "depth.h"
#include "error.h"
#include "session.h"

/* A token that the draft's distribution gave and how probable it was there; id -1: the draft has no distribution (its logits are not finite). */
typedef struct {
    int32_t id;
    double q;
} guess;

typedef struct {
    int32_t n, known;             /* tokens that are evaluated; guesses made: guess i is of the token after token i */
    int bare;                     /* no draft, and no guess of the token after it */
    int extra;                    /* the last guess came from the row of full_rows behind the tokens' */
    guess guesses[QIG_MAX_DRAFT + 1];
    uint64_t rng[QIG_MAX_DRAFT + 2]; /* the generator before the draw of the token after token i */
} attempt;

static int is_end(const qig_session *s, int32_t token) { return token == qig_token_eos(s->model) || token == qig_token_eot(s->model); }

/* --- one draw ---------------------------------------------------------------------------------------------------------------------------- */

enum { DRAWS = 3 }; /* random numbers of a position */

static void numbers(uint64_t *rng, double u[DRAWS]) {
    for (int i = 0; i < DRAWS; i++) u[i] = qig_rng_uniform(rng);
}

static int shape_draft(const qig_session *s, const float *logits, int32_t n_history, qig_choice *out) {
    return qig_sampler_shape(&s->sampler, logits, s->model->draft.words, s->tokens, n_history, s->spec.candidates, out, NULL, 0);
}

static guess make_guess(qig_session *s, const float *draft, int32_t n_history, uint64_t rng) {
    qig_choice q;
    double u[DRAWS] = { 0 };
    if (shape_draft(s, draft, n_history, &q) != QIG_OK) return (guess){ .id = -1 };
    if (!qig_sampler_greedy(&s->sampler)) numbers(&rng, u);
    const qig_candidate *x = qig_choice_take(&q, u[0]);
    return (guess){ x->id, qig_choice_probability(&q, x) };
}

/* The candidate of p at u of the mass of max(0, p - q). Rounding alone may leave no mass at all: then p and q are equal, and so is the draft. */
static int32_t take_other(qig_session *s, const qig_choice *p, const float *draft, int32_t n_history, guess x, double u) {
    double *share = s->spec.shares, mass = 0, sum = 0;
    int32_t token = x.id;
    qig_choice q;
    if (shape_draft(s, draft, n_history, &q) != QIG_OK) return token;
    for (int32_t i = q.first; i < q.end; i++) share[q.c[i].id] = qig_choice_probability(&q, &q.c[i]);
    for (int32_t i = p->first; i < p->end; i++) {
        const double left = qig_choice_probability(p, &p->c[i]) - share[p->c[i].id];
        if (left > 0) mass += left;
    }
    for (int32_t i = p->end; i-- > p->first && mass > 0;) {
        const double left = qig_choice_probability(p, &p->c[i]) - share[p->c[i].id];
        if (!(left > 0)) continue;
        token = p->c[i].id;
        sum += left;
        if (u * mass < sum) break;
    }
    for (int32_t i = q.first; i < q.end; i++) share[q.c[i].id] = 0;
    return token;
}

/* The token after n_history tokens, from the full logits, the draft's, and its guess; *rng moves on (not when greedy). */
static int draw(qig_session *s, const float *full, const float *draft, guess x, int32_t n_history, uint64_t *rng, int32_t *token, char *err, size_t errlen) {
    qig_choice p;
    double u[DRAWS];
    int rc = qig_sampler_shape(&s->sampler, full, s->model->vocab_size, s->tokens, n_history, s->candidates, &p, err, errlen);
    if (rc != QIG_OK) return rc;
    if (qig_sampler_greedy(&s->sampler)) {
        *token = p.best.id;
        return QIG_OK;
    }
    numbers(rng, u);
    if (x.id < 0) {
        *token = qig_choice_take(&p, u[2])->id;
        return QIG_OK;
    }
    double of_x = 0;
    for (int32_t i = p.first; i < p.end; i++)
        if (p.c[i].id == x.id) of_x = qig_choice_probability(&p, &p.c[i]);
    *token = u[1] * x.q < of_x ? x.id : take_other(s, &p, draft, n_history, x, u[2]);
    return QIG_OK;
}

/* The draft's logits after the last token, where no round left them. */
static void read_draft(qig_session *s) {
    qig_draft_look(s, s->pos - 1, 0);
    qig_forward_draft_head(s, 0, s->spec.draft_rows);
    s->spec.draft = s->spec.draft_rows;
}

int qig_speculation_sample(qig_session *s, int32_t *token, char *err, size_t errlen) {
    qig_speculation *p = &s->spec;
    if (p->has_next) {
        p->has_next = 0;
        *token = p->next;
        s->rng = p->next_rng;
        return QIG_OK;
    }
    guess x = { .id = -1 };
    if (!qig_sampler_greedy(&s->sampler) && !p->bare_at[s->pos]) {
        if (!p->draft) read_draft(s);
        x = make_guess(s, p->draft, s->pos, s->rng);
    }
    return draw(s, s->logits, p->draft, x, s->pos, &s->rng, token, err, errlen);
}

/* --- a round ----------------------------------------------------------------------------------------------------------------------------- */

static float *draft_row(const qig_session *s, const attempt *a, int32_t i) {
    const size_t vocab = (size_t)s->model->vocab_size, words = (size_t)s->model->draft.words;
    return a->extra && i == a->n - 1 ? s->spec.full_rows + (size_t)a->n * vocab : s->spec.draft_rows + (size_t)i * words;
}

/* The token and what the draft makes of it, at most `limit` tokens together. */
static void draft_tokens(qig_session *s, int32_t token, int32_t limit, attempt *a) {
    double u[DRAWS];
    a->rng[0] = s->rng;
    for (;;) {
        const int32_t i = a->n++, pos = s->pos + i;
        s->tokens[pos] = token;
        a->rng[i + 1] = a->rng[i];
        if (!qig_sampler_greedy(&s->sampler)) numbers(&a->rng[i + 1], u);
        if (a->n == limit) return;
        qig_forward_embed(s, pos);
        qig_draft_look(s, pos, 0);
        qig_forward_draft_head(s, 0, draft_row(s, a, i));
        a->guesses[i] = make_guess(s, draft_row(s, a, i), s->pos + i + 1, a->rng[i]);
        a->known = a->n;
        token = a->guesses[i].id;
        if (token < 0 || is_end(s, token)) return; /* an end is not evaluated, so nothing follows it */
    }
}

/* The full model's logits after each token. A draw also wants the draft's after the last one: one more row of the same product with the head. */
static void verify(qig_session *s, attempt *a) {
    qig_forward_blocks(s, s->pos, a->n);
    a->extra = !a->bare && !qig_sampler_greedy(&s->sampler) && a->known < a->n && a->n < s->n_batch;
    if (a->extra) qig_draft_look(s, s->pos + a->n - 1, a->n);
    qig_forward_head(s, 0, a->n + a->extra, s->spec.full_rows);
    if (!a->extra) return;
    a->guesses[a->n - 1] = make_guess(s, draft_row(s, a, a->n - 1), s->pos + a->n, a->rng[a->n - 1]);
    a->known = a->n;
}

/* How many of the tokens the full model draws too; leaves what it draws after them. */
static int32_t accept(qig_session *s, const attempt *a) {
    qig_speculation *p = &s->spec;
    const size_t vocab = (size_t)s->model->vocab_size;
    const int needs_guess = !a->bare && !qig_sampler_greedy(&s->sampler);
    p->has_next = 0;
    for (int32_t i = 0;; i++) {
        if (i >= a->known && needs_guess) return i + 1; /* the guess is not there yet */
        const guess x = i < a->known ? a->guesses[i] : (guess){ .id = -1 };
        p->next_rng = a->rng[i];
        p->has_next = draw(s, p->full_rows + (size_t)i * vocab, draft_row(s, a, i), x, s->pos + i + 1, &p->next_rng, &p->next, NULL, 0) == QIG_OK;
        if (!p->has_next) return i + 1; /* the draw fails again when it is asked for */
        const int right = p->next == x.id;
        if (x.id >= 0) {
            p->stats.tested++;
            p->stats.accepted += (uint64_t)right;
            qig_draft_length_tested(&p->length, right);
        }
        if (i + 1 == a->n || !right || (p->pauses && s->sums[i].regime == QIG_BREAKDOWN)) return i + 1;
    }
}

/* Evaluates the token, which fits, and up to limit - 1 that follow it; returns how many. */
static int32_t run_round(qig_session *s, int32_t token, int32_t limit) {
    qig_speculation *p = &s->spec;
    const int automatic = p->wanted == QIG_DRAFT_AUTO;
    const int32_t pos = s->pos, lag = s->model->draft.lag, most = limit - 1 < lag ? limit - 1 : lag;
    const int32_t drafts = automatic ? qig_draft_length_choose(&p->length, most) : p->wanted;
    attempt a = { .bare = automatic && drafts == 0 };
    const double start = qig_seconds();
    draft_tokens(s, token, limit < drafts + 1 ? limit : drafts + 1, &a);
    const double drafted = qig_seconds();
    const int32_t guessed = a.known;
    verify(s, &a);
    const int32_t kept = accept(s, &a);
    for (int32_t i = 0; i < kept; i++) {
        s->rng_at[pos + i + 1] = a.rng[i];
        p->bare_at[pos + i + 1] = (uint8_t)a.bare;
    }
    s->rng = a.rng[kept - 1];
    qig_session_keep(s, a.n, kept, p->full_rows, (double)((uint64_t)guessed * s->guess_bytes + s->head_bytes + (uint64_t)a.extra * s->model->draft.bytes));
    p->draft = kept <= a.known ? draft_row(s, &a, kept - 1) : NULL;
    const double end = qig_seconds();
    p->stats.rounds++;
    p->stats.tokens += (uint64_t)kept;
    p->stats.drafted += (uint64_t)(a.n - 1);
    p->stats.draft_seconds += drafted - start;
    p->stats.verify_seconds += end - drafted;
    if (guessed == a.n - 1) qig_draft_length_took(&p->length, a.n - 1, drafted - start, end - start);
    return kept;
}

/* --- the public face --------------------------------------------------------------------------------------------------------------------- */

int qig_session_set_speculation(qig_session *s, int32_t draft_len, char *err, size_t errlen) {
    const int32_t lag = s->model->draft.lag;
    if (draft_len < QIG_DRAFT_AUTO || draft_len > QIG_MAX_DRAFT)
        return qig_fail(err, errlen, QIG_ERR_ARG, "draft length = %d must be 0 (off) to %d, or -1 to choose by what it brings", (int)draft_len, (int)QIG_MAX_DRAFT);
    if (draft_len > 0 && !lag)
        return qig_fail(err, errlen, QIG_ERR_ARG, "draft length = %d: this model has no draft (its file has no qig.draft.lag)", (int)draft_len);
    if (draft_len > lag)
        return qig_fail(err, errlen, QIG_ERR_ARG, "draft length = %d must be at most %d: this model's draft guesses so many tokens in a row", (int)draft_len, (int)lag);
    size_t len = 0;
    const char *answer = qig_model_meta_str(s->model, "qig.regime.on_breakdown", &len);
    s->spec.pauses = answer && len == 5 && memcmp(answer, "pause", len) == 0;
    s->spec.wanted = lag ? draft_len : 0;
    s->spec.has_next = 0;
    if (lag) memset(s->spec.bare_at, 0, (size_t)s->n_ctx + 1);
    s->spec.stats = (qig_speculation_stats){ 0 };
    s->spec.length = (qig_draft_length){ 0 };
    return QIG_OK;
}

void qig_session_speculation(const qig_session *s, qig_speculation_stats *out) {
    *out = s->spec.stats;
    out->active = s->spec.wanted != 0;
    out->draft_len = s->spec.wanted == QIG_DRAFT_AUTO ? qig_draft_length_choose(&s->spec.length, s->model->draft.lag) : s->spec.wanted;
}

int qig_session_next(qig_session *s, int32_t *tokens, int32_t cap, int32_t *n, char *err, size_t errlen) {
    if (!tokens || !n || cap < 1) return qig_fail(err, errlen, QIG_ERR_ARG, "no room for a token: cap = %d must be at least 1", (int)cap);
    *n = 0;
    if (s->pos == s->n_ctx) return qig_fail(err, errlen, QIG_ERR_CONTEXT_FULL, "the context of %d tokens is full: no room for the next one", (int)s->n_ctx);
    const double start = qig_seconds();
    int rc = qig_session_sample(s, &tokens[0], err, errlen);
    if (rc != QIG_OK) return rc;
    *n = 1;
    if (is_end(s, tokens[0])) return QIG_OK;
    if (!s->spec.wanted) {
        rc = qig_session_eval(s, tokens, 1, NULL, err, errlen);
        s->spec.stats.rounds++;
        s->spec.stats.tokens++;
        s->spec.stats.verify_seconds += qig_seconds() - start;
        return rc;
    }
    const int32_t pos = s->pos, room = s->n_ctx - pos, rows = s->n_batch > 1 ? s->n_batch - 1 : 1; /* a row of a pass is left for the last guess */
    int32_t limit = cap < room ? cap : room;
    *n = run_round(s, tokens[0], limit < rows ? limit : rows);
    memcpy(tokens, s->tokens + pos, (size_t)*n * sizeof *tokens);
    return QIG_OK;
}
