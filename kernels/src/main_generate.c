/* main_generate.c - qig generate: the text and its continuation on stdout. When the context is full its newer half is kept. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "main.h"

static int keep_newer_half(void *arg) {
    const opened *m = arg;
    const int32_t n_ctx = qig_session_n_ctx(m->session), first = qig_token_bos(m->model) >= 0; /* what stands before the text stays */
    return qig_session_slide(m->session, first, n_ctx / 2, NULL, 0) == QIG_OK && qig_session_pos(m->session) < n_ctx;
}

static int generate(const options *o, opened *m, const char *text, size_t len) {
    id_list ids = { 0 };
    answer a = { .end = "stopped" };
    int rc = len ? add_start(&ids, m->model) : fail("the prompt is empty: give a text to continue");
    if (rc == QIG_EXIT_OK) rc = add_text(&ids, m->model, text, len);
    if (rc == QIG_EXIT_OK && ids.n > qig_session_n_ctx(m->session))
        rc = fail("the prompt has %d tokens, the context has room for %d", (int)ids.n, (int)qig_session_n_ctx(m->session));
    if (rc == QIG_EXIT_OK) {
        catch_interrupts();
        double start = now();
        a.prompt_tokens = ids.n;
        int fed = feed(m->session, ids.ids, ids.n);
        a.prefill_s = now() - start;
        rc = fed < 0 ? QIG_EXIT_USER : QIG_EXIT_OK;
        if (fed > 0) {
            if (!o->json && !o->telemetry_json) fwrite(text, 1, len, stdout);
            rc = draw(o, m, o->n_tokens, keep_newer_half, m, &a);
        }
        if (rc == QIG_EXIT_OK) rc = finish_answer(o, m, &a, NULL, 0);
    }
    free(ids.ids);
    free_answer(&a);
    return rc;
}

int run_generate(const options *o) {
    opened a;
    if (!o->prompt && isatty(STDIN_FILENO)) return fail("there is no text to continue: give -p TEXT or pipe one in");
    int rc = open_all(o, &a, o->ctx);
    if (rc != QIG_EXIT_OK) return rc;
    if (o->prompt) {
        rc = generate(o, &a, o->prompt, strlen(o->prompt));
    } else {
        size_t len;
        char *text = read_all(stdin, &len);
        while (text && len > 0 && text[len - 1] == '\n') len--;
        rc = text ? generate(o, &a, text, len) : QIG_EXIT_USER;
        free(text);
    }
    close_all(&a);
    return rc;
}
