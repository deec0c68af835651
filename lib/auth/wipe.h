/* Memory for secrets: overwritten before the arena gives it back. */
#ifndef AUTH_WIPE_H
#define AUTH_WIPE_H

#include <stddef.h>

struct arena;

/* n bytes, cleared; wiped at the arena's reset or free. */
void *wipe_alloc(struct arena *a, size_t n);

#endif
