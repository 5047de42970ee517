/* test_threads.c - which threads evaluate: processors from made-up files, phases for a part of a pool, counts found by trial on a made-up machine, and floats
 * that depend on none of it. */
#include <dirent.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "ops_test.h"

#include "../src/clock.h"
#include "../src/pool.h"
#include "../src/session.h"
#include "../src/thread_count.h"
#include "../src/topology.h"
#include "tiny_random.h"

/* --- processors ----------------------------------------------------------------------------------------------------------------------- */

static char root[128];

/* A new folder. */
static void make_root(void) {
    static int made;
    const char *where = getenv("TMPDIR");
    snprintf(root, sizeof root, "%.80s/qig-processors-%ld-%d", where && *where ? where : "/tmp", (long)getpid(), made++);
    if (mkdir(root, 0700) != 0) {
        fprintf(stderr, "cannot make %s\n", root);
        exit(1);
    }
}

/* A file of a processor below root, as Linux writes it. */
static void write_file(int cpu, const char *folder, const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/cpu%d", root, cpu);
    mkdir(path, 0700);
    if (*folder) {
        snprintf(path, sizeof path, "%s/cpu%d/%s", root, cpu, folder);
        mkdir(path, 0700);
    }
    snprintf(path, sizeof path, "%s/cpu%d/%s%s%s", root, cpu, folder, *folder ? "/" : "", name);
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0) {
        fprintf(stderr, "cannot write %s\n", path);
        exit(1);
    }
}

static void remove_tree(const char *path) {
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        char inner[512];
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (unlink(inner) != 0) remove_tree(inner);
    }
    if (d) closedir(d);
    rmdir(path);
}

typedef struct {
    const char *name;
    int cpus;
    long capacity[12], clock[12]; /* 0: no file */
    const char *siblings[12];
    unsigned allowed; /* bit: processor */
    int want_cpus, want_big, want_mixed;
    unsigned want_set;
} machine_case;

