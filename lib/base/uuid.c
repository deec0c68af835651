#include "base/uuid.h"

#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"

void
random_bytes(void *out, size_t n)
{
	unsigned char *p = out;

	while (n > 0) {
		ssize_t got = getrandom(p, n, 0);

		must(got > 0);
		p += got;
		n -= (size_t)got;
	}
}

struct uuid
uuid_v7(void)
{
	struct uuid u;
	uint64_t ms = (uint64_t)clock_unix_ms();

	random_bytes(u.b, sizeof(u.b));
	for (int i = 0; i < 6; i++)
		u.b[i] = (uint8_t)(ms >> (40 - 8 * i));
	u.b[6] = (uint8_t)((u.b[6] & 0x0F) | 0x70);
	u.b[8] = (uint8_t)((u.b[8] & 0x3F) | 0x80);
	return u;
}

/* Whether a dash belongs before byte i of the text form. */
static bool
dash_before(size_t i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

bool
uuid_parse(struct str s, struct uuid *out)
{
	struct uuid u;
	size_t at = 0;

	if (s.n != UUID_TEXT_LEN)
		return false;
	for (size_t i = 0; i < sizeof(u.b); i++) {
		if (dash_before(i) && s.p[at++] != '-')
			return false;
		if (!str_unhex((struct str){s.p + at, 2}, &u.b[i], 1))
			return false;
		at += 2;
	}
	*out = u;
	return true;
}

void
uuid_text(struct uuid u, char out[UUID_TEXT_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	for (size_t i = 0; i < sizeof(u.b); i++) {
		if (dash_before(i))
			out[at++] = '-';
		out[at++] = digits[u.b[i] >> 4];
		out[at++] = digits[u.b[i] & 15];
	}
	out[at] = '\0';
}

struct str
uuid_str(struct arena *a, struct uuid u)
{
	char text[UUID_TEXT_LEN + 1];

	uuid_text(u, text);
	return str_dup(a, str_from(text));
}

bool
uuid_eq(struct uuid a, struct uuid b)
{
	return memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

bool
uuid_is_zero(struct uuid u)
{
	return uuid_eq(u, (struct uuid){{0}});
}
