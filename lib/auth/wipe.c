#include "auth/wipe.h"

#include <openssl/crypto.h>

#include "base/arena.h"

struct secret {
	size_t n;
	unsigned char p[];
};

static void
wipe(void *p)
{
	struct secret *s = p;

	OPENSSL_cleanse(s->p, s->n);
}

void *
wipe_alloc(struct arena *a, size_t n)
{
	struct secret *s = arena_zalloc(a, sizeof(*s) + n);

	s->n = n;
	arena_defer(a, wipe, s);
	return s->p;
}