static void test_topology(void) {
    const machine_case cases[] = {
        {"a phone, 4 + 4", 8, {250, 250, 250, 250, 1024, 1024, 1024, 1024}, {0}, {0}, 0xff, 8, 4, 1, 0xf0},
        {"a phone, 4 + 3 + 1", 8, {325, 325, 325, 325, 828, 828, 828, 1024}, {0}, {0}, 0xff, 8, 4, 1, 0xf0},
        {"a phone's small cores alone", 8, {250, 250, 250, 250, 1024, 1024, 1024, 1024}, {0}, {0}, 0x0f, 4, 4, 0, 0x0f},
        {"two small and one big core allowed", 8, {250, 250, 250, 250, 1024, 1024, 1024, 1024}, {0}, {0}, 0x23, 3, 1, 1, 0x20},
        {"a board known by its clocks", 6, {0}, {1416000, 1416000, 1416000, 1416000, 2208000, 2208000}, {0}, 0x3f, 6, 2, 1, 0x30},
        {"a board of one kind", 4, {0}, {2400000, 2400000, 2400000, 2400000}, {"0", "1", "2", "3"}, 0x0f, 4, 4, 0, 0x0f},
        {"a server with two threads a core", 8, {0}, {3500000, 3500000, 3500000, 3500000, 3500000, 3500000, 3500000, 3500000},
         {"0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"}, 0xff, 8, 4, 0, 0xff},
        {"the same, neighbours as pairs, some allowed", 8, {0}, {0}, {"0-1", "0-1", "2-3", "2-3", "4-5", "4-5", "6-7", "6-7"}, 0x1e, 4, 3, 0, 0x1e},
        {"a laptop: pairs beside small cores", 8, {0}, {5000000, 5000000, 5000000, 5000000, 3600000, 3600000, 3600000, 3600000},
         {"0-1", "0-1", "2-3", "2-3", "4", "5", "6", "7"}, 0xff, 8, 2, 1, 0x0f},
        {"no files", 0, {0}, {0}, {0}, 0x07, 3, 3, 0, 0x07},
    };
    current = "topology";
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const machine_case *c = &cases[k];
        begin_case();
        make_root();
        for (int cpu = 0; cpu < c->cpus; cpu++) {
            char text[64];
            snprintf(text, sizeof text, "%ld\n", c->capacity[cpu]);
            if (c->capacity[cpu]) write_file(cpu, "", "cpu_capacity", text);
            snprintf(text, sizeof text, "%ld\n", c->clock[cpu]);
            if (c->clock[cpu]) write_file(cpu, "cpufreq", "cpuinfo_max_freq", text);
            if (c->siblings[cpu]) write_file(cpu, "topology", "thread_siblings_list", c->siblings[cpu]);
        }
        qig_cpu_set allowed = {{c->allowed}};
        qig_topology t;
        qig_topology_of(root, &allowed, &t);
        CHECK(t.cpus == c->want_cpus && t.big == c->want_big && t.mixed == c->want_mixed, "%s: %d processors, %d big, mixed %d", c->name, t.cpus, t.big, t.mixed);
        CHECK(t.set.bits[0] == c->want_set, "%s: set %llx", c->name, (unsigned long long)t.set.bits[0]);
        CHECK(qig_topology_threads(&t, 3) == (t.big < 3 ? t.big : 3), "%s: %d threads", c->name, qig_topology_threads(&t, 3));
        remove_tree(root);
        end_case();
    }
    begin_case(); /* files that say nothing of use */
    make_root();
    write_file(0, "", "cpu_capacity", "much\n");
    write_file(1, "cpufreq", "cpuinfo_max_freq", "");
    write_file(1, "topology", "thread_siblings_list", "99999999999999999999\n");
    qig_cpu_set two = {{3}}, none = {{0}};
    qig_topology t;
    qig_topology_of(root, &two, &t);
    CHECK(t.cpus == 2 && t.big == 2 && !t.mixed, "%d processors, %d big, mixed %d", t.cpus, t.big, t.mixed);
    qig_topology_of(root, &none, &t);
    CHECK(t.cpus == 1 && t.big == 1 && !t.mixed, "of no processor: %d, %d, %d", t.cpus, t.big, t.mixed);
    remove_tree(root);
    end_case();
}

/* --- phases for a part of a pool -------------------------------------------------------------------------------------------------------- */

enum { THREADS = 4 };
static const qig_topology alike = {.cpus = THREADS, .big = THREADS};

typedef struct {
    int meet, came, done[64], thread[64];
    long id[THREADS];
    cpu_set_t runs_on[THREADS];
} phase_case;

/* Notes who did the item; where all are to meet, waits until as many threads hold one. */
static void note_item(void *arg, int item, int thread) {
    phase_case *c = arg;
    if (c->meet) {
        c->id[thread] = syscall(SYS_gettid);
        sched_getaffinity(0, sizeof c->runs_on[thread], &c->runs_on[thread]);
        __atomic_fetch_add(&c->came, 1, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&c->came, __ATOMIC_SEQ_CST) < c->meet) sched_yield();
    }
    c->done[item]++;
    c->thread[item] = thread;
}

/* A phase in which each of n threads takes an item. */
static void meet(qig_pool *pool, int n, phase_case *c) {
    *c = (phase_case){.meet = n};
    qig_pool_run(pool, n, note_item, c, n);
}

/* How often a thread of this process has gone to sleep; -1: it is awake, or nothing is known of it. */
static long sleeps(long id) {
    char path[64], line[128], state = 0;
    long n = -1;
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", id);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "State: %c", &state) != 1 && sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1) break;
    if (f) fclose(f);
    return state == 'S' ? n : -1;
}

