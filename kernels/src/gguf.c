/* gguf.c - see gguf.h. */
#define _POSIX_C_SOURCE 200809L

#include "gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

_Static_assert(sizeof(size_t) == 8, "libqig needs a 64-bit system: model files are mapped whole");
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libqig reads weights in place and needs a little-endian system"
#endif

enum { MAX_ENTRIES = 1 << 16, MAX_TENSOR_NAME = 64, MAX_KEY = 65535, MAX_DIMS = 4, MIN_ALIGNMENT = 8, MAX_ALIGNMENT = 1 << 16 };

/* Bytes of one value by its type; 0: strings, arrays, and numbers that are no type. */
static uint64_t kv_width(uint32_t type) {
    static const uint8_t width[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < sizeof width ? width[type] : 0;
}

static const struct { uint32_t type; uint32_t block, bytes; const char *name; } tensor_types[] = {
    {QIG_F32, 1, 4, "F32"}, {QIG_F16, 1, 2, "F16"}, {QIG_Q4_0, 32, 18, "Q4_0"}, {QIG_Q4_1, 32, 20, "Q4_1"}, {QIG_Q8_0, 32, 34, "Q8_0"},
    {QIG_Q6_K, 256, 210, "Q6_K"}};
#define N_TENSOR_TYPES (sizeof tensor_types / sizeof *tensor_types)

const char *qig_type_name(uint32_t type) {
    for (size_t i = 0; i < N_TENSOR_TYPES; i++)
        if (tensor_types[i].type == type) return tensor_types[i].name;
    return NULL;
}

int qig_type_row(uint32_t type, int64_t ne0, size_t *row_bytes) {
    for (size_t i = 0; i < N_TENSOR_TYPES; i++) {
        if (tensor_types[i].type != type) continue;
        if (ne0 < 1 || ne0 % tensor_types[i].block) return 0;
        return !__builtin_mul_overflow((uint64_t)ne0 / tensor_types[i].block, (uint64_t)tensor_types[i].bytes, row_bytes);
    }
    return 0;
}

/* --- the directory ----------------------------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *map;
    uint64_t pos, size;
    const char *name; /* of the file, for errors */
    char *err;
    size_t errlen;
} reader;

/* The next n bytes, or NULL where the file has fewer left. */
static const uint8_t *take(reader *r, uint64_t n) {
    if (n > r->size - r->pos) return NULL;
    const uint8_t *p = r->map + r->pos;
    r->pos += n;
    return p;
}

static uint32_t load_u32(const uint8_t *p) { uint32_t v; memcpy(&v, p, sizeof v); return v; }
static uint64_t load_u64(const uint8_t *p) { uint64_t v; memcpy(&v, p, sizeof v); return v; }

static int take_u32(reader *r, uint32_t *v) {
    const uint8_t *p = take(r, 4);
    if (p) *v = load_u32(p);
    return p != NULL;
}

static int take_u64(reader *r, uint64_t *v) {
    const uint8_t *p = take(r, 8);
    if (p) *v = load_u64(p);
    return p != NULL;
}

static int take_str(reader *r, qig_str *s) {
    uint64_t len;
    if (!take_u64(r, &len)) return 0;
    s->len = len;
    s->p = (const char *)take(r, len);
    return s->p != NULL;
}

