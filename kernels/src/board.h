/* board.h - what a Raspberry Pi's firmware says of its own state. */
#ifndef QIG_BOARD_H
#define QIG_BOARD_H

#include <stddef.h>

/* The flags that are up at the moment, in words ("under-voltage, throttled"), to out, which begins with 0 where there are none or no such firmware. root: "" or a
 * folder that stands for the file system. */
void qig_board_troubles(const char *root, char *out, size_t room);

#endif
