/* JSON pointers (RFC 6901), as a chain of places while walking and as text when one must be named.
 */
#ifndef HTTP_POINTER_H
#define HTTP_POINTER_H

#include "base/str.h"

struct arena;

/* One step; lives on the walker's stack. The root is NULL. */
struct pointer {
	const struct pointer *up;
	struct str name; /* STR_NONE: index counts */
	size_t index;
};

/* "/bed_volume/x_mm", "/tags/3"; '~' in a name becomes "~0", '/' becomes "~1". In the arena. */
struct str pointer_text(struct arena *a, const struct pointer *p);

#endif
