/* main_args.c - the command line: one table of options serves parsing and help. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "main.h"

enum { INFO = 1, GENERATE = 2, CHAT = 4, BENCH = 8, TALK = GENERATE | CHAT, RUN = TALK | BENCH, ALL = INFO | RUN };

static const struct { const char *name; int bit; const char *what; } commands[] = {
    { "info", INFO, "what a model file holds" },
    { "generate", GENERATE, "continue a text" },
    { "chat", CHAT, "talk with the model, from a terminal or a pipe, one line a turn" },
    { "bench", BENCH, "load time, prefill and decode speed, memory, share of the memory bandwidth" },
};

typedef enum { FLAG, INT, FLOAT, TEXT, SEED, CACHE, DEPTHS, SETTING, DRAFT } kind;

typedef struct {
    const char *letters, *name, *value; /* letters: of the short form */
    kind kind;
    int commands;
    size_t offset;
    double min, max;
    const char *what;
} option;

#define AT(field) offsetof(options, field)
static const option table[] = {
    { "p", "prompt", "TEXT", TEXT, TALK, AT(prompt), 0, 0, "text to continue, or the only question; without it, stdin" },
    { NULL, "system", "TEXT", TEXT, CHAT, AT(system), 0, 0, "system prompt" },
    { NULL, "save", "FILE", TEXT, CHAT, AT(save), 0, 0, "keep the conversation, with its cache, in this file when it ends" },
    { NULL, "load", "FILE", TEXT, CHAT, AT(load), 0, 0, "go on with a kept conversation, of the same model file and settings" },
    { "n", "max-tokens", "N", INT, TALK, AT(n_tokens), 1, 1 << 20, "tokens drawn at most, in chat for an answer" },
    { NULL, "temp", "X", FLOAT, TALK, AT(sampler.temperature), 0, 100, "temperature, 0 is greedy" },
    { NULL, "top-k", "N", INT, TALK, AT(sampler.top_k), 0, 1 << 20, "keep the N likeliest tokens, 0 is off" },
    { NULL, "top-p", "X", FLOAT, TALK, AT(sampler.top_p), 1e-6, 1, "keep the likeliest tokens up to this mass, 1 is off" },
    { NULL, "min-p", "X", FLOAT, TALK, AT(sampler.min_p), 0, 1, "drop tokens below this share of the likeliest, 0 is off" },
    { NULL, "repeat-penalty", "X", FLOAT, TALK, AT(sampler.repeat_penalty), 1e-3, 100, "divide the logits of recent tokens, 1 is off" },
    { NULL, "repeat-last", "N", INT, TALK, AT(sampler.repeat_last_n), 0, 1 << 20, "how many tokens are recent" },
    { NULL, "seed", "N", SEED, TALK, AT(sampler.seed), 0, 0, "of the random draws; else taken from the clock" },
    { NULL, "greedy", NULL, FLAG, TALK, AT(greedy), 0, 0, "the likeliest token each time, nothing else on" },
    { "t", "threads", "N", INT, RUN, AT(threads), 0, 256, "0: measured on the first tokens, beginning with the big cores, at most 4" },
    { "tb", "threads-batch", "N", INT, RUN, AT(threads_batch), 0, 256, "threads that read prompts; 0: as --threads, else measured likewise" },
    { NULL, "ctx", "N", INT, RUN, AT(ctx), 0, 1 << 20, "positions, 0: the model's" },
    { NULL, "cache", "TYPE", CACHE, RUN, AT(cache), 0, 0, "auto, f32 or i8" },
    { NULL, "isa", "NAME", TEXT, ALL, AT(isa), 0, 0, "kernel set, auto: the best one here" },
    { NULL, "set", "KEY=VALUE", SETTING, ALL, 0, 0, 0, "a threshold of the file, changed: gate.margin=4; may be repeated; 'qig info' lists them" },
    { NULL, "draft", "N", DRAFT, TALK, AT(draft), 0, 0, "tokens that the model's draft guesses, to be verified at once: 1 to 8, off, auto; default: auto, off with --seed" },
    { NULL, "stats", NULL, FLAG, TALK, AT(stats), 0, 0, "times and memory on stderr; what ran, where the model decides that" },
    { NULL, "telemetry", NULL, FLAG, TALK, AT(telemetry), 0, 0, "the model's own state in words on stderr; generate: of every token" },
    { NULL, "telemetry-json", NULL, FLAG, GENERATE, AT(telemetry_json), 0, 0, "one JSON line a token on stdout, its text in it, in place of the text" },
    { NULL, "prefill", "N", INT, BENCH, AT(prefill), 1, 1 << 20, "tokens of the prefill test" },
    { NULL, "decode", "N", INT, BENCH, AT(decode), 1, 1 << 20, "tokens of each decode test" },
    { NULL, "depths", "N,N,..", DEPTHS, BENCH, 0, 0, 0, "positions already in the cache when decoding" },
    { NULL, "text", "FILE", TEXT, BENCH, AT(text), 0, 0, "measure on the tokens of this text; else on random ones" },
    { NULL, "repeat", "N", INT, BENCH, AT(repeat), 1, 1000, "samples of each test" },
    { NULL, "tensors", NULL, FLAG, INFO, AT(tensors), 0, 0, "list the tensors" },
    { NULL, "json", NULL, FLAG, ALL, AT(json), 0, 0, "one JSON object on stdout; chat: one an answer" },
};
enum { DRAFT_UNSAID = -2 };
enum { N_OPTIONS = sizeof table / sizeof table[0], N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(void) {
    printf("qig %s: small language models with geometric attention\n\n", qig_version());
    for (int i = 0; i < N_COMMANDS; i++) printf("  qig %-8s MODEL [options]   %s\n", commands[i].name, commands[i].what);
    printf("\nqig COMMAND --help lists its options. MODEL is a GGUF file of architecture qig, llama, arcee or jarvis-quantum.\n");
}

static void print_command_help(int c) {
    printf("qig %s MODEL [options]: %s\n\n", commands[c].name, commands[c].what);
    for (int i = 0; i < N_OPTIONS; i++) {
        if (!(table[i].commands & commands[c].bit)) continue;
        char left[64];
        const char *value = table[i].value ? table[i].value : "";
        if (table[i].letters) snprintf(left, sizeof left, "-%s, --%s %s", table[i].letters, table[i].name, value);
        else snprintf(left, sizeof left, "    --%s %s", table[i].name, value);
        printf("  %-28s %s\n", left, table[i].what);
    }
}

static int parse_depths(const char *text, options *o) {
    o->n_depths = 0;
    for (const char *p = text;;) {
        char *end;
        errno = 0;
        long v = strtol(p, &end, 10);
        if (end == p || errno || v < 0 || v > 1 << 20 || (*end && *end != ','))
            return fail("--depths %s: positions between 0 and %d, separated by commas", text, 1 << 20);
        if (o->n_depths == MAX_DEPTHS) return fail("--depths %s: at most %d of them", text, MAX_DEPTHS);
        o->depths[o->n_depths++] = (int)v;
        if (!*end) return -1;
        p = end + 1;
    }
}

static int set_option(const option *opt, const char *value, options *o) {
    void *slot = (char *)o + opt->offset;
    char *end = NULL;
    errno = 0;
    switch (opt->kind) {
    case FLAG:
        *(int *)slot = 1;
        return -1;
    case TEXT:
        *(const char **)slot = value;
        return -1;
    case INT: {
        long v = strtol(value, &end, 10);
        if (end == value || *end || errno || v < (long)opt->min || v > (long)opt->max)
            return fail("--%s %s: a whole number from %.0f to %.0f", opt->name, value, opt->min, opt->max);
        *(int *)slot = (int)v;
        return -1;
    }
    case FLOAT: {
        double v = strtod(value, &end);
        if (end == value || *end || !(v >= opt->min && v <= opt->max))
            return fail("--%s %s: a number from %g to %g", opt->name, value, opt->min, opt->max);
        *(float *)slot = (float)v;
        return -1;
    }
    case SEED: {
        unsigned long long v = strtoull(value, &end, 10);
        if (end == value || *end || errno || value[0] == '-') return fail("--seed %s: a whole number from 0 to 2^64 - 1", value);
        *(uint64_t *)slot = v;
        o->seed_given = 1;
        return -1;
    }
    case CACHE: {
        static const char *const names[] = { "auto", "f32", "i8" };
        for (int i = 0; i < 3; i++)
            if (strcmp(value, names[i]) == 0) {
                *(int *)slot = i;
                return -1;
            }
        return fail("--cache %s: one of auto, f32, i8", value);
    }
    case DRAFT: {
        const int word = strcmp(value, "auto") == 0 || strcmp(value, "off") == 0;
        const long v = !word ? strtol(value, &end, 10) : value[0] == 'a' ? QIG_DRAFT_AUTO : 0;
        if (!word && (end == value || *end || errno || v < 1 || v > QIG_MAX_DRAFT))
            return fail("--draft %s: auto, off, or a whole number from 1 to %d", value, (int)QIG_MAX_DRAFT);
        *(int *)slot = (int)v;
        return -1;
    }
    case SETTING: {
        const char *eq = strchr(value, '=');
        if (!eq || eq == value || eq - value >= MAX_KEY) return fail("--set %s: KEY=VALUE, as in gate.margin=4", value);
        if (o->n_settings == MAX_SETTINGS) return fail("--set %s: at most %d of them", value, MAX_SETTINGS);
        o->settings[o->n_settings++] = value;
        return -1;
    }
    default:
        return parse_depths(value, o);
    }
}

/* Takes the option at argv[*i], with its value; -1 to go on. */
static int take_option(int argc, char **argv, int *i, int command, options *o) {
    const char *arg = argv[*i], *inline_value = NULL;
    const option *found = NULL;
    size_t longest = 0; /* of the short forms that arg begins with: -tb is no -t of value b */
    for (int k = 0; k < N_OPTIONS; k++) {
        const option *opt = &table[k];
        if (!(opt->commands & commands[command].bit)) continue;
        if (arg[1] == '-') {
            size_t len = strlen(opt->name);
            if (strncmp(arg + 2, opt->name, len) == 0 && (arg[2 + len] == '\0' || arg[2 + len] == '=')) {
                found = opt;
                inline_value = arg[2 + len] == '=' ? arg + 3 + len : NULL;
            }
        } else if (opt->letters && strlen(opt->letters) > longest && strncmp(arg + 1, opt->letters, strlen(opt->letters)) == 0) {
            found = opt;
            longest = strlen(opt->letters);
            inline_value = arg[1 + longest] ? arg + 1 + longest : NULL;
        }
    }
    if (!found) return fail("unknown option '%s': 'qig %s --help' lists them", arg, commands[command].name);
    if (found->kind == FLAG) {
        if (inline_value) return fail("--%s takes no value", found->name);
        return set_option(found, NULL, o);
    }
    if (!inline_value) {
        if (*i + 1 >= argc) return fail("--%s needs a value: %s", found->name, found->value);
        inline_value = argv[++*i];
    }
    return set_option(found, inline_value, o);
}

int parse_options(int argc, char **argv, options *o) {
    *o = (options){
        .n_tokens = 128, .prefill = 512, .decode = 128, .repeat = 5, .depths = { 0, 1024 }, .n_depths = 2, .draft = DRAFT_UNSAID,
        .sampler = { .temperature = 0.7f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .repeat_penalty = 1.1f, .repeat_last_n = 64 },
    };
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        if (argc < 2) return fail("what to do? info, generate, chat or bench: 'qig --help' says more");
        print_help();
        return flush_stdout();
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("qig %s\n", qig_version());
        return flush_stdout();
    }
    int command = -1;
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0) command = i;
    if (command < 0) return fail("unknown command '%s': info, generate, chat or bench", argv[1]);
    o->command = commands[command].name;
    for (int i = 2, plain = 0; i < argc; i++) {
        if (!plain && strcmp(argv[i], "--") == 0) {
            plain = 1;
        } else if (!plain && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            print_command_help(command);
            return flush_stdout();
        } else if (!plain && argv[i][0] == '-' && argv[i][1]) {
            int rc = take_option(argc, argv, &i, command, o);
            if (rc >= 0) return rc;
        } else if (o->model) {
            return fail("one model at a time: '%s' after '%s'", argv[i], o->model);
        } else {
            o->model = argv[i];
        }
    }
    if (!o->model) return fail("qig %s needs a model file", o->command);
    if (o->load && o->system) return fail("--system: the conversation in '%s' has begun already; leave it out", o->load);
    if (o->json && o->telemetry_json) return fail("--json and --telemetry-json both write to stdout: one of them");
    if (o->greedy) {
        o->sampler.temperature = 0;
        o->sampler.repeat_penalty = 1;
    }
    /* how long things take must not change the text of a seed */
    if (o->draft == DRAFT_UNSAID) o->draft = o->seed_given && o->sampler.temperature > 0 && o->sampler.top_k != 1 ? 0 : QIG_DRAFT_AUTO;
    if (!o->seed_given) {
        struct timespec ts;
        clock_gettime(CLOCK_REALTIME, &ts);
        o->sampler.seed = ((uint64_t)ts.tv_sec * 1000000007u) ^ ((uint64_t)ts.tv_nsec << 20) ^ (uint64_t)getpid();
    }
    return -1;
}
