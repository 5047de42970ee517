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
    const unsigned long long saved = read_xcr0();
    if ((saved & 6u) != 6u) return 0; /* the system saves xmm and ymm */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & 1u << 5)) return 0;
    /* F, DQ, BW, VL and, in ecx, VNNI: an AVX-512 of the first generation has no VNNI. The system must save opmasks and both parts of zmm as well:
     * a kernel or hypervisor may leave them out while cpuid still tells of the instructions. */
    const unsigned avx512 = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31, vnni = 1u << 11;
    const int wide = (saved & 0xe0u) == 0xe0u && (b & avx512) == avx512 && c & vnni;
    return QIG_CPU_AVX2 | (wide ? QIG_CPU_AVX512_VNNI : 0u);
}

#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>

/* The kernel's words for what every core of this machine has, by their bits: C libraries older than the instructions do not name them. */
unsigned qig_cpu_features(void) {
    const unsigned long dotprod = 1ul << 20 /* of AT_HWCAP */, i8mm = 1ul << 13 /* of AT_HWCAP2 */;
    return QIG_CPU_NEON | (getauxval(AT_HWCAP) & dotprod ? QIG_CPU_NEON_DOTPROD : 0u) | (getauxval(AT_HWCAP2) & i8mm ? QIG_CPU_NEON_I8MM : 0u);
}

#elif defined(__aarch64__)

unsigned qig_cpu_features(void) { return QIG_CPU_NEON; }

#else

unsigned qig_cpu_features(void) { return 0; }

#endif
