#include "http/pointer.h"

#include <stdio.h>

#include "base/arena.h"

enum { INDEX_MOST = 21 }; /* characters of a 64-bit number */

static size_t
most(const struct pointer *p)
{
	size_t n = 1;

	for (; p; p = p->up)
		n += 1 + (p->name.p ? 2 * p->name.n : INDEX_MOST);
	return n;
}

static char *
put_name(char *to, struct str name)
{
	for (size_t i = 0; i < name.n; i++) {
		char c = name.p[i];

		if (c == '~' || c == '/') {
			*to++ = '~';
			c = c == '~' ? '0' : '1';
		}
		*to++ = c;
	}
	return to;
}

static char *
put(char *to, const struct pointer *p)
{
	if (!p)
		return to;
	to = put(to, p->up);
	*to++ = '/';
	if (p->name.p)
		return put_name(to, p->name);
	return to + snprintf(to, INDEX_MOST, "%zu", p->index);
}

struct str
pointer_text(struct arena *a, const struct pointer *p)
{
	char *text = arena_alloc(a, most(p));
	char *end = put(text, p);

	*end = '\0';
	return (struct str){text, (size_t)(end - text)};
}
