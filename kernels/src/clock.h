/* clock.h - seconds since some moment, for measuring how long things take. */
#ifndef QIG_CLOCK_H
#define QIG_CLOCK_H

#include <time.h>

static inline double qig_seconds(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

#endif
