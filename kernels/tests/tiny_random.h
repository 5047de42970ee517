/* tiny_random.h - a tiny model of random weights, for tests that need sessions and not sense. */
#ifndef QIG_TINY_RANDOM_H
#define QIG_TINY_RANDOM_H

#include "ops_test.h"
#include "tiny_open.h"

/* The file's bytes stay the caller's, to be freed after the model. */
static qig_model *random_tiny(tiny_file *f) {
    *f = tiny_model(32);
    qig_model *m = open_tiny(f);
    qig_tensor_info t;
    for (int64_t i = 0; qig_model_tensor(m, i, &t) == QIG_OK; i++) {
        uint8_t *p = f->p + t.offset;
        if (strcmp(t.type, "F32") == 0) {
            for (uint64_t k = 0; k < t.bytes; k += 4) {
                float v = 1.0f + 0.5f * rng_float();
                if (!strstr(t.name, "attn_temp")) memcpy(p + k, &v, 4);
            }
        } else {
            for (uint64_t k = 0; k < t.bytes; k++) p[k] = (uint8_t)rng();
            for (uint64_t k = 0; k < t.bytes; k += 18) p[k] = 0x80, p[k + 1] = 0x2a; /* 0.05 */
        }
    }
    return m;
}

#endif
