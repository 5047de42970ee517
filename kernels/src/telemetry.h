/* telemetry.h - the formulas of a session's records (docs/formats.md, Telemetry) and of the gate they report on. */
#ifndef QIG_TELEMETRY_H
#define QIG_TELEMETRY_H

#include <stdint.h>

#include "model.h"

/* Logits are summed up in parts of this many, whoever sums them: the result does not depend on the number of threads. */
enum { QIG_LOGIT_PART = 2048 };

typedef struct { double lse, purity; } qig_logit_stats;  /* ln sum exp l; sum p^2 */

/* part = the sums over n logits, n <= QIG_LOGIT_PART */
qig_logit_stats qig_logits_combine(const qig_logit_part *parts, int n_parts);

/* sum over n <= QIG_LOGIT_PART values of (sqrt p - sqrt p')^2, of two distributions with their ln sum exp */
double qig_logits_moved(const float *now, double now_lse, const float *before, double before_lse, int n);

float qig_coupling(const qig_model *m, int64_t context); /* r(L) = clamp(1 + beta ln(L / ref), min, max) */
/* The distance, in the metric's own unit, at which the coupling 1 - h((3 + o) / 4) falls to threshold; INFINITY for 0 (off). */
float qig_gate_distance(float threshold, qig_metric metric);
double qig_cosine(const float *a, const float *b, int n); /* in [-1, 1], 1 where one of them is zero */
double qig_angle(const float *a, const float *b, int n);  /* radians, 0 where one of them is zero */
/* From the purity of the next distribution and the running mean of surprise; calibrated where the model is. */
float qig_confidence(const qig_model *m, double purity, float mean_surprise);
float qig_surprise(double log_p);                         /* sqrt(1 - sqrt p) */

#endif