/* Phases for n threads until the others have slept through ten in a row, up to ten seconds; how often they had gone to sleep by then. */
static void leave_out(qig_pool *pool, int n, const phase_case *all, long before[THREADS]) {
    phase_case c = {0};
    for (int still = 0, i = 0; still < 10 && i < 10000; i++, usleep(1000)) {
        int same = 1;
        qig_pool_run(pool, n, note_item, &c, 8);
        for (int k = n; k < THREADS; k++) {
            const long now = sleeps(all->id[k]);
            same &= now > 0 && now == before[k];
            before[k] = now;
        }
        still = same ? still + 1 : 0;
    }
}

static void test_widths(void) {
    current = "pool, widths";
    qig_pool *pool = qig_pool_new(THREADS, &alike);
    phase_case c, all;
    begin_case();
    for (int run = 0; pool && run < 400; run++) {
        const int n = rng_int(1, THREADS), items = rng_int(0, 64);
        c = (phase_case){0};
        qig_pool_run(pool, n, note_item, &c, items);
        for (int i = 0; i < 64; i++) CHECK(c.done[i] == (i < items) && c.thread[i] < n, "%d of %d threads, item %d: done %d times, by %d", n, THREADS, i, c.done[i], c.thread[i]);
        if (run % 100 == 99) usleep(5000); /* all sleep now */
    }
    end_case();
    for (int n = 1; pool && n <= THREADS; n++) { /* they all take part, whatever was before */
        begin_case();
        for (int before = 1; before <= THREADS; before++) {
            meet(pool, before, &all);
            meet(pool, n, &all);
            for (int i = 0; i < n; i++) CHECK(all.done[i] == 1 && all.id[i] > 0, "%d threads after %d: item %d was not done once", n, before, i);
        }
        end_case();
    }
    begin_case(); /* who is left out sleeps through */
    meet(pool, THREADS, &all);
    for (int n = 2; pool && n < THREADS; n++) {
        long before[THREADS] = {0};
        leave_out(pool, n, &all, before);
        for (int i = 0; i < 200; i++) {
            c = (phase_case){0};
            qig_pool_run(pool, n, note_item, &c, 8);
            if (i % 50 == 0) usleep(5000); /* those that take part sleep too and are woken */
        }
        for (int i = n; i < THREADS; i++) CHECK(before[i] > 0 && sleeps(all.id[i]) == before[i], "phases for %d: thread %d was woken: %ld, then %ld", n, i, before[i], sleeps(all.id[i]));
    }
    qig_pool_free(pool);
    end_case();
}

/* --- pinned threads ------------------------------------------------------------------------------------------------------------------------ */

static void test_pinning(void) {
    current = "pool, pinned";
    cpu_set_t mine, after;
    if (sched_getaffinity(0, sizeof mine, &mine) != 0) exit(1);
    int first = 0;
    while (!CPU_ISSET((unsigned)first, &mine)) first++;
    for (int mixed = 0; mixed < 2; mixed++) {
        begin_case(); /* as if the first processor were a big one, with a second one on another machine */
        qig_topology machine = {.cpus = CPU_COUNT(&mine), .big = 2, .mixed = mixed};
        qig_cpu_add(&machine.set, first);
        qig_pool *pool = qig_pool_new(THREADS, &machine);
        phase_case all;
        if (pool) meet(pool, THREADS, &all);
        CHECK(pool != NULL, "no pool");
        for (int i = 0; pool && i < THREADS; i++) {
            const int pinned = mixed && i == 1;
            CHECK(pinned ? CPU_COUNT(&all.runs_on[i]) == 1 && CPU_ISSET((unsigned)first, &all.runs_on[i]) : CPU_EQUAL(&all.runs_on[i], &mine), "mixed %d: thread %d may run on %d",
                  mixed, i, CPU_COUNT(&all.runs_on[i]));
        }
        qig_pool_free(pool);
        CHECK(sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(&after, &mine), "the caller was moved");
        end_case();
    }
}

/* --- counts by trial ---------------------------------------------------------------------------------------------------------------------- */

typedef struct {
    double block;     /* seconds of a block on one thread */
    double saturated; /* threads that help */
    double harm;      /* share by which each one beyond that slows it down */
    double noise;     /* blocks take up to this share longer, one in fifty twice as long */
    double trend;     /* share by which a block takes longer than the one before it */
    int layers;
} slow_machine;

