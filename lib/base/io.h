/* Descriptors. */
#ifndef BASE_IO_H
#define BASE_IO_H

#include <stdbool.h>
#include <stddef.h>

/* Writes all n bytes where the descriptor stands. False, with errno, when it could not. */
bool io_write_all(int fd, const void *bytes, size_t n);

#endif
