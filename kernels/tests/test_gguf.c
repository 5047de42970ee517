/* test_gguf.c - the reader against memory that ends where the file ends: a read beyond it is a crash, not a wrong answer. */
#define _DEFAULT_SOURCE

#include <sys/mman.h>
#include <unistd.h>

#include "model.h"
#include "tiny_gguf.h"

static int n_cases, n_failed;

static void check(int ok, const char *what, long long value) {
    n_cases++;
    if (ok) return;
    n_failed++;
    fprintf(stderr, "FAILED: %s (%lld)\n", what, value);
}

/* A page-aligned copy of n bytes whose last byte lies right before an unmapped page; *base and *len are to be unmapped. */
static uint8_t *guarded(const uint8_t *p, size_t n, void **base, size_t *len) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (n + page - 1) / page * page;
    *len = room + page;
    *base = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*base == MAP_FAILED) abort();
    uint8_t *to = (uint8_t *)*base + room - n;
    if (n) memcpy(to, p, n);
    if (mprotect((uint8_t *)*base + room, page, PROT_NONE)) abort();
    return to;
}

static int open_copy(const uint8_t *p, size_t n, char *err, size_t errlen) {
    void *base;
    size_t len;
    const uint8_t *copy = guarded(p, n, &base, &len);
    qig_gguf *g;
    qig_model *m = NULL;
    int rc = qig_gguf_read(copy, n, "mem", &g, err, errlen);
    if (!rc) rc = qig_model_from_gguf(g, "mem", NULL, &m, err, errlen);
    qig_model_close(m);
    munmap(base, len);
    return rc;
}

/* Every prefix of a valid file is refused, with a line that names the file. */
static void test_every_cut(const tiny_file *f) {
    char err[256];
    check(open_copy(f->p, f->n, err, sizeof err) == QIG_OK, "the whole file opens", 0);
    for (size_t n = 0; n < f->n; n++) {
        err[0] = 0;
        int rc = open_copy(f->p, n, err, sizeof err);
        check(rc == QIG_ERR_FORMAT && strncmp(err, "mem: ", 5) == 0, "a file cut to this many bytes is refused", (long long)n);
    }
}

/* Every byte of the directory, flipped or maximal: open or refuse, but end. What the flips hit most are lengths, types and counts. */
static void test_every_byte(const tiny_file *f) {
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    uint8_t *copy = malloc(f->n);
    char err[256];
    if (!copy) abort();
    for (size_t i = 0; i < f->data; i++) {
        for (size_t k = 0; k < sizeof masks; k++) {
            memcpy(copy, f->p, f->n);
            copy[i] ^= masks[k];
            err[0] = 0;
            int rc = open_copy(copy, f->n, err, sizeof err);
            check(rc == QIG_OK || (rc < 0 && err[0]), "a flipped byte gives a model or an error line", (long long)i);
        }
    }
    free(copy);
}

/* Opening reads the directory and the temperatures, no weights: their pages cannot be read here. */
static void test_weights_untouched(void) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    tiny_file f = tiny_model((uint32_t)page); /* the temperatures have the first page of the data to themselves */
    void *base = mmap(NULL, f.n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) abort();
    memcpy(base, f.p, f.n);
    if (mprotect((uint8_t *)base + f.data + page, f.n - f.data - page, PROT_NONE)) abort();
    char err[256] = "";
    qig_gguf *g;
    qig_model *m = NULL;
    int rc = qig_gguf_read(base, f.n, "mem", &g, err, sizeof err);
    if (!rc) rc = qig_model_from_gguf(g, "mem", NULL, &m, err, sizeof err);
    check(rc == QIG_OK, err, rc);
    if (m) {
        qig_model_info info;
        qig_model_get_info(m, &info);
        check(info.vocab_size == TINY_VOCAB && info.head_dim == 16 && info.head_rank == 0, "what the file says", info.vocab_size);
        check(strcmp(info.file_type, "Q4_0") == 0 && strcmp(info.name, "tiny") == 0, "type and name", 0);
        check(m->output.data == m->token_embd.data && m->head_width == 32, "the head is tied to the embedding", m->head_width);
        check(m->layers[0].attn_q_gain.data == NULL, "no gains for pure states", 0);
        uint64_t params = 0, bytes = 0;
        for (int64_t i = 0; i < qig_model_tensor_count(m); i++) {
            qig_tensor_info t;
            check(qig_model_tensor(m, i, &t) == QIG_OK && t.offset + t.bytes <= f.n && t.offset % page == 0, "a tensor in its place", (long long)i);
            params += (uint64_t)(t.ne[0] * t.ne[1]);
            bytes += t.bytes;
        }
        check(info.n_params == params && info.weight_bytes == bytes, "sums over the tensors", (long long)params);
        qig_tensor_info t;
        check(qig_model_tensor(m, -1, &t) == QIG_ERR_ARG && qig_model_tensor(m, qig_model_tensor_count(m), &t) == QIG_ERR_ARG, "no such tensor", 0);
        qig_model_close(m);
    }
    munmap(base, f.n);
    free(f.p);
}

/* An error line is cut on a whole character, always terminated, and optional. */
static void test_error_lines(const tiny_file *f) {
    qig_gguf *g;
    char err[16];
    memset(err, 'x', sizeof err);
    check(qig_gguf_read(f->p, 10, "caf\xc3\xa9\n", &g, err, sizeof err) == QIG_ERR_FORMAT, "refused", 0);
    check(strcmp(err, "caf\xc3\xa9?: truncat") == 0, err, 0);
    memset(err, 'x', sizeof err);
    qig_gguf_read(f->p, 10, "caf\xc3\xa9", &g, err, 5); /* room for "caf" and half of the last letter */
    check(strcmp(err, "caf") == 0, err, 0);
    check(qig_gguf_read(f->p, 10, "mem", &g, NULL, 0) == QIG_ERR_FORMAT, "no place for an error", 0);
    check(qig_gguf_read(f->p, 10, "mem", &g, err, 0) == QIG_ERR_FORMAT && err[0] == 'c', "no room for an error", 0);
    qig_model *m;
    check(qig_model_open(NULL, NULL, &m, NULL, 0) == QIG_ERR_ARG && m == NULL, "no path", 0);
    check(qig_model_open("x", NULL, NULL, NULL, 0) == QIG_ERR_ARG, "nowhere to put the model", 0);
    qig_model_close(NULL);
}

int main(void) {
    tiny_file f = tiny_model(32);
    test_every_cut(&f);
    test_every_byte(&f);
    test_weights_untouched();
    test_error_lines(&f);
    free(f.p);
    printf("test_gguf: %d cases, %d failed\n", n_cases, n_failed);
    return n_failed || n_cases < 1000;
}
