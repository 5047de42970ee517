/* main_info.c - qig info. */
#include <string.h>

#include "main.h"

static void print_text(const qig_model *m, const qig_model_info *i) {
    printf("name          %s\narchitecture  %s\ntype          %s\n", i->name, i->architecture, i->file_type);
    printf("parameters    %.2f M\nfile          %.2f MiB\nread a token  %.2f MiB of weights\n", (double)i->n_params / 1e6, (double)i->file_bytes / 0x1p20,
           (double)i->weight_bytes / 0x1p20);
    printf("vocabulary    %d\ncontext       %d\nwidth         %d\nblocks        %d\n", (int)i->vocab_size, (int)i->context_length, (int)i->d_model, (int)i->n_layers);
    printf("heads         %d of %d, %d for keys and values\nhidden        %d\nbasin         %d\nhead rank     %d\n", (int)i->n_heads, (int)i->head_dim,
           (int)i->n_kv_heads, (int)i->hidden_dim, (int)i->basin_dim, (int)i->head_rank);
    if (i->draft_lag) printf("draft         up to %d tokens in a row\n", (int)i->draft_lag);
    printf("chat          %s\nkernels       %s (of %s)\n", qig_token_eot(m) >= 0 ? "yes" : "no", i->isa, qig_isa_list());
}

/* "0.1, 0.2" */
static void print_numbers(const float *values, int32_t n) {
    for (int32_t k = 0; k < n; k++) {
        if (k) fputs(", ", stdout);
        print_json_number(stdout, values[k]);
    }
}

static void print_settings(const qig_model *m) {
    const float *values;
    int32_t n;
    const char *key;
    puts("settings");
    for (int32_t i = 0; (key = qig_model_setting(m, i, &values, &n)); i++) {
        printf("  %-24s ", key);
        print_numbers(values, n);
        putchar('\n');
    }
}

static void print_tensors(const qig_model *m) {
    qig_tensor_info t;
    for (int64_t i = 0; qig_model_tensor(m, i, &t) == QIG_OK; i++)
        printf("%-32s %-5s [%lld, %lld] %llu bytes at %llu\n", t.name, t.type, (long long)t.ne[1], (long long)t.ne[0], (unsigned long long)t.bytes,
               (unsigned long long)t.offset);
}

static void print_json(const qig_model *m, const qig_model_info *i, int tensors) {
    const struct { const char *name, *value; } texts[] = {
        { "name", i->name }, { "architecture", i->architecture }, { "file_type", i->file_type }, { "isa", i->isa }, { "isa_list", qig_isa_list() },
    };
    const struct { const char *name; unsigned long long value; } numbers[] = {
        { "n_params", i->n_params }, { "file_bytes", i->file_bytes }, { "weight_bytes", i->weight_bytes },
        { "vocab_size", (unsigned long long)i->vocab_size }, { "d_model", (unsigned long long)i->d_model },
        { "n_layers", (unsigned long long)i->n_layers }, { "n_heads", (unsigned long long)i->n_heads },
        { "n_kv_heads", (unsigned long long)i->n_kv_heads }, { "head_dim", (unsigned long long)i->head_dim },
        { "hidden_dim", (unsigned long long)i->hidden_dim }, { "basin_dim", (unsigned long long)i->basin_dim },
        { "head_rank", (unsigned long long)i->head_rank }, { "context_length", (unsigned long long)i->context_length },
        { "draft_lag", (unsigned long long)i->draft_lag },
    };
    putchar('{');
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
        printf("\"%s\": ", texts[k].name);
        print_json_string(stdout, texts[k].value);
        fputs(", ", stdout);
    }
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) printf("\"%s\": %llu, ", numbers[k].name, numbers[k].value);
    printf("\"chat\": %s", qig_token_eot(m) >= 0 ? "true" : "false");
    const float *values;
    int32_t n;
    const char *key;
    fputs(", \"settings\": {", stdout);
    for (int32_t k = 0; (key = qig_model_setting(m, k, &values, &n)); k++) {
        printf("%s\"%s\": [", k ? ", " : "", key);
        print_numbers(values, n);
        putchar(']');
    }
    putchar('}');
    if (tensors) {
        qig_tensor_info t;
        fputs(", \"tensors\": [", stdout);
        for (int64_t k = 0; qig_model_tensor(m, k, &t) == QIG_OK; k++) {
            printf("%s{\"name\": ", k ? ", " : "");
            print_json_string(stdout, t.name);
            printf(", \"type\": \"%s\", \"shape\": [%lld, %lld], \"bytes\": %llu}", t.type, (long long)t.ne[1], (long long)t.ne[0], (unsigned long long)t.bytes);
        }
        putchar(']');
    }
    puts("}");
}

int run_info(const options *o) {
    qig_model *m;
    int rc = open_model(o, &m);
    if (rc != QIG_EXIT_OK) return rc;
    qig_model_info info;
    qig_model_get_info(m, &info);
    if (o->json) {
        print_json(m, &info, o->tensors);
    } else {
        print_text(m, &info);
        print_settings(m);
        if (o->tensors) print_tensors(m);
    }
    qig_model_close(m);
    return flush_stdout();
}
