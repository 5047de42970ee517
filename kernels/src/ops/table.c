/* table.c - kernel sets from kernels.inc, and which of them this CPU runs. Each set starts from the lower ISAs' kernels; its own lines override them. */
#include "kernels.h"

#include "../cpu.h"

#include <string.h>

/* Overriding an earlier designated initializer is how a set falls back to the next lower ISA. */
#if defined(__clang__)
#pragma clang diagnostic ignored "-Winitializer-overrides"
#elif defined(__GNUC__)
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

#define FIELD(op, isa) .op = qig_##op##__##isa,
#define SKIP(op, isa)

#define QIG_KERNEL(op, contract, isa) TAKE_##isa(op, isa)

#define TAKE_ref FIELD
#define TAKE_avx2 SKIP
#define TAKE_avx512_vnni SKIP
#define TAKE_neon SKIP
#define TAKE_neon_dotprod SKIP
#define TAKE_neon_i8mm SKIP
static const qig_ops set_ref = {.isa = "ref",
#include "../../kernels.inc"
};

#if defined(__x86_64__)
#undef TAKE_avx2
#define TAKE_avx2 FIELD
static const qig_ops set_avx2 = {.isa = "avx2",
#include "../../kernels.inc"
};
#undef TAKE_avx512_vnni
#define TAKE_avx512_vnni FIELD
static const qig_ops set_avx512_vnni = {.isa = "avx512_vnni",
#include "../../kernels.inc"
};
#endif

#if defined(__aarch64__)
#undef TAKE_neon
#define TAKE_neon FIELD
static const qig_ops set_neon = {.isa = "neon",
#include "../../kernels.inc"
};
#undef TAKE_neon_dotprod
#define TAKE_neon_dotprod FIELD
static const qig_ops set_neon_dotprod = {.isa = "neon_dotprod",
#include "../../kernels.inc"
};
#undef TAKE_neon_i8mm
#define TAKE_neon_i8mm FIELD
static const qig_ops set_neon_i8mm = {.isa = "neon_i8mm",
#include "../../kernels.inc"
};
#endif

/* Best first. `list` names the set and all below it: the ladder is a chain, so what a CPU can run is always a tail of it. */
static const struct {
    unsigned needs;
    const qig_ops *ops;
    const char *list;
} ladder[] = {
#if defined(__x86_64__)
    {QIG_CPU_AVX2 | QIG_CPU_AVX512_VNNI, &set_avx512_vnni, "avx512_vnni,avx2,ref"},
    {QIG_CPU_AVX2, &set_avx2, "avx2,ref"},
#endif
#if defined(__aarch64__)
    {QIG_CPU_NEON | QIG_CPU_NEON_DOTPROD | QIG_CPU_NEON_I8MM, &set_neon_i8mm, "neon_i8mm,neon_dotprod,neon,ref"},
    {QIG_CPU_NEON | QIG_CPU_NEON_DOTPROD, &set_neon_dotprod, "neon_dotprod,neon,ref"},
    {QIG_CPU_NEON, &set_neon, "neon,ref"},
#endif
    {0, &set_ref, "ref"},
};

static const size_t n_sets = sizeof ladder / sizeof ladder[0];

/* Index of the best set here; ref needs nothing, so there always is one. */
static size_t best(void) {
    const unsigned features = qig_cpu_features();
    size_t i = 0;
    while ((ladder[i].needs & features) != ladder[i].needs) i++;
    return i;
}

const qig_ops *qig_ops_get(const char *isa) {
    const size_t first = best();
    if (!isa || !strcmp(isa, "auto")) return ladder[first].ops;
    for (size_t i = first; i < n_sets; i++)
        if (!strcmp(isa, ladder[i].ops->isa)) return ladder[i].ops;
    return NULL;
}

const char *qig_ops_list(void) { return ladder[best()].list; }
