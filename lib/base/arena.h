/* One arena per request: everything a handler allocates lives until arena_reset. Nothing is freed
 * singly. */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena;

/* cap: the most bytes it may hold; going over it aborts the process (a bug or an attack that the
 * request limits should have stopped). */
struct arena *arena_new(size_t cap);
/* Runs the cleanups, newest first, and frees all memory. NULL is allowed. */
void arena_free(struct arena *a);
/* Runs the cleanups, newest first, and makes the arena empty; keeps its first block. */
void arena_reset(struct arena *a);

/* Never NULL; 16-byte aligned. arena_zalloc clears. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
/* n items of size bytes, cleared; the product is checked. */
void *arena_array(struct arena *a, size_t n, size_t size);

/* Calls fn(p) at reset or free. */
void arena_defer(struct arena *a, void (*fn)(void *), void *p);
size_t arena_used(const struct arena *a);

#define ARENA_NEW(a, type) ((type *)arena_zalloc((a), sizeof(type)))

#endif
