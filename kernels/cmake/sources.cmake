# Sources by the flags they are compiled with, relative to kernels/. Every list is compiled with -ffp-contract=off.
# QIG_SRC_OPS_AVX2 on x86_64 only, QIG_SRC_OPS_NEON on aarch64 only: kernels.inc names their kernels there.
set(QIG_SRC_COMMON
  src/cpu.c
  src/ops/common.c
  src/ops/table.c)

set(QIG_SRC_OPS_REF
  src/ops/ref/matmul.c
  src/ops/ref/mix.c
  src/ops/ref/overlap.c
  src/ops/ref/quantize.c
  src/ops/ref/score.c
  src/ops/ref/vector.c)

set(QIG_SRC_OPS_AVX2)
set(QIG_FLAGS_AVX2 -mavx2 -mfma -mf16c)

set(QIG_SRC_OPS_NEON)
