#include "http/route.h"

#include "base/arena.h"

/* Does path fit the template? Parameters' segments go to segs, their number to *params. str_cut
 * leaves a null rest after the last segment, so that a trailing slash is one more, empty, segment.
 */
static bool
matches(struct str template, struct str path, struct str segs[ROUTE_SEGS_MAX], size_t *params)
{
	size_t n = 0;

	*params = 0;

	while (template.p && path.p) {
		struct str want = str_cut(&template, '/');
		struct str have = str_cut(&path, '/');

		if (want.n && want.p[0] == '{') {
			if (!have.n || n == ROUTE_SEGS_MAX)
				return false;
			segs[n++] = have;
			*params = n;
		} else if (!str_eq(want, have)) {
			return false;
		}
	}
	return !template.p && !path.p;
}

enum { M_GET = 1, M_DELETE = 2, M_PATCH = 4, M_POST = 8, M_PUT = 16 };

static const struct {
	struct str name;
	unsigned bit;
} methods[] = {
    {{"DELETE", 6}, M_DELETE},
    {{"GET", 3}, M_GET},
    {{"HEAD", 4}, M_GET},
    {{"PATCH", 5}, M_PATCH},
    {{"POST", 4}, M_POST},
    {{"PUT", 3}, M_PUT},
};
enum { N_METHODS = sizeof(methods) / sizeof(methods[0]) };

static unsigned
method_bit(struct str name)
{
	for (size_t i = 0; i < N_METHODS; i++) {
		if (str_eq(name, methods[i].name))
			return methods[i].bit;
	}
	return 0;
}

static struct str
allow_text(struct arena *a, unsigned bits)
{
	struct str out = STR("");

	for (size_t i = 0; i < N_METHODS; i++) {
		if (i == 3) /* in alphabetical order, OPTIONS comes before PATCH */
			out = str_fmt(a, "%.*s%sOPTIONS", STR_ARG(out), out.n ? ", " : "");
		if (bits & methods[i].bit)
			out = str_fmt(a, "%.*s%s%.*s", STR_ARG(out), out.n ? ", " : "",
			    STR_ARG(methods[i].name));
	}
	return out;
}

enum route_match
route_find(const struct route *routes, size_t n, struct str method, struct str path,
    const struct route **out, struct str segs[ROUTE_SEGS_MAX], struct str *allow, struct arena *a)
{
	unsigned wanted = method_bit(method), have = 0;
	struct str found[ROUTE_SEGS_MAX] = {{NULL, 0}};
	size_t params, fewest = ROUTE_SEGS_MAX + 1;

	*out = NULL;
	*allow = STR_NONE;
	for (size_t i = 0; i < n; i++) {
		unsigned bit;

		if (!matches(routes[i].path, path, found, &params) || params > fewest)
			continue;
		if (params < fewest) { /* "/v1/models/stats" before "/v1/models/{model_id}" */
			fewest = params;
			have = 0;
			*out = NULL;
		}
		bit = method_bit(str_from(routes[i].method));
		have |= bit;
		if (bit & wanted) {
			*out = &routes[i];
			for (size_t k = 0; k < ROUTE_SEGS_MAX; k++)
				segs[k] = found[k];
		}
	}
	if (!have)
		return ROUTE_NOT_FOUND;
	if (*out)
		return ROUTE_FOUND;
	*allow = allow_text(a, have);
	return ROUTE_WRONG_METHOD;
}
