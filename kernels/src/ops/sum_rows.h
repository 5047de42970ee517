/* sum_rows.h - the list of a sum over rows, by fours: what the vector ISAs share of it. What a tile does with four rows, or one, is theirs.
 *
 * Rows lie apart, so no hardware prefetcher finds the next: the list does.
 */
#ifndef QIG_OPS_SUM_ROWS_H
#define QIG_OPS_SUM_ROWS_H

#include "ops.h"

#include <string.h>

typedef struct {
    const char *r0, *r1, *r2, *r3; /* of a tile of one row, r0 four times */
} rows4;

static inline __attribute__((always_inline)) rows4 rows_of(const char *w, size_t w_stride, const int32_t *units, const int four) {
    const char *first = w + (size_t)units[0] * w_stride;
    if (!four) return (rows4){first, first, first, first};
    return (rows4){first, w + (size_t)units[1] * w_stride, w + (size_t)units[2] * w_stride, w + (size_t)units[3] * w_stride};
}

/* How many rows ahead are fetched: tiles until 2 KB are under way, three times what 4 GB/s of memory need at 150 ns; more helped nothing where the list is short. */
static inline __attribute__((always_inline)) int rows_ahead(size_t bytes) { return 4 * (int)(1 + 2048 / (4 * bytes + 1)); }

/* A kernel of contract qig_sum_rows_fn: `width` columns are one step of `bytes` in a row.
 *   tile(rows, rows to fetch, factors, y, steps, four)    four rows, or one; load4, spread4: four floats of the list as the tile takes them, one of it in all lanes
 *   finish(y, steps)                                      once, after the last row */
#define QIG_SUM_ROWS(kernel, tile, load4, spread4, width, bytes, finish)                                                                           \
    void kernel(const void *w, size_t w_stride, const int32_t *units, const float *a, int n, float *y, int col0, int col1) {                      \
        const int steps = (col1 - col0) / (width), ahead = rows_ahead((size_t)steps * (bytes));                                                   \
        const char *base = (const char *)w + (size_t)(col0 / (width)) * (bytes);                                                                  \
        y += col0;                                                                                                                                \
        memset(y, 0, sizeof *y * (size_t)(col1 - col0));                                                                                          \
        int i = 0;                                                                                                                                \
        for (; i + 4 <= n; i += 4) {                                                                                                              \
            const int then = i + ahead + 4 <= n ? i + ahead : n - 4;                                                                              \
            tile(rows_of(base, w_stride, units + i, 1), rows_of(base, w_stride, units + then, 1), load4(a + i), y, steps, 1);                     \
        }                                                                                                                                         \
        for (; i < n; i++) {                                                                                                                      \
            const rows4 r = rows_of(base, w_stride, units + i, 0);                                                                                \
            tile(r, r, spread4(a[i]), y, steps, 0);                                                                                               \
        }                                                                                                                                         \
        finish(y, steps);                                                                                                                         \
    }

static inline void leave(float *y, int steps) { (void)y, (void)steps; }

#endif
