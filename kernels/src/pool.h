/* pool.h - a fixed set of threads that work off the items of one phase together.
 *
 * The caller is thread 0 and takes items like the others, so a thread that the system does not let run delays nobody but the item it holds, and a
 * pool of one creates no thread. Waiting threads spin briefly (a token's phases are microseconds apart), then sleep. Which thread takes an
 * item is left to chance: what an item computes must not depend on it, nor on the other items of its phase.
 *
 * A phase may be for the first n threads alone. The others take none of its items, and from the first such phase on they sleep until a wider one comes:
 * narrow phases do not wake them. So the counts for decoding and for prompts can differ, in one pool.
 */
#ifndef QIG_POOL_H
#define QIG_POOL_H

#include <stdint.h>

#include "topology.h"

enum { QIG_POOL_MAX_ITEMS = 65535 };

typedef struct qig_pool qig_pool;
typedef void qig_pool_fn(void *arg, int item, int thread); /* thread: 0 .. n_threads - 1, for scratch memory */

/* NULL when a thread or memory is refused. Where the machine has big and small cores, threads 1 to big - 1 are kept on its big ones; threads beyond, which
 * somebody asked for, run where there is room. Thread 0 is the caller's own and left as it is. */
qig_pool *qig_pool_new(int n_threads, const qig_topology *machine);
void qig_pool_free(qig_pool *p);
int qig_pool_threads(const qig_pool *p);
/* fn(arg, i, thread) once for every i in [0, n_items) by threads below n (1 to n_threads); returns when all are done, and the caller then sees what they
 * wrote. */
void qig_pool_run(qig_pool *p, int n, qig_pool_fn *fn, void *arg, int n_items);

#endif
