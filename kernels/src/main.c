/* main.c - qig: info, generate, chat and bench over libqig, one static file for a small computer. */
#include "main.h"

#include <string.h>

int main(int argc, char **argv) {
    options o;
    int rc = parse_options(argc, argv, &o);
    if (rc >= 0) return rc;
    if (strcmp(o.command, "info") == 0) return run_info(&o);
    if (strcmp(o.command, "generate") == 0) return run_generate(&o);
    if (strcmp(o.command, "chat") == 0) return run_chat(&o);
    return run_bench(&o);
}
