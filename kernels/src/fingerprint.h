/* fingerprint.h - 64-bit sums that tell one file from another by accident, not by malice: no cryptography. */
#ifndef QIG_FINGERPRINT_H
#define QIG_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

struct qig_model;

/* The sum goes on over n bytes, n % 8 == 0. A change within any one of its 8-byte words changes the result for certain. */
uint64_t qig_sum(uint64_t sum, const void *data, size_t n);

/* Of a model's file: its size, everything before the tensors' data (metadata, vocabulary, the tensors' names, shapes, types and places), and of each tensor 256
 * bytes from its beginning, its middle and its end. Weights that differ elsewhere alone are not told apart; the price is that a file of gigabytes is not read. */
uint64_t qig_model_fingerprint(const struct qig_model *m);

#endif