static double block_seconds(const slow_machine *m, int threads) {
    const double over = threads > m->saturated ? threads - m->saturated : 0;
    return m->block / (threads < m->saturated ? threads : m->saturated) * (1 + m->harm * over);
}

static int best_count(const slow_machine *m, int most) {
    int best = 1;
    for (int c = 2; c <= most; c++)
        if (block_seconds(m, c) < block_seconds(m, best)) best = c;
    return best;
}

/* Runs passes until the count stands; the most turns by which all of them ever were behind the same passes without a trial, its 5% and 5 ms. */
static double run_trial(const slow_machine *m, qig_thread_count *t, int *passes, int most_passes) {
    const double block = block_seconds(m, t->count);
    double took = 0, plain = 0, worst = 0, drift = 1;
    for (*passes = 0; *passes < most_passes && !qig_thread_count_stands(t); ++*passes) {
        for (int l = 0; l < m->layers; l++) {
            const int c = qig_thread_count_now(t);
            const double work = 1 + (l % 3 == 1), noise = (1 + m->noise * 0.5 * (1 + (double)rng_float())) * (m->noise > 0 && rng_int(0, 49) == 0 ? 2 : 1);
            const double now = drift * work * noise;
            took += now * block_seconds(m, c);
            plain += now * block;
            drift *= 1 + m->trend;
            qig_thread_count_took(t, now * block_seconds(m, c), work);
        }
        const double behind = (took - 1.05 * plain - 0.005) / (drift * block + 0.005);
        if (behind > worst) worst = behind;
    }
    return worst;
}

static void test_trials(void) {
    current = "trial";
    const slow_machine machines[] = {
        {4e-3, 2, 0.1, 0, 0, 10},      /* two threads decode faster than four */
        {4e-3, 2, 0.1, 0.2, 0, 10},    /* the same among others */
        {4e-3, 1, 0.3, 0.1, 0, 10},    /* one does */
        {4e-3, 8, 0, 0.1, 0, 12},      /* all of them help */
        {4e-3, 4, 0.2, 0.1, 0, 12},    /* as many as to begin with */
        {4e-3, 6, 0.2, 0, 0, 30},      /* between */
        {4e-3, 3, 0.2, 0.1, 1e-4, 20}, /* each block a little slower than the one before */
        {0.1, 4, 0.3, 0.1, 0, 20},     /* long blocks: one of them is enough */
        {2e-5, 1, 0.2, 0.1, 0, 6},     /* hardly any work */
    };
    for (size_t k = 0; k < sizeof machines / sizeof *machines; k++)
        for (int most = 1; most <= 8; most++) {
            const slow_machine *m = &machines[k];
            qig_thread_count t;
            int passes;
            begin_case();
            qig_thread_count_begin(&t, most < 4 ? most : 4, most);
            const int start = t.count, best = best_count(m, most);
            const double behind = run_trial(m, &t, &passes, 3000);
            CHECK(qig_thread_count_stands(&t), "machine %zu, up to %d threads: no count after %d passes", k, most, passes);
            CHECK(behind <= 8, "machine %zu, up to %d threads: %.1f turns behind", k, most, behind);
            CHECK(t.count >= 1 && t.count <= most && (most > 1 || passes == 0), "machine %zu, up to %d threads: %d", k, most, t.count);
            const double near = m->noise > 0 ? 1.15 : 1.06; /* what 5% and the noise leave open */
            CHECK(block_seconds(m, t.count) <= near * block_seconds(m, best), "machine %zu, up to %d threads: %d from %d, best is %d", k, most, t.count, start, best);
            end_case();
        }
    begin_case(); /* all alike: the count stays where it was */
    const slow_machine flat = {4e-3, 1, 0, 0, 0, 10}, close = {4e-3, 2, 0.02, 0, 0, 10};
    qig_thread_count t;
    int passes;
    qig_thread_count_begin(&t, 4, 8);
    run_trial(&flat, &t, &passes, 3000);
    CHECK(t.count == 4, "alike: %d", t.count);
    qig_thread_count_begin(&t, 4, 8);
    run_trial(&close, &t, &passes, 3000);
    CHECK(t.count == 4, "4%% slower is no reason: %d", t.count);
    end_case();
    begin_case(); /* half a second at most, whatever comes */
    const slow_machine huge = {4, 2, 0.1, 0, 0, 40};
    qig_thread_count_begin(&t, 4, 4);
    run_trial(&huge, &t, &passes, 3000);
    CHECK(qig_thread_count_stands(&t) && t.tried < 0.5 + 2 * block_seconds(&huge, 2) && t.count == 4, "tried for %.2f s", t.tried);
    qig_thread_count_begin(&t, 4, 4);
    qig_thread_count_took(&t, 0, 1);
    qig_thread_count_took(&t, 1, 0);
    CHECK(t.count == 4 && !(t.total > 0), "blocks without time or work");
    end_case();
    begin_case(); /* a busy machine: two threads are mostly faster than one, but one of them has to wait for the processor now and then */
    qig_thread_count_begin(&t, 2, 2);
    for (passes = 0; passes < 100000 && !qig_thread_count_stands(&t); passes++) {
        const int stalls = qig_thread_count_now(&t) == 2 && rng_int(0, 39) == 0;
        qig_thread_count_took(&t, stalls ? 4e-3 : qig_thread_count_now(&t) == 2 ? 6e-5 : 1e-4, 1);
    }
    CHECK(t.count == 1 && passes < 20000, "busy: %d threads after %d blocks", t.count, passes);
    end_case();
    begin_case(); /* one long interruption decides nothing */
    qig_thread_count_begin(&t, 2, 2);
    for (passes = 0; passes < 100000 && !qig_thread_count_stands(&t); passes++)
        qig_thread_count_took(&t, passes == 300 ? 0.2 : qig_thread_count_now(&t) == 2 ? 6e-5 : 6.2e-5, 1);
    CHECK(t.count == 2, "interrupted: %d threads after %d blocks", t.count, passes);
    end_case();
}

