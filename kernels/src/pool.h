/* pool.h - a fixed set of threads that run one function together, with a barrier inside it.
 *
 * The caller is thread 0; a pool of one creates no thread. Waiting threads spin briefly (a token's phases are microseconds apart), then
 * sleep. The caller of the pool divides work statically by (thread, n_threads): results must not depend on the division.
 */
#ifndef QIG_POOL_H
#define QIG_POOL_H

#include <stdint.h>

typedef struct qig_pool qig_pool;
typedef void qig_pool_fn(void *arg, int thread, int n_threads);

/* NULL when a thread or memory is refused. */
qig_pool *qig_pool_new(int n_threads);
void qig_pool_free(qig_pool *p);
int qig_pool_threads(const qig_pool *p);
/* Runs fn(arg, t, n_threads) on every thread t and returns when all are done. */
void qig_pool_run(qig_pool *p, qig_pool_fn *fn, void *arg);
/* Inside fn: no thread passes before all have come; what they wrote before is seen after. */
void qig_pool_barrier(qig_pool *p);

/* [lo, hi) of n items for one thread, boundaries on multiples of unit. */
static inline void qig_split(int64_t n, int64_t unit, int thread, int n_threads, int *lo, int *hi) {
    int64_t units = (n + unit - 1) / unit, a = units * thread / n_threads * unit, b = units * (thread + 1) / n_threads * unit;
    *lo = (int)(a < n ? a : n);
    *hi = (int)(b < n ? b : n);
}

#endif
