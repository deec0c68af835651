/* Strings that carry their length. A struct str borrows; whoever made the bytes owns them. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

struct str {
	const char *p;
	size_t n;
};

/* A literal, its terminator not counted. */
#define STR(lit) ((struct str){("" lit), sizeof(lit) - 1})
/* The same as an initializer of static data. */
#define STR_INIT(lit)                                                                              \
	{                                                                                          \
		("" lit), sizeof(lit) - 1                                                          \
	}
#define STR_NONE ((struct str){NULL, 0})
/* For printf's "%.*s". */
#define STR_ARG(s) ((int)(s).n), ((s).p ? (s).p : "")

/* Borrows a NUL-terminated string; NULL gives STR_NONE. */
struct str str_from(const char *z);
bool str_eq(struct str a, struct str b);
/* ASCII only. */
bool str_ieq(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
/* <0, 0, >0 in byte order. */
int str_cmp(struct str a, struct str b);
/* Splits off everything before `sep`; what follows stays in *rest. Without `sep` takes it all. */
struct str str_cut(struct str *rest, char sep);
struct str str_trim(struct str s);
/* Index of c, or -1. */
ptrdiff_t str_index(struct str s, char c);
/* Strict decimal: digits only (one leading '-' allowed), no overflow, nothing behind. */
bool str_to_i64(struct str s, int64_t *out);

/* Copies into the arena. str_z also ends the copy with a NUL for libraries that want one. */
struct str str_dup(struct arena *a, struct str s);
char *str_z(struct arena *a, struct str s);
/* printf into the arena. */
__attribute__((format(printf, 2, 3))) struct str str_fmt(struct arena *a, const char *fmt, ...);

/* Lower-case hexadecimal and base64url without padding (RFC 4648 sections 8 and 5). */
struct str str_hex(struct arena *a, const void *bytes, size_t n);
bool str_unhex(struct str s, uint8_t *out, size_t n);
struct str str_b64url(struct arena *a, const void *bytes, size_t n);
/* False when s is not base64url or does not decode to at most cap bytes. */
bool str_unb64url(struct str s, uint8_t *out, size_t cap, size_t *n);

/* Well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms, at most U+10FFFF). */
bool str_utf8(struct str s);
/* Bytes of the character that starts at s.p[i]; 0 when it is malformed. */
size_t str_utf8_at(struct str s, size_t i);

#endif