/* --- sessions ------------------------------------------------------------------------------------------------------------------------------- */

static void test_sessions(void) {
    current = "session";
    tiny_file f;
    qig_model *m = random_tiny(&f);
    char err[256];
    int32_t ids[48];
    float want[TINY_VOCAB] = {0};
    for (int i = 0; i < 48; i++) ids[i] = rng_int(0, TINY_VOCAB - 1);
    for (int decode = 0; decode <= 4; decode++)
        for (int batch = 0; batch <= 4; batch++) {
            begin_case();
            qig_session *s = NULL;
            const qig_session_params p = {.n_threads = decode, .n_threads_batch = batch, .n_batch = 24};
            int rc = qig_session_new(m, &p, &s, err, sizeof err);
            CHECK(rc == QIG_OK, "%d, %d threads: %s", decode, batch, err);
            if (rc) exit(1);
            const int n = qig_session_n_threads(s), n_batch = qig_session_n_threads_batch(s);
            CHECK(decode ? n == decode : n >= 1 && n <= 4, "%d threads asked for, %d told", decode, n);
            CHECK(batch ? n_batch == batch : decode ? n_batch == decode : n_batch >= 1 && n_batch <= 8, "%d, %d threads asked for, %d told", decode, batch, n_batch);
            for (int at = 0; at < 48;) { /* prompts and single tokens by turns */
                const int k = at % 2 ? 23 : 1;
                CHECK(qig_session_eval(s, ids + at, at + k <= 48 ? k : 48 - at, NULL, err, sizeof err) == QIG_OK, "eval: %s", err);
                at += k;
            }
            if (!decode && !batch) memcpy(want, qig_session_logits(s), sizeof want);
            CHECK(isfinite(want[0]) && want[0] != want[1], "these logits say nothing");
            CHECK(memcmp(want, qig_session_logits(s), sizeof want) == 0, "%d, %d threads: other logits", decode, batch);
            qig_session_free(s);
            end_case();
        }
    begin_case(); /* what one session settles on, others of the model begin with */
    qig_session *first = NULL, *later = NULL;
    const qig_session_params open = {.n_threads_batch = 2}, given = {.n_threads = 3};
    if (qig_session_new(m, &open, &first, err, sizeof err) || qig_session_new(m, &open, &later, err, sizeof err)) exit(1);
    atomic_store(&m->threads[0], 0); /* sessions before this one may have come so far */
    qig_thread_count_begin(&first->threads[0], 2, 1);
    /* Where other work takes the processor from a rival for a tenth of a second, its next turn waits for seconds: the rule bounds its share of the time. */
    for (const double begun = qig_seconds(); qig_seconds() < begun + 200 && !qig_thread_count_stands(&first->threads[0]);) {
        CHECK(qig_session_eval(first, ids, 1, NULL, err, sizeof err) == QIG_OK && qig_session_rollback(first, 0, err, sizeof err) == QIG_OK, "eval: %s", err);
        CHECK(qig_thread_count_stands(&first->threads[0]) || atomic_load(&m->threads[0]) == 0, "told before it was settled");
    }
    const int settled = qig_session_n_threads(first);
    CHECK(qig_thread_count_stands(&first->threads[0]) && (settled == 1 || settled == 2), "%d threads, not settled", settled);
    CHECK(atomic_load(&m->threads[0]) == settled && atomic_load(&m->threads[1]) == 0, "told %d and %d", atomic_load(&m->threads[0]), atomic_load(&m->threads[1]));
    qig_thread_count_begin(&later->threads[0], 3 - settled, 8);
    CHECK(qig_session_eval(later, ids, 1, NULL, err, sizeof err) == QIG_OK && qig_session_n_threads(later) == settled, "a later session has %d threads", qig_session_n_threads(later));
    qig_session_free(later);
    atomic_store(&m->threads[0], 200); /* more than this session has */
    if (qig_session_new(m, &open, &later, err, sizeof err)) exit(1);
    CHECK(qig_session_eval(later, ids, 1, NULL, err, sizeof err) == QIG_OK, "eval: %s", err);
    const int held = qig_session_n_threads(later);
    CHECK(held == later->most_threads || qig_thread_count_stands(&later->threads[0]), "%d threads of %d", held, (int)later->most_threads);
    qig_session_free(later);
    if (qig_session_new(m, &given, &later, err, sizeof err)) exit(1);
    CHECK(qig_session_eval(later, ids, 1, NULL, err, sizeof err) == QIG_OK && qig_session_n_threads(later) == 3, "a count that was given became %d", qig_session_n_threads(later));
    qig_session_free(later);
    qig_session_free(first);
    end_case();
    const qig_session_params bad[] = {{.n_threads = -1}, {.n_threads = 257}, {.n_threads_batch = -1}, {.n_threads_batch = 257}};
    for (int i = 0; i < 4; i++) {
        begin_case();
        qig_session *s = NULL;
        char said[64];
        snprintf(said, sizeof said, "n_threads%s = %d must be 1 to 256, or 0 to choose", i < 2 ? "" : "_batch", i % 2 ? 257 : -1);
        CHECK(qig_session_new(m, &bad[i], &s, err, sizeof err) == QIG_ERR_ARG && !s && strcmp(err, said) == 0, "%s", err);
        end_case();
    }
    qig_model_close(m);
    free(f.p);
}

int main(int argc, char **argv) {
    rng_state = argc > 1 ? strtoull(argv[1], NULL, 10) : 21;
    printf("test_threads: seed %llu\n", (unsigned long long)rng_state);
    test_topology();
    test_widths();
    test_pinning();
    test_trials();
    test_sessions();
    printf("test_threads: %ld cases, %ld failed\n", cases_run, cases_failed);
    return cases_failed || cases_run < 110;
}
