/* test_token_loop.c - drawing and evaluating tokens makes no system call but the pool's futex.
 *
 *     test_token_loop MODEL.gguf ...
 *
 * A child process opens the model and reads a text, then asks the system's kernel to stop it at any other system call (seccomp, all threads) and goes on
 * with the text, drawing as it goes; a rollback is part of it. Where the kernel has no such filter (emulators) the test is skipped (exit code 77, which
 * ctest reports as such); likewise under sanitizers, whose runtimes make calls of their own.
 */
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "qig.h"

enum { PROMPT = 40, TOKENS = 60, N_COUNTS = 6, DONE = 0, FAILED = 1, TRAPPED = 2, NO_FILTER = 77 };

/* Threads for decode and for larger passes; 0: tried out, with the clock. */
static const int counts[N_COUNTS][2] = {{1, 1}, {2, 2}, {3, 3}, {1, 3}, {3, 2}, {0, 0}};

static volatile int *trapped; /* shared with the child: the number of the call that it was stopped at */

static void on_trap(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    *trapped = info->si_syscall;
    _exit(TRAPPED);
}

/* Lets futex pass, what ends a process, and where it is asked for the clock, which is a system call on some machines. 0, or -1 where the kernel has no
 * filters. */
static int only_futex(int clock) {
    static const int allowed[] = {SYS_futex, SYS_exit_group, SYS_rt_sigreturn, SYS_clock_gettime};
    enum { MOST = sizeof allowed / sizeof *allowed };
    const unsigned N = clock ? MOST : MOST - 1;
    struct sock_filter code[MOST + 3] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr))};
    for (unsigned i = 0; i < N; i++) code[1 + i] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], (unsigned char)(N - i), 0);
    code[N + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    code[N + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {.len = (unsigned short)(N + 3), .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}

/* Waits until every other thread of this process sleeps: one that has just been made still makes the calls of its beginning. */
static void settle(void) {
    for (int busy = 1; busy;) {
        usleep(2000);
        busy = 0;
        DIR *tasks = opendir("/proc/self/task");
        for (struct dirent *entry; tasks && (entry = readdir(tasks));) {
            char path[300], line[512] = "", *end;
            snprintf(path, sizeof path, "/proc/self/task/%s/stat", entry->d_name);
            FILE *f = atoi(entry->d_name) > 0 && atoi(entry->d_name) != getpid() ? fopen(path, "r") : NULL;
            if (!f) continue;
            if (fgets(line, sizeof line, f) && (end = strrchr(line, ')'))) busy |= end[2] != 'S';
            fclose(f);
        }
        if (tasks) closedir(tasks);
    }
}

static int child(const char *path, const int threads[2], int make_call) {
    char err[256];
    qig_model *m = NULL;
    qig_session *s = NULL;
    const qig_session_params p = {.n_threads = threads[0], .n_threads_batch = threads[1], .n_ctx = PROMPT + TOKENS, .n_batch = 16, .prompt_telemetry = 1};
    const qig_sampler_params draw = {.temperature = 0.8f, .top_k = 40, .top_p = 0.9f, .min_p = 0.02f, .repeat_penalty = 1.1f, .repeat_last_n = 32, .seed = 7};
    if (qig_model_open(path, "auto", &m, err, sizeof err) != QIG_OK || qig_session_new(m, &p, &s, err, sizeof err) != QIG_OK ||
        qig_session_set_sampler(s, &draw, err, sizeof err) != QIG_OK) {
        fprintf(stderr, "%s: %s\n", path, err);
        return FAILED;
    }
    int32_t text[PROMPT];
    for (int i = 0; i < PROMPT; i++) text[i] = 1 + 5 * i % 200;
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    sigaction(SIGSYS, &action, NULL);
    if (qig_session_eval(s, text, 1, NULL, err, sizeof err) != QIG_OK) return FAILED;
    settle();
    if (only_futex(!threads[0]) != 0) return NO_FILTER;
    if (make_call) (void)getppid();
    if (qig_session_eval(s, text + 1, PROMPT - 1, NULL, err, sizeof err) != QIG_OK) return FAILED;
    for (int i = 0; i < TOKENS; i++) {
        int32_t token;
        qig_telemetry record;
        if (qig_session_sample(s, &token, err, sizeof err) != QIG_OK || qig_session_eval(s, &token, 1, NULL, err, sizeof err) != QIG_OK) return FAILED;
        if (qig_session_telemetry(s, qig_session_pos(s) - 1, &record) != QIG_OK) return FAILED;
        if (i == TOKENS / 2 && qig_session_rollback(s, PROMPT + i - 3, err, sizeof err) != QIG_OK) return FAILED;
        if (qig_session_pos(s) == qig_session_n_ctx(s)) break;
    }
    return DONE; /* freed with the process: freeing may call the system */
}

/* What became of a child. */
static int run(const char *path, const int threads[2], int make_call) {
    *trapped = -1;
    const pid_t pid = fork();
    if (pid == 0) _exit(child(path, threads, make_call));
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return FAILED;
    if (pid > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) return TRAPPED; /* threads of the pool have signals blocked: no handler ran */
    return pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : FAILED;
}

int main(int argc, char **argv) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    printf("test_token_loop: skipped, sanitizers make system calls of their own\n");
    return NO_FILTER;
#endif
    trapped = mmap(NULL, sizeof *trapped, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (trapped == MAP_FAILED || argc < 2) {
        fprintf(stderr, "usage: test_token_loop MODEL.gguf ...\n");
        return 2;
    }
    int failed = 0, cases = 0;
    for (int i = 1; i < argc; i++)
        for (int k = 0; k < N_COUNTS; k++, cases++) {
            const int *threads = counts[k], end = run(argv[i], threads, 0);
            if (end == NO_FILTER) {
                printf("test_token_loop: skipped, this system has no filter of system calls\n");
                return NO_FILTER;
            }
            if (end == TRAPPED) fprintf(stderr, "%s, %d, %d threads: system call %d in the token loop (-1: of a thread of the pool)\n", argv[i], threads[0], threads[1], *trapped);
            else if (end != DONE) fprintf(stderr, "%s, %d, %d threads: failed\n", argv[i], threads[0], threads[1]);
            failed += end != DONE;
            if (run(argv[i], threads, 1) != TRAPPED || *trapped != SYS_getppid) {
                fprintf(stderr, "the filter let a call pass\n");
                failed++;
            }
        }
    printf("test_token_loop: %d cases, %d failed\n", cases, failed);
    return failed || !cases;
}
