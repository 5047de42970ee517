/* bandwidth.c - what the memory of this machine delivers to plain reading: the ceiling that decode is held against. */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "../include/qig.h"
#include "clock.h"
#include "pool.h"
#include "topology.h"

#ifndef MAP_ANONYMOUS
#define MAP_ANONYMOUS MAP_ANON
#endif

enum {
    LINE = 64,
    WORDS = LINE / 8,
    AHEAD = 2048,          /* bytes a prefetch runs ahead */
    STREAMS = 4,           /* places read side by side, as rows of a matrix are */
    MAX_THREADS = 256,
    PIECES = 4,            /* a thread: one that comes late takes fewer */
    MIN_TRAFFIC = 1 << 26  /* bytes a timing covers at least, so that the clock and the start of the threads do not count */
};

typedef enum { PLAIN, PREFETCHED, STREAMED, N_WAYS } read_way;

typedef struct {
    uint8_t *data;
    uint64_t share; /* bytes of a piece: a multiple of LINE * STREAMS */
    uint64_t passes;
    read_way way;
    uint64_t sums[MAX_THREADS * PIECES][WORDS]; /* keeps the reads from being optimized away */
} bandwidth_job;

static inline void add_line(uint64_t sum[WORDS], const uint8_t *p) {
    uint64_t line[WORDS];
    memcpy(line, p, sizeof line);
    for (int i = 0; i < WORDS; i++) sum[i] += line[i];
}

static void read_piece(void *arg, int item, int thread) {
    bandwidth_job *job = arg;
    (void)thread;
    const uint8_t *p = job->data + (uint64_t)item * job->share;
    const uint64_t n = job->share, part = n / STREAMS;
    uint64_t sum[WORDS] = { 0 };
    for (uint64_t pass = 0; pass < job->passes; pass++) {
        if (job->way == PLAIN) {
            for (uint64_t i = 0; i < n; i += LINE) add_line(sum, p + i);
        } else if (job->way == PREFETCHED) {
            for (uint64_t i = 0; i < n; i += LINE) {
                __builtin_prefetch(p + (i + AHEAD < n ? i + AHEAD : i));
                add_line(sum, p + i);
            }
        } else {
            for (uint64_t i = 0; i < part; i += LINE)
                for (uint64_t k = 0; k < STREAMS; k++) {
                    const uint8_t *q = p + k * part;
                    __builtin_prefetch(q + (i + AHEAD < part ? i + AHEAD : i));
                    add_line(sum, q + i);
                }
        }
    }
    memcpy(job->sums[item], sum, sizeof sum);
}

static void touch_piece(void *arg, int item, int thread) {
    bandwidth_job *job = arg;
    (void)thread;
    memset(job->data + (uint64_t)item * job->share, item + 1, job->share);
}

double qig_read_bandwidth(uint64_t bytes, int32_t n_threads, int32_t rounds) {
    if (n_threads < 0 || n_threads > MAX_THREADS || rounds < 1) return 0;
    qig_topology machine;
    qig_topology_read(&machine);
    if (n_threads == 0) n_threads = qig_topology_threads(&machine, QIG_DEFAULT_DECODE);
    bandwidth_job *job = mmap(NULL, sizeof *job, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (job == MAP_FAILED) return 0;
    const uint64_t unit = LINE * STREAMS;
    const int pieces = n_threads > 1 ? n_threads * PIECES : 1;
    job->share = (bytes / (uint64_t)pieces + unit - 1) / unit * unit;
    if (job->share == 0) job->share = unit;
    const uint64_t total = job->share * (uint64_t)pieces;
    double best = 0;
    void *data = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    qig_pool *pool = data == MAP_FAILED ? NULL : qig_pool_new(n_threads, &machine);
    if (pool) {
        job->data = data;
        job->passes = (MIN_TRAFFIC + total - 1) / total;
        qig_pool_run(pool, n_threads, touch_piece, job, pieces);
        for (int32_t r = 0; r < rounds; r++)
            for (read_way way = PLAIN; way < N_WAYS; way++) {
                job->way = way;
                double start = qig_seconds();
                qig_pool_run(pool, n_threads, read_piece, job, pieces);
                double rate = (double)(total * job->passes) / (qig_seconds() - start);
                if (rate > best) best = rate;
            }
    }
    qig_pool_free(pool);
    if (data != MAP_FAILED) munmap(data, total);
    munmap(job, sizeof *job);
    return best;
}
