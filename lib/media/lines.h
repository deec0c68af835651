/* Text files line by line, in constant memory. */
#ifndef MEDIA_LINES_H
#define MEDIA_LINES_H

#include "media/media.h"

enum { LINES_CHUNK = 256 << 10, LINES_LONGEST = 4096 };

/* Gets some bytes or a line; false breaks off. */
typedef bool (*lines_fn)(void *ctx, struct str bytes);

/* The content in pieces as they come. False when it was broken off, or on a read error. */
bool lines_chunks(const struct media *m, lines_fn fn, void *ctx);
/* The same in lines without their ends; of one over LINES_LONGEST bytes the beginning. */
bool lines_each(const struct media *m, lines_fn fn, void *ctx);

/* At least n numbers separated by blanks; further ones are ignored. */
bool lines_numbers(struct str s, double *out, size_t n);

#endif
