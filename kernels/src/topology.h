/* topology.h - how many processors this process may use, which of them are big, and their name. */
#ifndef QIG_TOPOLOGY_H
#define QIG_TOPOLOGY_H

#include <stddef.h>

int qig_cpu_count(void);     /* processors this process may run on, at least 1 */
int qig_cpu_big_cores(void); /* whole cores among them (one a hyper-threading pair) that are not of a small kind, at least 1 */
int qig_default_threads(void); /* big cores, at most 4: decode is bound by memory, which few cores saturate */
void qig_cpu_name(char *buf, size_t len); /* "Cortex-A72", "Intel(R) ...", "unknown": always terminated */

#endif
