/* topology.c - processor counts and names from Linux's files; sensible answers where there are none. */
#include "topology.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first number in a one-line file of a processor, or -1. */
static long read_number(const char *root, int cpu, const char *file) {
    char path[512];
    long value = -1;
    if (snprintf(path, sizeof path, "%s/cpu%d/%s", root, cpu, file) >= (int)sizeof path) return -1;
    FILE *f = fopen(path, "r");
    if (!f) return -1;
    if (fscanf(f, "%ld", &value) != 1) value = -1;
    fclose(f);
    return value;
}

/* Relative strength: the kernel's capacity where it has one (ARM), else the highest clock; -1 unknown. */
static long strength(const char *root, int cpu) {
    long s = read_number(root, cpu, "cpu_capacity");
    return s > 0 ? s : read_number(root, cpu, "cpufreq/cpuinfo_max_freq");
}

void qig_topology_of(const char *root, const qig_cpu_set *allowed, qig_topology *t) {
    static const qig_topology nothing;
    long strengths[QIG_MAX_CPUS], best = -1;
    *t = nothing;
    for (int cpu = 0; cpu < QIG_MAX_CPUS; cpu++) {
        if (!qig_cpu_in(allowed, cpu)) continue;
        t->cpus++;
        strengths[cpu] = strength(root, cpu);
        if (strengths[cpu] > best) best = strengths[cpu];
    }
    for (int cpu = 0; cpu < QIG_MAX_CPUS; cpu++) {
        if (!qig_cpu_in(allowed, cpu)) continue;
        /* the small cores of a mixed chip run at well under 3/4; one that says nothing beside others that do is none to count on */
        if (best > 0 && (double)strengths[cpu] * 4 < (double)best * 3) {
            t->mixed = 1;
            continue;
        }
        qig_cpu_add(&t->set, cpu);
        const long first = read_number(root, cpu, "topology/thread_siblings_list");
        t->big += first < 0 || first >= QIG_MAX_CPUS || first == cpu || !qig_cpu_in(allowed, (int)first);
    }
    if (t->cpus < 1) t->cpus = 1;
    if (t->big < 1) t->big = 1;
}

void qig_topology_read(qig_topology *t) {
#if defined(__linux__)
    cpu_set_t mine;
    if (sched_getaffinity(0, sizeof mine, &mine) == 0 && CPU_COUNT(&mine) > 0) {
        qig_cpu_set allowed = { { 0 } };
        for (int cpu = 0; cpu < QIG_MAX_CPUS && cpu < CPU_SETSIZE; cpu++)
            if (CPU_ISSET((unsigned)cpu, &mine)) qig_cpu_add(&allowed, cpu);
        qig_topology_of("/sys/devices/system/cpu", &allowed, t);
        return;
    }
#endif
    const long n = sysconf(_SC_NPROCESSORS_ONLN);
    *t = (qig_topology){ .cpus = n > 0 ? (int)n : 1, .big = n > 0 ? (int)n : 1 };
}

void qig_topology_pin(const qig_topology *t) {
#if defined(__linux__)
    if (!t->mixed) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < QIG_MAX_CPUS && cpu < CPU_SETSIZE; cpu++)
        if (qig_cpu_in(&t->set, cpu)) CPU_SET((unsigned)cpu, &set);
    sched_setaffinity(0, sizeof set, &set); /* 0: this thread */
#else
    (void)t;
#endif
}

#if defined(__aarch64__)
/* Part numbers of ARM Ltd. (implementer 0x41) that boards and phones of interest carry. */
static const char *arm_part(unsigned long part) {
    static const struct { unsigned part; const char *name; } parts[] = {
        { 0xd03, "Cortex-A53" }, { 0xd04, "Cortex-A35" }, { 0xd05, "Cortex-A55" }, { 0xd07, "Cortex-A57" }, { 0xd08, "Cortex-A72" },
        { 0xd09, "Cortex-A73" }, { 0xd0a, "Cortex-A75" }, { 0xd0b, "Cortex-A76" }, { 0xd0c, "Neoverse-N1" }, { 0xd0d, "Cortex-A77" },
        { 0xd40, "Neoverse-V1" }, { 0xd41, "Cortex-A78" }, { 0xd44, "Cortex-X1" }, { 0xd46, "Cortex-A510" }, { 0xd47, "Cortex-A710" },
        { 0xd48, "Cortex-X2" }, { 0xd49, "Neoverse-N2" }, { 0xd4d, "Cortex-A715" }, { 0xd4e, "Cortex-X3" }, { 0xd4f, "Neoverse-V2" },
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i].part == part) return parts[i].name;
    return NULL;
}
#endif

void qig_cpu_name(char *buf, size_t len) {
    if (len == 0) return;
    snprintf(buf, len, "unknown");
    FILE *f = fopen("/proc/cpuinfo", "r");
    if (!f) return;
    char line[256];
    while (fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (!colon) continue;
        char *value = colon + 1 + strspn(colon + 1, " \t");
        value[strcspn(value, "\n")] = '\0';
        if (strncmp(line, "model name", 10) == 0) {
            snprintf(buf, len, "%.200s", value);
            break;
        }
#if defined(__aarch64__)
        /* a mixed chip lists its small cores first as a rule: the last known part wins */
        if (strncmp(line, "CPU part", 8) == 0) {
            const char *name = arm_part(strtoul(value, NULL, 16));
            if (name) snprintf(buf, len, "%s", name);
        }
#endif
    }
    fclose(f);
}