static int str_cmp(qig_str a, qig_str b) {
    int c = memcmp(a.p, b.p, a.len < b.len ? a.len : b.len);
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* Skips one value and notes its extent. */
static int read_value(reader *r, qig_kv *kv) {
    char q[QIG_QUOTE_SIZE];
    const char *key = qig_quote(q, kv->key.p, kv->key.len);
    if (!take_u32(r, &kv->type))
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: truncated: key '%s' has no value in a file of %llu bytes", r->name, key,
                        (unsigned long long)r->size);
    kv->count = 1;
    uint32_t item = kv->type;
    if (kv->type == QIG_KV_ARRAY) {
        if (!take_u32(r, &kv->elem_type) || !take_u64(r, &kv->count))
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: truncated: array '%s' is cut off by the end of the file at byte %llu", r->name,
                            key, (unsigned long long)r->size);
        item = kv->elem_type;
        if (item == QIG_KV_ARRAY)
            return qig_fail(r->err, r->errlen, QIG_ERR_UNSUPPORTED, "%s: key '%s' is an array of arrays, which this build does not read", r->name, key);
    }
    uint64_t start = r->pos, width = kv_width(item), left = r->size - r->pos;
    if (item != QIG_KV_STRING && width == 0)
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: key '%s' is of type %u, which GGUF does not have", r->name, key, item);
    kv->data = r->map + r->pos;
    /* A string takes at least its length field: no count beyond what the file can hold is ever walked. */
    int fits = kv->count <= left / (width ? width : 8);
    if (fits && width) {
        take(r, kv->count * width);
    } else if (fits) {
        qig_str s;
        for (uint64_t i = 0; fits && i < kv->count; i++) fits = take_str(r, &s);
    }
    if (!fits)
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: truncated: the value of key '%s' (%llu element%s) runs past the end of the file, %llu bytes",
                        r->name, key, (unsigned long long)kv->count, kv->count == 1 ? "" : "s", (unsigned long long)r->size);
    kv->bytes = r->pos - start;
    return QIG_OK;
}

static int kv_order(const void *a, const void *b) { return str_cmp(((const qig_kv *)a)->key, ((const qig_kv *)b)->key); }

static int read_kvs(reader *r, qig_gguf *g) {
    char q[QIG_QUOTE_SIZE];
    g->kv = calloc(g->n_kv ? g->n_kv : 1, sizeof *g->kv);
    if (!g->kv) return qig_fail(r->err, r->errlen, QIG_ERR_MEMORY, "%s: out of memory", r->name);
    for (uint64_t i = 0; i < g->n_kv; i++) {
        qig_kv *kv = &g->kv[i];
        if (!take_str(r, &kv->key))
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: truncated: key %llu of %llu runs past the end of the file, %llu bytes", r->name,
                            (unsigned long long)i + 1, (unsigned long long)g->n_kv, (unsigned long long)r->size);
        if (kv->key.len == 0 || kv->key.len > MAX_KEY || memchr(kv->key.p, 0, kv->key.len))
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: key %llu has a name of %llu bytes%s (1 to %d, none of them 0)", r->name,
                            (unsigned long long)i + 1, (unsigned long long)kv->key.len, kv->key.len && kv->key.len <= MAX_KEY ? " with a 0 in it" : "", MAX_KEY);
        int rc = read_value(r, kv);
        if (rc) return rc;
    }
    qsort(g->kv, g->n_kv, sizeof *g->kv, kv_order);
    for (uint64_t i = 1; i < g->n_kv; i++)
        if (str_cmp(g->kv[i - 1].key, g->kv[i].key) == 0)
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: key '%s' stands twice", r->name, qig_quote(q, g->kv[i].key.p, g->kv[i].key.len));
    return QIG_OK;
}

static int read_alignment(reader *r, qig_gguf *g) {
    g->alignment = 32;
    const qig_kv *kv = qig_gguf_find(g, "general.alignment");
    if (!kv) return QIG_OK;
    uint32_t a;
    if (!qig_kv_u32(kv, &a))
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: general.alignment is of type %u, it must be a u32", r->name, kv->type);
    if (a < MIN_ALIGNMENT || a > MAX_ALIGNMENT || (a & (a - 1)))
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: general.alignment is %u, it must be a power of two from %d to %d", r->name, a,
                        MIN_ALIGNMENT, MAX_ALIGNMENT);
    g->alignment = a;
    return QIG_OK;
}

