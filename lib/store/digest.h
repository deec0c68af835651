/* SHA-256 while bytes go by. */
#ifndef STORE_DIGEST_H
#define STORE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { DIGEST_LEN = 32 };

struct digest;

struct digest *digest_new(void);
void digest_free(struct digest *d);
void digest_add(struct digest *d, const void *p, size_t n);
void digest_end(struct digest *d, uint8_t out[DIGEST_LEN]); /* once */

/* Called now and then with the bytes done so far; false breaks off. NULL: never. */
typedef bool (*progress_fn)(void *ctx, int64_t done);

/* From the descriptor's start. False on a read error or when fn broke off; *size: bytes read. */
bool digest_file(int fd, uint8_t out[DIGEST_LEN], int64_t *size, progress_fn fn, void *ctx);
/* size bytes from there on; false also when there are less. */
bool digest_range(
    int fd, int64_t from, int64_t size, uint8_t out[DIGEST_LEN], progress_fn fn, void *ctx);
/* Appends all of `from` to `to` and to the digest. */
bool digest_copy(int from, int to, struct digest *d, int64_t *size, progress_fn fn, void *ctx);

#endif
