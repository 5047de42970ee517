# Sources by the flags they are compiled with, relative to kernels/. Every list is compiled with -ffp-contract=off.
# QIG_SRC_OPS_AVX2 and QIG_SRC_OPS_AVX512_VNNI on x86_64 only, QIG_SRC_OPS_NEON* on aarch64 only: kernels.inc names their kernels there.
# QIG_FLAGS_<set>: what gcc and clang take. QIG_ZIG_FLAGS_<set>, where it is set: what zig takes instead, which has no -march for ARM; its -mcpu would replace
# the processor that a program is built for.
set(QIG_SRC_COMMON
  src/cpu.c
  src/ops/common.c
  src/ops/sketch.c
  src/ops/table.c)

set(QIG_SRC_OPS_REF
  src/ops/ref/logits.c
  src/ops/ref/matmul.c
  src/ops/ref/mix.c
  src/ops/ref/overlap.c
  src/ops/ref/quantize.c
  src/ops/ref/score.c
  src/ops/ref/sift.c
  src/ops/ref/softmax.c
  src/ops/ref/sum_rows.c
  src/ops/ref/vector.c)

set(QIG_SRC_OPS_AVX2
  src/ops/avx2/logits.c
  src/ops/avx2/matmul_float.c
  src/ops/avx2/matmul_q4_0.c
  src/ops/avx2/matmul_q4_1.c
  src/ops/avx2/matmul_q6_k.c
  src/ops/avx2/matmul_q8_0.c
  src/ops/avx2/mix.c
  src/ops/avx2/overlap.c
  src/ops/avx2/quantize.c
  src/ops/avx2/score.c
  src/ops/avx2/sift.c
  src/ops/avx2/softmax.c
  src/ops/avx2/sum_rows.c
  src/ops/avx2/vector.c)
set(QIG_FLAGS_AVX2 -mavx2 -mfma -mf16c)

set(QIG_SRC_OPS_AVX512_VNNI
  src/ops/avx512_vnni/matmul_quantized.c
  src/ops/avx512_vnni/mix.c
  src/ops/avx512_vnni/overlap.c
  src/ops/avx512_vnni/score.c
  src/ops/avx512_vnni/sift.c)
set(QIG_FLAGS_AVX512_VNNI -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c)

set(QIG_SRC_OPS_NEON
  src/ops/neon/logits.c
  src/ops/neon/matmul_float.c
  src/ops/neon/matmul_quantized.c
  src/ops/neon/matmul_q4_1.c
  src/ops/neon/matmul_q6_k.c
  src/ops/neon/mix.c
  src/ops/neon/overlap.c
  src/ops/neon/quantize.c
  src/ops/neon/score.c
  src/ops/neon/sift.c
  src/ops/neon/softmax.c
  src/ops/neon/sum_rows.c
  src/ops/neon/vector.c)

set(QIG_SRC_OPS_NEON_DOTPROD
  src/ops/neon_dotprod/matmul_quantized.c
  src/ops/neon_dotprod/overlap.c)
set(QIG_FLAGS_NEON_DOTPROD -march=armv8.2-a+dotprod)
set(QIG_ZIG_FLAGS_NEON_DOTPROD -Xclang -target-feature -Xclang +dotprod)

set(QIG_SRC_OPS_NEON_I8MM
  src/ops/neon_i8mm/matmul_quantized.c)
set(QIG_FLAGS_NEON_I8MM -march=armv8.2-a+dotprod+i8mm)
set(QIG_ZIG_FLAGS_NEON_I8MM -Xclang -target-feature -Xclang +dotprod -Xclang -target-feature -Xclang +i8mm)
