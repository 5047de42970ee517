#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>

/* XCR0 by its bytes: the intrinsic would need the whole file compiled with -mxsave. */
static unsigned long long read_xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((unsigned long long)high << 32) | low;
}

unsigned qig_cpu_features(void) {
    const unsigned fma = 1u << 12, osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29, leaf1 = fma | osxsave | avx | f16c;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & leaf1) != leaf1) return 0;
    if ((read_xcr0() & 6u) != 6u) return 0; /* the system saves xmm and ymm */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    return b & (1u << 5) ? QIG_CPU_AVX2 : 0u;
}

#elif defined(__aarch64__)

unsigned qig_cpu_features(void) { return QIG_CPU_NEON; }

#else

unsigned qig_cpu_features(void) { return 0; }

#endif
