/* ops_test.h - what the kernel tests stand on: seeded random numbers, buffers between guard pages, counted checks. */
#ifndef QIG_OPS_TEST_H
#define QIG_OPS_TEST_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *current = ""; /* the kernel under test, for messages */
static long cases_run, cases_failed;
static int case_ok;

/* A case is one shape or one set of special values; it fails once however many of its values are wrong. */
static void begin_case(void) { case_ok = 1; }
static void end_case(void) {
    cases_run++;
    cases_failed += !case_ok;
}

#define CHECK(ok, ...)                                        \
    do {                                                      \
        if (!(ok)) {                                          \
            if (case_ok && cases_failed < 20) {               \
                fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, current); \
                fprintf(stderr, __VA_ARGS__);                 \
                fputc('\n', stderr);                          \
            }                                                 \
            case_ok = 0;                                      \
        }                                                     \
    } while (0)

/* |got - want| <= tol, written so that a NaN on either side fails. */
#define CHECK_NEAR(got, want, tol, ...) CHECK(!!(fabs((double)(got) - (double)(want)) <= (double)(tol)), __VA_ARGS__)

/* Whether the arguments [seed [kernel set ...]] ask for a set: for all where none is named. */
static inline int asked_for(const char *isa, int argc, char **argv) {
    int found = argc <= 2;
    for (int i = 2; i < argc; i++) found |= !strcmp(argv[i], isa);
    return found;
}

static uint64_t rng_state;

static uint32_t rng(void) { /* splitmix64 */
    uint64_t z = rng_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}
static int rng_int(int low, int high) { return low + (int)(rng() % (uint32_t)(high - low + 1)); }
static float rng_float(void) { return (float)rng() * (2.0f / 4294967296.0f) - 1.0f; } /* [-1, 1) */

/* Buffers whose neighbours on both sides cannot be touched. Even ones end at the guard, odd ones start at it: over- and under-reads are both fatal
 * in one of two runs. All are released together at the end of a case. */
enum { MAX_BUFFERS = 64 };
static struct {
    void *base;
    size_t bytes;
} buffers[MAX_BUFFERS];
static int n_buffers;
static int guard_front;

static void *guarded(size_t bytes) {
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (bytes + page - 1) / page * page, whole = body + 2 * page;
    char *p = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || n_buffers == MAX_BUFFERS || (body && mprotect(p + page, body, PROT_READ | PROT_WRITE))) {
        fprintf(stderr, "no memory for a guarded buffer of %zu bytes\n", bytes);
        exit(1);
    }
    buffers[n_buffers].base = p;
    buffers[n_buffers++].bytes = whole;
    char *data = guard_front ? p + page : p + page + body - bytes;
    memset(data, 0xa5, bytes);
    return data;
}

static inline void release_buffers(void) {
    while (n_buffers) {
        n_buffers--;
        munmap(buffers[n_buffers].base, buffers[n_buffers].bytes);
    }
}

static inline void *guarded_copy(const void *from, size_t bytes) {
    void *p = guarded(bytes);
    memcpy(p, from, bytes);
    return p;
}

static inline int same_bits(float a, float b) { return !memcmp(&a, &b, sizeof a) || (isnan(a) && isnan(b)); }

#endif