/* One entry of the tensor directory: name to *names, which advances; the offset still counts from the data section. */
static int read_tensor(reader *r, qig_gguf_tensor *t, char **names) {
    char q[QIG_QUOTE_SIZE];
    qig_str name;
    const char *cut = "%s: truncated: the tensor directory runs past the end of the file, %llu bytes";
    if (!take_str(r, &name) || !take_u32(r, &t->n_dims)) return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, cut, r->name, (unsigned long long)r->size);
    if (name.len == 0 || name.len > MAX_TENSOR_NAME || memchr(name.p, 0, name.len))
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: tensor '%s' has a name of %llu bytes (1 to %d, none of them 0)", r->name,
                        qig_quote(q, name.p, name.len), (unsigned long long)name.len, MAX_TENSOR_NAME);
    t->name = memcpy(*names, name.p, name.len);
    t->name[name.len] = 0;
    *names += name.len + 1;
    qig_quote(q, name.p, name.len);
    if (t->n_dims < 1 || t->n_dims > MAX_DIMS)
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: tensor %s has %u dimensions (1 to %d)", r->name, q, t->n_dims, MAX_DIMS);
    uint64_t ne[MAX_DIMS] = {1, 1, 1, 1}, rows = 1;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (!take_u64(r, &ne[d])) return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, cut, r->name, (unsigned long long)r->size);
        if (ne[d] < 1 || ne[d] > INT64_MAX)
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: tensor %s has a dimension of %llu", r->name, q, (unsigned long long)ne[d]);
    }
    if (!take_u32(r, &t->type) || !take_u64(r, &t->offset))
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, cut, r->name, (unsigned long long)r->size);
    uint64_t elements;
    int wraps = __builtin_mul_overflow(ne[1], ne[2], &rows) || __builtin_mul_overflow(rows, ne[3], &rows) ||
                __builtin_mul_overflow(rows, ne[0], &elements) || elements > INT64_MAX;
    for (uint32_t d = 0; d < MAX_DIMS; d++) t->ne[d] = (int64_t)ne[d];
    if (!wraps && qig_type_name(t->type)) {
        if (!qig_type_row(t->type, t->ne[0], &t->row_bytes))
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: tensor %s has rows of %lld values, no whole number of %s blocks", r->name, q,
                            (long long)t->ne[0], qig_type_name(t->type));
        wraps = __builtin_mul_overflow(rows, t->row_bytes, &t->bytes);
    }
    if (wraps)
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: tensor %s is larger than any file: %llu x %llu x %llu x %llu", r->name, q,
                        (unsigned long long)ne[0], (unsigned long long)ne[1], (unsigned long long)ne[2], (unsigned long long)ne[3]);
    return QIG_OK;
}

static int name_order(const void *a, const void *b) {
    return strcmp((*(qig_gguf_tensor *const *)a)->name, (*(qig_gguf_tensor *const *)b)->name);
}

static int index_names(reader *r, qig_gguf *g) {
    for (uint64_t i = 0; i < g->n_tensors; i++) g->by_name[i] = &g->tensors[i];
    qsort(g->by_name, g->n_tensors, sizeof *g->by_name, name_order);
    char q[QIG_QUOTE_SIZE];
    for (uint64_t i = 1; i < g->n_tensors; i++) {
        const char *name = g->by_name[i]->name;
        if (strcmp(g->by_name[i - 1]->name, name) == 0)
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: tensor %s stands twice", r->name, qig_quote(q, name, strlen(name)));
    }
    return QIG_OK;
}

/* Turns offsets into places in the file and holds every tensor to the file's end. */
static int place_tensors(reader *r, qig_gguf *g) {
    char q[QIG_QUOTE_SIZE];
    uint64_t base = r->pos + (g->alignment - r->pos % g->alignment) % g->alignment; /* r->pos <= size, far from wrapping */
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        qig_gguf_tensor *t = &g->tensors[i];
        qig_quote(q, t->name, strlen(t->name));
        uint64_t end;
        if (t->offset % g->alignment)
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: tensor %s starts at offset %llu, no multiple of the alignment %llu", r->name, q,
                            (unsigned long long)t->offset, (unsigned long long)g->alignment);
        if (__builtin_add_overflow(t->offset, base, &t->offset) || __builtin_add_overflow(t->offset, t->bytes, &end))
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: tensor %s starts beyond any file", r->name, q);
        if (end > r->size)
            return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: truncated: tensor %s ends at byte %llu, the file has %llu", r->name, q,
                            (unsigned long long)end, (unsigned long long)r->size);
    }
    return QIG_OK;
}

