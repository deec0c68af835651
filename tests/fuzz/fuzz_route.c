/* Any bytes as "METHOD path": the route is found or not, and path parameters are checked. */
#include <string.h>

#include "base/arena.h"
#include "fuzz.h"
#include "gen/inputs.h"
#include "gen/routes.h"

#define STUB(name)                                                                                 \
	const struct err *name(struct req *r)                                                      \
	{                                                                                          \
		(void)r;                                                                           \
		return NULL;                                                                       \
	}
FOR_EACH_OPERATION(STUB)

static struct arena *arena;

static void
check_found(const struct route *route, const struct str segs[ROUTE_SEGS_MAX])
{
	struct path_params params;

	memset(&params, 0, sizeof(params));
	for (size_t i = 0; i < route->n_path_fields; i++) {
		struct violations v = {.n = 0};
		const struct err *e = validate_path(
		    arena, &route->path_fields[i], segs[i], &params, &v);

		must(segs[i].n && !memchr(segs[i].p, '/', segs[i].n));
		must(!e || e == &err_invalid_parameter);
		fuzz_check_violations(e, &v);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str path = {(const char *)data, size}, method, allow, segs[ROUTE_SEGS_MAX];
	const struct route *route;
	enum route_match m;

	if (!arena)
		arena = arena_new(1 << 28);
	method = str_cut(&path, ' ');
	m = route_find(routes, n_routes, method, path, &route, segs, &allow, arena);
	must((m == ROUTE_FOUND) == (route != NULL));
	must((m == ROUTE_WRONG_METHOD) == (allow.n > 0));
	if (route)
		check_found(route, segs);
	arena_reset(arena);
	return 0;
}
