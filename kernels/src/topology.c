/* topology.c - processor counts and names from Linux's files; sensible answers where there are none. */
#include "topology.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__linux__)
static int allowed(int cpu, const cpu_set_t *set) { return cpu < CPU_SETSIZE && CPU_ISSET((unsigned)cpu, set); }

/* The first number in a one-line file of a processor, or -1. */
static long read_number(int cpu, const char *file) {
    char path[128];
    long value = -1;
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/%s", cpu, file);
    FILE *f = fopen(path, "r");
    if (!f) return -1;
    if (fscanf(f, "%ld", &value) != 1) value = -1;
    fclose(f);
    return value;
}

/* Relative strength: the kernel's capacity where it has one (ARM), else the highest clock; -1 unknown. */
static long strength(int cpu) {
    long s = read_number(cpu, "cpu_capacity");
    return s > 0 ? s : read_number(cpu, "cpufreq/cpuinfo_max_freq");
}
#endif

int qig_cpu_count(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

int qig_cpu_big_cores(void) {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        long best = -1;
        int n = 0;
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
            if (allowed(cpu, &set)) {
                long s = strength(cpu);
                if (s > best) best = s;
            }
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!allowed(cpu, &set)) continue;
            long first = read_number(cpu, "topology/thread_siblings_list");
            if (first >= 0 && first != cpu && allowed((int)first, &set)) continue;
            if (best > 0 && strength(cpu) * 4 < best * 3) continue; /* the small cores of a mixed chip run at well under 3/4 */
            n++;
        }
        if (n > 0) return n;
    }
#endif
    return qig_cpu_count();
}

int qig_default_threads(void) {
    int big = qig_cpu_big_cores();
    return big < 4 ? big : 4;
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