static int read_tensors(reader *r, qig_gguf *g) {
    uint64_t n = g->n_tensors ? g->n_tensors : 1;
    g->tensors = calloc(n, sizeof *g->tensors);
    g->by_name = calloc(n, sizeof *g->by_name);
    g->names = malloc(n * (MAX_TENSOR_NAME + 1));
    if (!g->tensors || !g->by_name || !g->names) return qig_fail(r->err, r->errlen, QIG_ERR_MEMORY, "%s: out of memory", r->name);
    char *names = g->names;
    for (uint64_t i = 0; i < g->n_tensors; i++) {
        int rc = read_tensor(r, &g->tensors[i], &names);
        if (rc) return rc;
    }
    int rc = index_names(r, g);
    return rc ? rc : place_tensors(r, g);
}

static int read_header(reader *r, qig_gguf *g) {
    char q[QIG_QUOTE_SIZE];
    uint32_t version;
    const uint8_t *magic = take(r, 4);
    if (!magic)
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, r->size ? "%s: not a GGUF file (%llu bytes)" : "%s: the file is empty (%llu bytes)", r->name,
                        (unsigned long long)r->size);
    if (memcmp(magic, "GGUF", 4))
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: not a GGUF file (starts with '%s')", r->name, qig_quote(q, (const char *)magic, 4));
    if (!take_u32(r, &version) || !take_u64(r, &g->n_tensors) || !take_u64(r, &g->n_kv))
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT, "%s: truncated: %llu bytes do not hold a GGUF header", r->name, (unsigned long long)r->size);
    if (version != 3) {
        if ((version & 0xffff) == 0)
            return qig_fail(r->err, r->errlen, QIG_ERR_UNSUPPORTED, "%s: a big-endian GGUF file (this build reads little-endian ones)", r->name);
        return qig_fail(r->err, r->errlen, QIG_ERR_UNSUPPORTED, "%s: GGUF version %u (this build reads version 3)", r->name, version);
    }
    /* The least a key and a tensor take in the file: a count that cannot be true is an error here, before memory is reserved for it. */
    uint64_t left = r->size - r->pos;
    if (g->n_kv > left / 14 || g->n_tensors > left / 33)
        return qig_fail(r->err, r->errlen, QIG_ERR_FORMAT,
                        "%s: truncated or damaged: the header tells of %llu keys and %llu tensors, more than %llu bytes can hold", r->name,
                        (unsigned long long)g->n_kv, (unsigned long long)g->n_tensors, (unsigned long long)r->size);
    if (g->n_kv > MAX_ENTRIES || g->n_tensors > MAX_ENTRIES)
        return qig_fail(r->err, r->errlen, QIG_ERR_UNSUPPORTED, "%s: %llu keys and %llu tensors (this build reads at most %d of each)", r->name,
                        (unsigned long long)g->n_kv, (unsigned long long)g->n_tensors, MAX_ENTRIES);
    return QIG_OK;
}

int qig_gguf_read(const void *data, size_t size, const char *name, qig_gguf **out, char *err, size_t errlen) {
    reader r = {.map = data, .size = size, .name = name, .err = err, .errlen = errlen};
    *out = NULL;
    qig_gguf *g = calloc(1, sizeof *g);
    if (!g) return qig_fail(err, errlen, QIG_ERR_MEMORY, "%s: out of memory", name);
    g->map = data;
    g->size = size;
    int rc = read_header(&r, g);
    if (!rc) rc = read_kvs(&r, g);
    if (!rc) rc = read_alignment(&r, g);
    if (!rc) rc = read_tensors(&r, g);
    if (rc) qig_gguf_close(g);
    else *out = g;
    return rc;
}

