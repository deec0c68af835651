/* How a large file is cut: parts of equal size, numbered from 1, and a last one with the rest. */
#ifndef STORE_PARTS_H
#define STORE_PARTS_H

#include <stdint.h>

enum { PART_BYTES = 64 << 20 }; /* of new uploads */

/* At least 1. */
int parts_of(int64_t size, int64_t part_bytes);
/* Bytes of part n; 0 when there is no such part. */
int64_t part_size(int64_t size, int64_t part_bytes, int64_t n);

#endif
