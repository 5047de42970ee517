/* depth.h - which tokens go on: the decisions of docs/formats.md, Depth, as functions of what was measured. */
#ifndef QIG_DEPTH_H
#define QIG_DEPTH_H

#include <stdint.h>

#include "model.h"

enum { QIG_LINEAR = 0, QIG_GEOMETRIC = 1, QIG_BREAKDOWN = 2 }; /* regimes, as in qig_telemetry */

typedef struct {
    double mean; /* m, the smoothed Phi */
    int32_t regime;
} qig_regime_memory;

qig_regime_memory qig_regime_start(const qig_depth *x); /* before the text */
/* After a token of that Phi (the mean over heads and mandatory blocks). */
qig_regime_memory qig_regime_next(const qig_depth *x, qig_regime_memory before, double phi);
/* Whether a token of that regime goes on after the mandatory blocks; angle: by which the last of them turned it, radians. */
int qig_regime_goes_on(const qig_depth *x, int32_t regime, double angle);

/* Whether the distance of exit e is asked for: its threshold can stop a token, and there is a distribution to compare with. */
int qig_exit_compares(const qig_depth *x, int32_t e);
/* Whether anything of a token's readout at exit e is used: to stop it, to collapse it, or at the next exit. */
int qig_exit_looks(const qig_depth *x, int32_t e);

/* Caches of a session, one a block and one a loop of the integrator: those below the returned number hold every token's key. */
int32_t qig_dense_caches(const qig_model *m);

double qig_sigmoid(double x);

#endif
