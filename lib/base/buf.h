/* A growing byte buffer with a hard cap, on the heap. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "str.h"

struct buf {
	char *p;
	size_t n, size, cap;
	bool overflow; /* set once an append did not fit under cap; later appends do nothing */
};

/* cap in bytes. Memory is taken at the first append. */
void buf_init(struct buf *b, size_t cap);
void buf_fini(struct buf *b);
void buf_clear(struct buf *b);
void buf_add(struct buf *b, const void *p, size_t n);
/* n more bytes, to be written by the caller at once; NULL when they do not fit. */
char *buf_room(struct buf *b, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_char(struct buf *b, char c);
__attribute__((format(printf, 2, 3))) void buf_fmt(struct buf *b, const char *fmt, ...);
/* Borrows the content until the next append. */
struct str buf_view(const struct buf *b);

/* JSON text (RFC 8259). buf_json_str quotes and escapes; invalid UTF-8 bytes become U+FFFD. */
void buf_json_str(struct buf *b, struct str s);
void buf_json_i64(struct buf *b, int64_t v);

#endif
