/* tiny_open.h - a tiny file opened from memory, or the end of the test. */
#ifndef QIG_TINY_OPEN_H
#define QIG_TINY_OPEN_H

#include <stdio.h>
#include <stdlib.h>

#include "../src/model.h"
#include "tiny_gguf.h"

/* The file's bytes stay the caller's, to be freed after the model. */
static qig_model *open_tiny(const tiny_file *f) {
    qig_gguf *g;
    qig_model *m = NULL;
    char err[256];
    int rc = qig_gguf_read(f->p, f->n, "tiny", &g, err, sizeof err);
    if (!rc) rc = qig_model_from_gguf(g, "tiny", NULL, &m, err, sizeof err);
    if (rc) {
        fprintf(stderr, "%s\n", err);
        exit(1);
    }
    return m;
}

#endif
