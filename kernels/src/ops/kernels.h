/* kernels.h - prototypes of every kernel in kernels.inc. */
#ifndef QIG_OPS_KERNELS_H
#define QIG_OPS_KERNELS_H

#include "ops.h"

#define QIG_KERNEL(op, contract, isa) qig_##contract##_fn qig_##op##__##isa;
#include "../../kernels.inc"
#undef QIG_KERNEL

#endif
