#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void
buf_init(struct buf *b, size_t cap)
{
	*b = (struct buf){.cap = cap};
}

void
buf_fini(struct buf *b)
{
	free(b->p);
	*b = (struct buf){.cap = b->cap};
}

void
buf_clear(struct buf *b)
{
	b->n = 0;
	b->overflow = false;
}

/* Room for n more bytes, or overflow. */
static bool
reserve(struct buf *b, size_t n)
{
	size_t size = b->size ? b->size : 256;

	if (b->overflow || n > b->cap || b->n > b->cap - n) {
		b->overflow = true;
		return false;
	}
	if (b->n + n <= b->size)
		return true;
	while (size < b->n + n)
		size *= 2;
	if (size > b->cap)
		size = b->cap;
	b->p = realloc(b->p, size);
	must(b->p != NULL);
	b->size = size;
	return true;
}

void
buf_add(struct buf *b, const void *p, size_t n)
{
	if (n == 0 || !reserve(b, n))
		return;
	memcpy(b->p + b->n, p, n);
	b->n += n;
}

char *
buf_room(struct buf *b, size_t n)
{
	if (!reserve(b, n))
		return NULL;
	b->n += n;
	return b->p + b->n - n;
}

void
buf_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.n);
}

void
buf_char(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void
buf_fmt(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	must(n >= 0);
	if (!reserve(b, (size_t)n + 1))
		return;
	va_start(ap, fmt);
	vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->n += (size_t)n;
}

struct str
buf_view(const struct buf *b)
{
	return (struct str){b->p, b->n};
}

static void
json_escape(struct buf *b, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	for (size_t i = 0; i + 1 < sizeof(shorts); i += 2) {
		if ((unsigned char)shorts[i] != c)
			continue;
		buf_add(b, (char[]){'\\', shorts[i + 1]}, 2);
		return;
	}
	buf_add(b, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

void
buf_json_str(struct buf *b, struct str s)
{
	size_t plain = 0; /* start of what was not written yet */

	buf_char(b, '"');
	for (size_t i = 0; i < s.n;) {
		unsigned char c = (unsigned char)s.p[i];
		size_t len = c < 0x80 ? 1 : str_utf8_at(s, i);
		bool escape = c < 0x20 || c == '"' || c == '\\';

		if (len && !escape) {
			i += len;
			continue;
		}
		buf_add(b, s.p + plain, i - plain);
		if (escape)
			json_escape(b, c);
		else
			buf_str(b, STR("\xEF\xBF\xBD"));
		plain = ++i;
	}
	if (s.n > plain)
		buf_add(b, s.p + plain, s.n - plain);
	buf_char(b, '"');
}

void
buf_json_i64(struct buf *b, int64_t v)
{
	char digits[24];
	size_t at = sizeof(digits);
	uint64_t rest = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (v < 0)
		digits[--at] = '-';
	buf_add(b, digits + at, sizeof(digits) - at);
}
