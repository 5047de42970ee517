/* cpu.h - which instruction sets this processor and operating system run. */
#ifndef QIG_CPU_H
#define QIG_CPU_H

enum {
    QIG_CPU_AVX2 = 1u << 0,         /* AVX2, FMA and F16C, with the upper register halves saved by the operating system */
    QIG_CPU_NEON = 1u << 1,         /* armv8.0 Advanced SIMD: part of every 64-bit ARM system */
    QIG_CPU_AVX512_VNNI = 1u << 2,  /* AVX-512 F, BW, VL, DQ and VNNI, with the mask and zmm registers saved; AVX2 is a bit of its own */
    QIG_CPU_NEON_DOTPROD = 1u << 3, /* sdot, udot: armv8.2-a's optional part, armv8.4-a */
    QIG_CPU_NEON_I8MM = 1u << 4     /* smmla, ummla, usdot: armv8.6-a; a bit of its own, like every one above NEON */
};

/* The QIG_CPU_* bits that hold here. */
unsigned qig_cpu_features(void);

#endif
