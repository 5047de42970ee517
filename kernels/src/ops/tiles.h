/* tiles.h - the loops around the tiles of matrix products: which rows and columns each tile takes. What a tile does with them is the ISA's.
 *
 * Rows and columns go to a kernel in this order in every ISA, but no float of theirs depends on it: a tile of two columns gives what two of one give.
 */
#ifndef QIG_OPS_TILES_H
#define QIG_OPS_TILES_H

#include "ops.h"

/* A kernel of contract qig_matmul_fn: rows by fours, the last ones alone; columns by pairs, a last one alone.
 *   tile4(columns, ahead, w, w_stride, x, x_stride, y, y_stride, count)    4 rows, 1 or 2 columns; fetches `ahead` bytes ahead, first columns only, 0: not at all
 *   tile1(w, x, y, count)                                                  1 row, 1 column
 * count: what a tile counts along a row, an expression in k. prefetch_distance: simd.h. */
#define QIG_MATMUL_BY_FOURS(kernel, tile4, tile1, count)                                                                                          \
    void kernel(const void *w, size_t w_stride, const void *x, size_t x_stride, float *y, size_t y_stride, int k, int row0, int row1, int n) {     \
        const char *wp = (const char *)w + (size_t)row0 * w_stride;                                                                               \
        const size_t ahead = prefetch_distance(w_stride);                                                                                         \
        int r = row0;                                                                                                                             \
        for (; r + 4 <= row1; r += 4, wp += 4 * w_stride) {                                                                                       \
            const char *xp = x;                                                                                                                   \
            float *yp = y + r;                                                                                                                    \
            int c = 0;                                                                                                                            \
            for (; c + 2 <= n; c += 2, xp += 2 * x_stride, yp += 2 * y_stride) tile4(2, c ? 0 : ahead, wp, w_stride, xp, x_stride, yp, y_stride, count); \
            if (c < n) tile4(1, c ? 0 : ahead, wp, w_stride, xp, x_stride, yp, y_stride, count);                                                  \
        }                                                                                                                                         \
        for (; r < row1; r++, wp += w_stride)                                                                                                     \
            for (int c = 0; c < n; c++) tile1(wp, (const char *)x + (size_t)c * x_stride, y + (size_t)c * y_stride + r, count);                   \
    }

/* The same, rows alone.
 *   tile(columns, w, x0, x1, y0, y1, count)    1 row; 2 columns, or 1 with x1 = x0 and y1 NULL */
#define QIG_MATMUL_BY_ROWS(kernel, tile, count)                                                                                                   \
    void kernel(const void *w, size_t w_stride, const void *x, size_t x_stride, float *y, size_t y_stride, int k, int row0, int row1, int n) {     \
        for (int r = row0; r < row1; r++) {                                                                                                       \
            const void *row = (const char *)w + (size_t)r * w_stride;                                                                             \
            const char *xp = x;                                                                                                                   \
            float *yp = y + r;                                                                                                                    \
            int c = 0;                                                                                                                            \
            for (; c + 2 <= n; c += 2, xp += 2 * x_stride, yp += 2 * y_stride) tile(2, row, (const void *)xp, (const void *)(xp + x_stride), yp, yp + y_stride, count); \
            if (c < n) tile(1, row, (const void *)xp, (const void *)xp, yp, NULL, count);                                                         \
        }                                                                                                                                         \
    }

#endif
