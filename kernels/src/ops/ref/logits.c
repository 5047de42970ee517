/* logits.c - one part of a row of logits: its maximum and the sums of logits.h. The oracle, and the same floats as every other set. */
#include "../kernels.h"
#include "../logits.h"

void qig_logit_part__ref(const float *logits, int n, qig_logit_part *part) { qig_sum_logit_part(logits, n, part); }
