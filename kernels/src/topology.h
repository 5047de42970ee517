/* topology.h - which processors this process may use, which of them are big, and their name. */
#ifndef QIG_TOPOLOGY_H
#define QIG_TOPOLOGY_H

#include <stddef.h>
#include <stdint.h>

enum { QIG_MAX_CPUS = 1024 };

typedef struct { uint64_t bits[QIG_MAX_CPUS / 64]; } qig_cpu_set;

static inline int qig_cpu_in(const qig_cpu_set *s, int cpu) { return (int)(s->bits[cpu / 64] >> cpu % 64 & 1); }
static inline void qig_cpu_add(qig_cpu_set *s, int cpu) { s->bits[cpu / 64] |= (uint64_t)1 << cpu % 64; }

typedef struct {
    int cpus;        /* processors that may be used, at least 1 */
    int big;         /* whole cores among them (one a hyper-threading pair) that are not of a small kind, at least 1 */
    int mixed;       /* some of them are of a small kind */
    qig_cpu_set set; /* mixed: the processors that are not */
} qig_topology;

/* Of this process: what it may run on now. */
void qig_topology_read(qig_topology *t);
/* From the files below `root` (those of Linux lie in /sys/devices/system/cpu), of the processors in `allowed`; a file that is not there says nothing. */
void qig_topology_of(const char *root, const qig_cpu_set *allowed, qig_topology *t);
/* Lets the calling thread run on the big cores alone, where the machine is mixed; that the system may refuse it does no harm. */
void qig_topology_pin(const qig_topology *t);

enum { QIG_DEFAULT_DECODE = 4, QIG_MOST_CHOSEN = 8 }; /* threads that are taken unasked, where there are as many big cores: for decode; at all */
static inline int qig_topology_threads(const qig_topology *t, int most) { return t->big < most ? t->big : most; }

void qig_cpu_name(char *buf, size_t len); /* "Cortex-A72", "Intel(R) ...", "unknown": always terminated */

#endif
