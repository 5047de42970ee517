/* board.c - see board.h. The firmware's get_throttled, a hexadecimal number: bits 0 to 3 hold now, 16 to 19 since the board was started. */
#include "board.h"

#include <ctype.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int read_flags(const char *path, unsigned long *flags) {
    char text[32] = "", *end = text;
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    if (fgets(text, sizeof text, f)) *flags = strtoul(text, &end, 16);
    fclose(f);
    return end > text && (*end == 0 || isspace((unsigned char)*end));
}

void qig_board_troubles(const char *root, char *out, size_t room) {
    static const char *const words[] = { "under-voltage", "frequency capped", "throttled", "soft temperature limit" };
    char pattern[512];
    unsigned long flags = 0;
    glob_t found;
    out[0] = 0;
    snprintf(pattern, sizeof pattern, "%s/sys/devices/platform/*/*firmware/get_throttled", root);
    if (glob(pattern, 0, NULL, &found) != 0) return;
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (read_flags(found.gl_pathv[i], &flags)) break;
    globfree(&found);
    for (size_t i = 0, n = 0; i < sizeof words / sizeof *words; i++)
        if (flags >> i & 1 && n < room) n += (size_t)snprintf(out + n, room - n, "%s%s", n ? ", " : "", words[i]);
}
