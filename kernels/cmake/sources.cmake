# Sources by the flags they are compiled with, relative to kernels/. Every list is compiled with -ffp-contract=off.
# QIG_SRC_OPS_AVX2 and QIG_SRC_OPS_AVX512_VNNI on x86_64 only, QIG_SRC_OPS_NEON on aarch64 only: kernels.inc names their kernels there.
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
  src/ops/ref/sum_rows.c
  src/ops/ref/vector.c)

set(QIG_SRC_OPS_AVX2
  src/ops/avx2/logits.c
  src/ops/avx2/matmul_float.c
  src/ops/avx2/matmul_q4_0.c
  src/ops/avx2/matmul_q8_0.c
  src/ops/avx2/mix.c
  src/ops/avx2/overlap.c
  src/ops/avx2/quantize.c
  src/ops/avx2/score.c
  src/ops/avx2/sift.c
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
  src/ops/neon/matmul_q4_0.c
  src/ops/neon/matmul_q8_0.c
  src/ops/neon/mix.c
  src/ops/neon/overlap.c
  src/ops/neon/quantize.c
  src/ops/neon/score.c
  src/ops/neon/sift.c
  src/ops/neon/sum_rows.c
  src/ops/neon/vector.c)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(QIG_SRC_OPS_SIMD ${QIG_SRC_OPS_AVX2} ${QIG_SRC_OPS_AVX512_VNNI})
  set_source_files_properties(${QIG_SRC_OPS_AVX2} PROPERTIES COMPILE_OPTIONS "${QIG_FLAGS_AVX2}")
  set_source_files_properties(${QIG_SRC_OPS_AVX512_VNNI} PROPERTIES COMPILE_OPTIONS "${QIG_FLAGS_AVX512_VNNI}")
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
  set(QIG_SRC_OPS_SIMD ${QIG_SRC_OPS_NEON})
else()
  set(QIG_SRC_OPS_SIMD)
endif()
set(QIG_SRC_KERNELS ${QIG_SRC_COMMON} ${QIG_SRC_OPS_REF} ${QIG_SRC_OPS_SIMD})