int qig_gguf_open(const char *path, qig_gguf **out, char *err, size_t errlen) {
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* NONBLOCK: a FIFO without a writer must not hang here */
    struct stat st;
    if (fd < 0) return qig_fail(err, errlen, QIG_ERR_IO, "%s: %s", path, strerror(errno));
    int rc = QIG_OK;
    void *map = MAP_FAILED;
    if (fstat(fd, &st) < 0) rc = qig_fail(err, errlen, QIG_ERR_IO, "%s: %s", path, strerror(errno));
    else if (S_ISDIR(st.st_mode)) rc = qig_fail(err, errlen, QIG_ERR_IO, "%s: is a directory, not a GGUF file", path);
    else if (!S_ISREG(st.st_mode)) rc = qig_fail(err, errlen, QIG_ERR_IO, "%s: is not a regular file; a model is mapped, not streamed", path);
    else if (st.st_size == 0) rc = qig_fail(err, errlen, QIG_ERR_FORMAT, "%s: the file is empty", path);
    else {
        map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) rc = qig_fail(err, errlen, QIG_ERR_IO, "%s: cannot be mapped: %s", path, strerror(errno));
    }
    close(fd);
    if (rc) return rc;
    rc = qig_gguf_read(map, (size_t)st.st_size, path, out, err, errlen);
    if (rc) munmap(map, (size_t)st.st_size);
    else (*out)->owns_map = 1;
    return rc;
}

void qig_gguf_close(qig_gguf *g) {
    if (!g) return;
    if (g->owns_map) munmap((void *)(uintptr_t)g->map, (size_t)g->size);
    free(g->kv);
    free(g->tensors);
    free(g->by_name);
    free(g->names);
    free(g);
}

/* --- access ------------------------------------------------------------------------------------------------------------------------ */

const qig_kv *qig_gguf_find(const qig_gguf *g, const char *key) {
    qig_kv want = {.key = {key, strlen(key)}};
    return bsearch(&want, g->kv, g->n_kv, sizeof *g->kv, kv_order);
}

const qig_gguf_tensor *qig_gguf_tensor_find(const qig_gguf *g, const char *name) {
    uint64_t low = 0, high = g->n_tensors;
    while (low < high) {
        uint64_t mid = low + (high - low) / 2;
        const qig_gguf_tensor *t = g->by_name[mid];
        int c = strcmp(t->name, name);
        if (c == 0) return t;
        if (c < 0) low = mid + 1;
        else high = mid;
    }
    return NULL;
}

int qig_kv_u32(const qig_kv *kv, uint32_t *out) {
    if (kv->type != QIG_KV_U32) return 0;
    *out = load_u32(kv->data);
    return 1;
}

int qig_kv_f32(const qig_kv *kv, float *out) {
    if (kv->type != QIG_KV_F32) return 0;
    memcpy(out, kv->data, sizeof *out);
    return 1;
}

int qig_kv_bool(const qig_kv *kv, int *out) {
    if (kv->type != QIG_KV_BOOL || kv->data[0] > 1) return 0;
    *out = kv->data[0];
    return 1;
}

int qig_kv_str(const qig_kv *kv, qig_str *out) {
    if (kv->type != QIG_KV_STRING) return 0;
    out->len = load_u64(kv->data);
    out->p = (const char *)kv->data + 8;
    return 1;
}

int qig_kv_next_str(const qig_kv *kv, uint64_t *pos, qig_str *out) {
    if (kv->type != QIG_KV_ARRAY || kv->elem_type != QIG_KV_STRING || *pos >= kv->bytes) return 0;
    out->len = load_u64(kv->data + *pos);
    out->p = (const char *)kv->data + *pos + 8;
    *pos += 8 + out->len;
    return 1;
}
