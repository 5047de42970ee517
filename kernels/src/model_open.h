/* model_open.h - what model.c, model_depth.c, model_llama.c and model_jarvis.c read a file with. A function called after the first failure does nothing and returns 0. */
#ifndef QIG_MODEL_OPEN_H
#define QIG_MODEL_OPEN_H

#include "error.h"
#include "model.h"

typedef struct {
    qig_model *m;
    const qig_gguf *g;
    const char *file;
    char *err;
    size_t errlen;
    uint8_t *placed; /* [n_tensors] which tensors of the file found their place in the model */
    int rc;          /* first failure */
} opener;

#define FAIL(o, status, ...) ((o)->rc = qig_fail((o)->err, (o)->errlen, status, __VA_ARGS__))

enum { QIG_OPEN_LOW = 1, QIG_OPEN_HIGH = 2 }; /* which end of a range is no part of it */
enum { QIG_ANY_TYPE = 0, QIG_ONLY_F32 = 1 };

int qig_has_key(const opener *o, const char *key); /* 0 after a failure */
const qig_kv *qig_need(opener *o, const char *key);
int32_t qig_get_int(opener *o, const char *key, int32_t min, int32_t max);
/* A finite number with low < v, or low <= v where closed. */
float qig_get_float(opener *o, const char *key, float low, int closed);
/* A number between low and high; open: of QIG_OPEN_LOW and QIG_OPEN_HIGH. */
float qig_get_float_in(opener *o, const char *key, float low, float high, int open);
int qig_get_bool(opener *o, const char *key);
/* Index of the key's string among choices, which end with NULL; list names them for the error. */
int qig_get_choice(opener *o, const char *key, const char *const *choices, const char *list);
/* A copy, the caller's to free, of an array of exactly n (all finite) numbers; why: for the error. */
float *qig_get_floats(opener *o, const char *key, int32_t n, const char *why);
/* The same of any number up to max, u32; *n is their number. */
int32_t *qig_get_ints(opener *o, const char *key, int32_t max, int32_t *n);

/* The tensor of this name and shape: a matrix [ne1, ne0] of any type (or F32 only), or an F32 vector [ne0] where ne1 is 0. */
void qig_place(opener *o, qig_tensor *to, const char *name, int64_t ne1, int64_t ne0, int only_f32);
/* Whether the file has a tensor of that name. */
int qig_has_tensor(const opener *o, const char *name);
/* The values of a vector that decisions and scores stand on: finite, low < v (low <= v where closed), v < high. The only tensor data that is read
 * when a file is opened. */
void qig_check_values(opener *o, const qig_tensor *t, const char *name, float low, int closed, float high);

/* model_depth.c. Keys after the sizes of model.c are known, tensors once o->placed exists. */
void qig_read_depth(opener *o);
void qig_place_depth(opener *o);                               /* what belongs to no block, and the integrator */
void qig_place_depth_block(opener *o, int32_t n, const char *prefix); /* of block n, named prefix ("blk.3") */
/* model_llama.c: the keys of a file in llama.cpp's layout, and what it says that was not read with them once the vocabulary is known. */
void qig_read_llama(opener *o);
/* What a dense model has in place of couplings and depth, once its sizes are known. */
void qig_dense_defaults(qig_model *m);
/* model_jarvis.c: the keys of a Jarvis model, and the tensors of one of its blocks. */
void qig_read_jarvis(opener *o);
void qig_place_jarvis_block(opener *o, qig_layer *l, const char *prefix);
/* model.c: a block's own tensors, for the integrator too. */
void qig_place_block(opener *o, qig_layer *l, const char *prefix);

#endif
