/* pool.c - threads for the token loop; pool.h has the contract.
 *
 * A phase is published as one 64-bit ticket: | generation 32 | items 16 | next item 16 |. A thread takes an item by counting the ticket up with a
 * compare-and-swap; where that succeeds, the phase had an item left and so was not over, hence fn, arg and width, read before, were its own. A thread
 * that sleeps through phases therefore harms nothing: its old ticket no longer fits.
 *
 * Threads wait for `start`, which every phase signals. One that finds itself outside of the phase's width waits for the width to change instead, where
 * only a wider phase finds it.
 */
#include "pool.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Small and explicit: musl's default (128 KiB) is not enough under sanitizers, glibc's (8 MiB) is wasteful. */
#define STACK_BYTES (512 * 1024)
/* Looks before a waiting thread sleeps: some 100 microseconds, longer than anything between two phases of a token takes. */
enum { SPINS = 4000 };

typedef struct {
    _Alignas(64) atomic_uint value; /* changes when the waiting ends */
    atomic_uint sleepers;
} event;

struct qig_pool {
    event start, finish;
    _Alignas(64) _Atomic uint64_t ticket;
    _Alignas(64) atomic_uint done; /* items of this phase that are */
    _Alignas(64) _Atomic(qig_pool_fn *) fn;
    _Atomic(void *) arg;
    atomic_int width; /* threads that this phase is for */
    atomic_int spins; /* looks before one of them sleeps */
    atomic_int stop;
    pthread_mutex_t mutex;
    pthread_cond_t cond, wider;
    int n_threads;
    qig_topology machine;
    uint32_t generation;
    struct worker { qig_pool *pool; int index; pthread_t thread; } *workers; /* [n_threads - 1] */
};

static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* yield is a no-op on most cores; isb waits some ten cycles */
#endif
}

/* Waits until the event has left `old`. The sleeper announces itself before it looks again, the signaller changes the value before it looks
 * for sleepers (both sequentially consistent), so one of them sees the other. */
static void wait_past(qig_pool *p, event *e, unsigned old) {
    for (int i = 0, spins = atomic_load_explicit(&p->spins, memory_order_relaxed); i < spins; i++) {
        if (atomic_load_explicit(&e->value, memory_order_acquire) != old) return;
        relax();
    }
    pthread_mutex_lock(&p->mutex);
    atomic_fetch_add(&e->sleepers, 1);
    while (atomic_load(&e->value) == old) pthread_cond_wait(&p->cond, &p->mutex);
    atomic_fetch_sub(&e->sleepers, 1);
    pthread_mutex_unlock(&p->mutex);
}

static void signal_event(qig_pool *p, event *e) {
    atomic_fetch_add(&e->value, 1);
    if (atomic_load(&e->sleepers) == 0) return;
    pthread_mutex_lock(&p->mutex);
    pthread_cond_broadcast(&p->cond);
    pthread_mutex_unlock(&p->mutex);
}

/* Takes and does items until the phase has none left. */
static void work(qig_pool *p, int thread) {
    uint64_t t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    while ((t & 0xffff) < ((t >> 16) & 0xffff)) {
        qig_pool_fn *fn = atomic_load_explicit(&p->fn, memory_order_relaxed);
        void *arg = atomic_load_explicit(&p->arg, memory_order_relaxed);
        if (thread >= atomic_load_explicit(&p->width, memory_order_relaxed)) return;
        if (!atomic_compare_exchange_weak_explicit(&p->ticket, &t, t + 1, memory_order_acq_rel, memory_order_acquire)) continue;
        fn(arg, (int)(t & 0xffff), thread);
        if (atomic_fetch_add_explicit(&p->done, 1, memory_order_acq_rel) + 1 == ((t >> 16) & 0xffff)) signal_event(p, &p->finish);
        t = atomic_load_explicit(&p->ticket, memory_order_acquire);
    }
}

