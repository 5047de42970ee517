/* gguf.h - a GGUF v3 file, mapped read-only, every byte of its directory checked before use.
 *
 *   u32 magic "GGUF" | u32 version | u64 n_tensors | u64 n_kv
 *   n_kv times:      string key | u32 type | value              string: u64 length, bytes.  array: u32 element type, u64 count, elements
 *   n_tensors times: string name | u32 n_dims | u64 ne[n_dims] | u32 type | u64 offset
 *   padding to the alignment | tensor data, each tensor at its offset (a multiple of the alignment) from here
 *
 * The reader trusts nothing: no count reserves memory before the file is known to be long enough to hold that many entries, sums and
 * products are checked against overflow, and values are read only through functions that check their type. Tensor data is never read.
 */
#ifndef QIG_GGUF_H
#define QIG_GGUF_H

#include <stddef.h>
#include <stdint.h>

/* Tensor types that this build reads, by their number in the file. */
typedef enum { QIG_F32 = 0, QIG_F16 = 1, QIG_Q4_0 = 2, QIG_Q4_1 = 3, QIG_Q8_0 = 8, QIG_Q6_K = 14, QIG_N_TYPES } qig_type;

/* Types of metadata values, by their number in the file. */
typedef enum {
    QIG_KV_U8 = 0, QIG_KV_I8, QIG_KV_U16, QIG_KV_I16, QIG_KV_U32, QIG_KV_I32, QIG_KV_F32, QIG_KV_BOOL, QIG_KV_STRING, QIG_KV_ARRAY,
    QIG_KV_U64, QIG_KV_I64, QIG_KV_F64
} qig_kv_type;

typedef struct { const char *p; size_t len; } qig_str; /* bytes in the map, not terminated */

typedef struct {
    qig_str key;
    uint32_t type;       /* qig_kv_type */
    uint32_t elem_type;  /* of an array, else unused */
    uint64_t count;      /* elements of an array, else 1 */
    const uint8_t *data; /* first byte of the value (array: of its first element; string: of its length), unaligned */
    uint64_t bytes;      /* extent of the value from data */
} qig_kv;

typedef struct {
    char *name;       /* terminated copy */
    uint32_t type;    /* qig_type */
    uint32_t n_dims;  /* 1..4 */
    int64_t ne[4];    /* ne[0] innermost; unused ones 1 */
    uint64_t offset;  /* from the start of the file */
    uint64_t bytes;
    size_t row_bytes; /* ne[0] values */
} qig_gguf_tensor;

typedef struct {
    const uint8_t *map;
    uint64_t size;
    int owns_map; /* unmapped by qig_gguf_close */
    uint64_t n_kv, n_tensors, alignment;
    qig_kv *kv;               /* sorted by key */
    qig_gguf_tensor *tensors; /* in file order */
    qig_gguf_tensor **by_name; /* sorted by name */
    char *names;              /* storage of the tensors' names */
} qig_gguf;

/* Maps the file and reads its directory. Returns a qig_status; err names the file. */
int qig_gguf_open(const char *path, qig_gguf **out, char *err, size_t errlen);
/* The same over memory that the caller keeps; name is only used in errors. */
int qig_gguf_read(const void *data, size_t size, const char *name, qig_gguf **out, char *err, size_t errlen);
void qig_gguf_close(qig_gguf *g);

const qig_kv *qig_gguf_find(const qig_gguf *g, const char *key);             /* NULL: absent */
const qig_gguf_tensor *qig_gguf_tensor_find(const qig_gguf *g, const char *name); /* NULL: absent */

/* Typed access; 0 when the value is of another type (never converted). */
int qig_kv_u32(const qig_kv *kv, uint32_t *out);
int qig_kv_f32(const qig_kv *kv, float *out);
int qig_kv_bool(const qig_kv *kv, int *out);
int qig_kv_str(const qig_kv *kv, qig_str *out);
/* Walks an array of strings: *pos starts at 0 (a byte offset); 0 at the end. The array's extent was checked when the file was read. */
int qig_kv_next_str(const qig_kv *kv, uint64_t *pos, qig_str *out);

const char *qig_type_name(uint32_t type);                                     /* "Q4_0"; NULL: not read by this build */
int qig_type_row(uint32_t type, int64_t ne0, size_t *row_bytes);              /* 0: no whole number of blocks, or overflow */

#endif
