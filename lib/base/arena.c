#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum { ARENA_FIRST = 16 * 1024 };

struct block {
	struct block *next;
	size_t size, used;
	_Alignas(16) unsigned char data[];
};

struct cleanup {
	struct cleanup *next;
	void (*fn)(void *);
	void *p;
};

struct arena {
	struct block *head; /* newest; the oldest stays for the life of the arena */
	struct cleanup *cleanups;
	size_t cap, used;
};

static struct block *
block_new(struct arena *a, size_t n)
{
	struct block *b = malloc(sizeof(*b) + n);

	must(b != NULL);
	*b = (struct block){.next = a->head, .size = n};
	a->head = b;
	return b;
}

struct arena *
arena_new(size_t cap)
{
	struct arena *a = calloc(1, sizeof(*a));

	must(a != NULL);
	a->cap = cap;
	block_new(a, ARENA_FIRST);
	return a;
}

void
arena_reset(struct arena *a)
{
	while (a->cleanups) {
		struct cleanup *c = a->cleanups;

		a->cleanups = c->next;
		c->fn(c->p);
	}
	while (a->head->next) {
		struct block *b = a->head;

		a->head = b->next;
		free(b);
	}
	a->head->used = 0;
	a->used = 0;
}

void
arena_free(struct arena *a)
{
	if (!a)
		return;
	arena_reset(a);
	free(a->head);
	free(a);
}

void *
arena_alloc(struct arena *a, size_t n)
{
	size_t want = (n + 15) & ~(size_t)15;
	struct block *b = a->head;
	void *p;

	must(want >= n && a->used + want <= a->cap);
	if (b->size - b->used < want)
		b = block_new(a, want > ARENA_FIRST / 2 ? want : ARENA_FIRST * 2);
	p = b->data + b->used;
	b->used += want;
	a->used += want;
	return p;
}

void *
arena_zalloc(struct arena *a, size_t n)
{
	return memset(arena_alloc(a, n), 0, n);
}

void *
arena_array(struct arena *a, size_t n, size_t size)
{
	size_t total;

	must(!__builtin_mul_overflow(n, size, &total));
	return arena_zalloc(a, total);
}

void
arena_defer(struct arena *a, void (*fn)(void *), void *p)
{
	struct cleanup *c = arena_alloc(a, sizeof(*c));

	*c = (struct cleanup){.next = a->cleanups, .fn = fn, .p = p};
	a->cleanups = c;
}

size_t
arena_used(const struct arena *a)
{
	return a->used;
}