/* Sleeps while phases are for fewer threads. */
static void wait_wider(qig_pool *p, int thread) {
    if (thread < atomic_load_explicit(&p->width, memory_order_relaxed)) return;
    pthread_mutex_lock(&p->mutex);
    while (thread >= atomic_load(&p->width)) pthread_cond_wait(&p->wider, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
}

/* How many threads the phases from here on are for; narrower ones leave the others to find that out. */
static void set_width(qig_pool *p, int n) {
    const int before = atomic_load_explicit(&p->width, memory_order_relaxed);
    if (n == before) return;
    pthread_mutex_lock(&p->mutex);
    atomic_store(&p->width, n);
    /* With more threads than processors a spinning thread keeps the one it waits for from running. */
    atomic_store_explicit(&p->spins, n <= p->machine.cpus ? SPINS : 0, memory_order_relaxed);
    if (n > before) pthread_cond_broadcast(&p->wider);
    pthread_mutex_unlock(&p->mutex);
}

static void *worker_main(void *arg) {
    struct worker *w = arg;
    qig_pool *p = w->pool;
    if (w->index < p->machine.big) qig_topology_pin(&p->machine);
    for (unsigned seen = 0;;) {
        wait_wider(p, w->index);
        wait_past(p, &p->start, seen);
        seen = atomic_load(&p->start.value);
        if (atomic_load(&p->stop)) return NULL;
        work(p, w->index);
    }
}

void qig_pool_run(qig_pool *p, int n, qig_pool_fn *fn, void *arg, int n_items) {
    if (n == 1 || n_items <= 1) {
        for (int i = 0; i < n_items; i++) fn(arg, i, 0);
        return;
    }
    set_width(p, n);
    const unsigned before = atomic_load_explicit(&p->finish.value, memory_order_relaxed);
    atomic_store_explicit(&p->fn, fn, memory_order_relaxed);
    atomic_store_explicit(&p->arg, arg, memory_order_relaxed);
    atomic_store_explicit(&p->done, 0, memory_order_relaxed);
    atomic_store_explicit(&p->ticket, (uint64_t)++p->generation << 32 | (uint64_t)n_items << 16, memory_order_release);
    signal_event(p, &p->start);
    work(p, 0);
    wait_past(p, &p->finish, before);
}

static void stop_workers(qig_pool *p, int started) {
    atomic_store(&p->stop, 1);
    set_width(p, p->n_threads);
    signal_event(p, &p->start);
    for (int i = 0; i < started; i++) pthread_join(p->workers[i].thread, NULL);
}

qig_pool *qig_pool_new(int n_threads, const qig_topology *machine) {
    void *mem = NULL;
    if (n_threads < 1 || posix_memalign(&mem, _Alignof(qig_pool), sizeof(qig_pool)) != 0) return NULL;
    qig_pool *p = mem;
    *p = (qig_pool){ .n_threads = n_threads, .width = 1, .machine = *machine };
    p->workers = calloc((size_t)n_threads, sizeof *p->workers);
    if (!p->workers) {
        free(p);
        return NULL;
    }
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->cond, NULL);
    pthread_cond_init(&p->wider, NULL);
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    size_t stack = STACK_BYTES;
#ifdef PTHREAD_STACK_MIN
    if (stack < (size_t)PTHREAD_STACK_MIN) stack = (size_t)PTHREAD_STACK_MIN;
#endif
    pthread_attr_setstacksize(&attr, stack);
    /* Signals are the caller's: a thread of the pool that took one would leave the caller waiting for what it interrupts. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int started = 0;
    for (; started < n_threads - 1; started++) {
        p->workers[started].pool = p;
        p->workers[started].index = started + 1;
        if (pthread_create(&p->workers[started].thread, &attr, worker_main, &p->workers[started]) != 0) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (started < n_threads - 1) {
        stop_workers(p, started);
        p->n_threads = 1;
        qig_pool_free(p);
        return NULL;
    }
    return p;
}

void qig_pool_free(qig_pool *p) {
    if (!p) return;
    if (p->n_threads > 1) stop_workers(p, p->n_threads - 1);
    pthread_cond_destroy(&p->wider);
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->mutex);
    free(p->workers);
    free(p);
}

int qig_pool_threads(const qig_pool *p) { return p->n_threads; }
