/* UUIDs (RFC 9562). */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include "str.h"

struct uuid {
	uint8_t b[16];
};

#define UUID_TEXT_LEN 36

/* Version 7: Unix milliseconds and 74 random bits. */
struct uuid uuid_v7(void);
/* The canonical 36-character form, either case. */
bool uuid_parse(struct str s, struct uuid *out);
/* Writes 36 characters and a NUL. */
void uuid_text(struct uuid u, char out[UUID_TEXT_LEN + 1]);
struct str uuid_str(struct arena *a, struct uuid u);
bool uuid_eq(struct uuid a, struct uuid b);
bool uuid_is_zero(struct uuid u);

/* Cryptographic random bytes; aborts when the system has none. */
void random_bytes(void *out, size_t n);

#endif
