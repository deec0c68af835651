#include "base/str.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/arena.h"
#include "base/log.h"

struct str
str_from(const char *z)
{
	return z ? (struct str){z, strlen(z)} : STR_NONE;
}

bool
str_eq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool
str_ieq(struct str a, struct str b)
{
	return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

bool
str_starts(struct str s, struct str prefix)
{
	return s.n >= prefix.n && str_eq((struct str){s.p, prefix.n}, prefix);
}

int
str_cmp(struct str a, struct str b)
{
	size_t n = a.n < b.n ? a.n : b.n;
	int c = n ? memcmp(a.p, b.p, n) : 0;

	return c ? c : (a.n > b.n) - (a.n < b.n);
}

ptrdiff_t
str_index(struct str s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}

struct str
str_cut(struct str *rest, char sep)
{
	ptrdiff_t at = str_index(*rest, sep);
	struct str head = *rest;

	if (at < 0) {
		*rest = STR_NONE;
		return head;
	}
	head.n = (size_t)at;
	rest->p += head.n + 1;
	rest->n -= head.n + 1;
	return head;
}

struct str
str_trim(struct str s)
{
	while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

bool
str_to_i64(struct str s, int64_t *out)
{
	bool negative = s.n && s.p[0] == '-';
	int64_t v = 0;

	if (s.n == (negative ? 1U : 0U))
		return false;
	for (size_t i = negative; i < s.n; i++) {
		int digit = s.p[i] - '0';

		if (digit < 0 || digit > 9)
			return false;
		if (__builtin_mul_overflow(v, 10, &v))
			return false;
		if (__builtin_add_overflow(v, negative ? -digit : digit, &v))
			return false;
	}
	*out = v;
	return true;
}

struct str
str_dup(struct arena *a, struct str s)
{
	return (struct str){str_z(a, s), s.n};
}

char *
str_z(struct arena *a, struct str s)
{
	char *z = arena_alloc(a, s.n + 1);

	if (s.n)
		memcpy(z, s.p, s.n);
	z[s.n] = '\0';
	return z;
}

struct str
str_fmt(struct arena *a, const char *fmt, ...)
{
	va_list ap;
	int n;
	char *p;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	must(n >= 0);
	p = arena_alloc(a, (size_t)n + 1);
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return (struct str){p, (size_t)n};
}

struct str
str_hex(struct arena *a, const void *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *in = bytes;
	char *p = arena_alloc(a, 2 * n + 1);

	for (size_t i = 0; i < n; i++) {
		p[2 * i] = digits[in[i] >> 4];
		p[2 * i + 1] = digits[in[i] & 15];
	}
	p[2 * n] = '\0';
	return (struct str){p, 2 * n};
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool
str_unhex(struct str s, uint8_t *out, size_t n)
{
	if (s.n != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(s.p[2 * i]);
		int lo = hex_digit(s.p[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return false;
		out[i] = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

struct str
str_b64url(struct arena *a, const void *bytes, size_t n)
{
	unsigned char *p = arena_alloc(a, 4 * ((n + 2) / 3) + 1);
	int len;

	must(n < INT32_MAX / 2);
	len = EVP_EncodeBlock(p, bytes, (int)n);
	while (len > 0 && p[len - 1] == '=')
		len--;
	for (int i = 0; i < len; i++)
		p[i] = p[i] == '+' ? '-' : p[i] == '/' ? '_' : p[i];
	return (struct str){(char *)p, (size_t)len};
}

bool
str_unb64url(struct str s, uint8_t *out, size_t cap, size_t *n)
{
	unsigned char in[1024], raw[768];
	size_t padded = (s.n + 3) / 4 * 4;
	int got;

	if (padded > sizeof(in) || s.n % 4 == 1 || s.n == 0)
		return false;
	for (size_t i = 0; i < padded; i++) {
		char c = i < s.n ? s.p[i] : '=';

		if (i < s.n && (c == '+' || c == '/' || c == '='))
			return false;
		in[i] = (unsigned char)(c == '-' ? '+' : c == '_' ? '/' : c);
	}
	got = EVP_DecodeBlock(raw, in, (int)padded);
	if (got < 0)
		return false;
	*n = (size_t)got - (padded - s.n);
	if (*n > cap)
		return false;
	memcpy(out, raw, *n);
	return true;
}

/* Bytes of the sequence that starts at p, 0 when it is malformed. */
static size_t
utf8_len(const uint8_t *p, size_t n)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = p[0] < 0x80 ? 1
	    : (p[0] >> 5) == 6   ? 2
	    : (p[0] >> 4) == 14  ? 3
	    : (p[0] >> 3) == 30  ? 4
				 : 0;
	uint32_t c = len > 1 ? p[0] & (0x7FU >> len) : p[0];

	if (len == 0 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3F);
	}
	return c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF) ? 0 : len;
}

size_t
str_utf8_at(struct str s, size_t i)
{
	return utf8_len((const uint8_t *)s.p + i, s.n - i);
}

bool
str_utf8(struct str s)
{
	for (size_t i = 0; i < s.n;) {
		size_t len = str_utf8_at(s, i);

		if (len == 0)
			return false;
		i += len;
	}
	return true;
}
