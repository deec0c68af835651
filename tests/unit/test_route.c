/* Paths and methods → operations. */
#include "base/arena.h"
#include "http/route.h"
#include "tap.h"

static const struct route table[] = {
    {.operation = "list", .method = "GET", .path = STR_INIT("/v1/things")},
    {.operation = "create", .method = "POST", .path = STR_INIT("/v1/things")},
    {.operation = "read", .method = "GET", .path = STR_INIT("/v1/things/{thing_id}")},
    {.operation = "change", .method = "PATCH", .path = STR_INIT("/v1/things/{thing_id}")},
    {.operation = "remove", .method = "DELETE", .path = STR_INIT("/v1/things/{thing_id}")},
    {.operation = "part",
	.method = "GET",
	.path = STR_INIT("/v1/things/{thing_id}/parts/{part_id}")},
    {.operation = "put",
	.method = "PUT",
	.path = STR_INIT("/v1/things/{thing_id}/parts/{part_id}")},
    {.operation = "act", .method = "POST", .path = STR_INIT("/v1/things/{thing_id}/act")},
    {.operation = "count", .method = "GET", .path = STR_INIT("/v1/things/stats")},
};
enum { N = sizeof(table) / sizeof(table[0]) };

static const struct {
	const char *method, *path;
	enum route_match want;
	const char *operation; /* ROUTE_FOUND */
	const char *allow;     /* ROUTE_WRONG_METHOD */
	const char *seg0, *seg1;
} cases[] = {
    {"GET", "/v1/things", ROUTE_FOUND, "list", NULL, NULL, NULL},
    {"HEAD", "/v1/things", ROUTE_FOUND, "list", NULL, NULL, NULL},
    {"POST", "/v1/things", ROUTE_FOUND, "create", NULL, NULL, NULL},
    {"GET", "/v1/things/a", ROUTE_FOUND, "read", NULL, "a", NULL},
    {"HEAD", "/v1/things/a", ROUTE_FOUND, "read", NULL, "a", NULL},
    {"PATCH", "/v1/things/a%2Fb", ROUTE_FOUND, "change", NULL, "a%2Fb", NULL},
    {"DELETE", "/v1/things/{thing_id}", ROUTE_FOUND, "remove", NULL, "{thing_id}", NULL},
    {"GET", "/v1/things/a/parts/b", ROUTE_FOUND, "part", NULL, "a", "b"},
    {"PUT", "/v1/things/a/parts/b", ROUTE_FOUND, "put", NULL, "a", "b"},
    {"POST", "/v1/things/..", ROUTE_WRONG_METHOD, NULL, "DELETE, GET, HEAD, OPTIONS, PATCH", NULL,
	NULL},
    {"POST", "/v1/things/a/act", ROUTE_FOUND, "act", NULL, "a", NULL},
    {"GET", "/v1/things/stats", ROUTE_FOUND, "count", NULL, NULL, NULL},
    {"DELETE", "/v1/things/stats", ROUTE_WRONG_METHOD, NULL, "GET, HEAD, OPTIONS", NULL, NULL},
    {"POST", "/v1/things/stats/act", ROUTE_FOUND, "act", NULL, "stats", NULL},

    {"PUT", "/v1/things", ROUTE_WRONG_METHOD, NULL, "GET, HEAD, OPTIONS, POST", NULL, NULL},
    {"OPTIONS", "/v1/things", ROUTE_WRONG_METHOD, NULL, "GET, HEAD, OPTIONS, POST", NULL, NULL},
    {"get", "/v1/things", ROUTE_WRONG_METHOD, NULL, "GET, HEAD, OPTIONS, POST", NULL, NULL},
    {"", "/v1/things", ROUTE_WRONG_METHOD, NULL, "GET, HEAD, OPTIONS, POST", NULL, NULL},
    {"TRACE", "/v1/things/a/act", ROUTE_WRONG_METHOD, NULL, "OPTIONS, POST", NULL, NULL},
    {"POST", "/v1/things/a/parts/b", ROUTE_WRONG_METHOD, NULL, "GET, HEAD, OPTIONS, PUT", NULL,
	NULL},

    {"GET", "", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/thing", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/thingsx", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/things/", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1//things", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "//v1/things", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "v1/things", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/V1/things", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/t%68ings", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/things/a/", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/things/a/parts", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/things/a/parts/", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/things//parts/b", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "/v1/things/a/parts/b/c", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
    {"GET", "*", ROUTE_NOT_FOUND, NULL, NULL, NULL, NULL},
};

int
main(void)
{
	struct arena *a = arena_new(1 << 16);

	TAP_EACH(cases, c)
	{
		const struct route *found;
		struct str segs[ROUTE_SEGS_MAX], allow;
		enum route_match got = route_find(
		    table, N, str_from(c->method), str_from(c->path), &found, segs, &allow, a);

		ok(got == c->want, "%s %s", c->method, c->path);
		if (c->operation)
			is_z(found ? found->operation : "none", c->operation, "its operation");
		else
			ok(!found, "no operation");
		if (c->allow)
			is_str(allow, str_from(c->allow), "its Allow");
		if (c->seg0)
			is_str(segs[0], str_from(c->seg0), "its first parameter");
		if (c->seg1)
			is_str(segs[1], str_from(c->seg1), "its second parameter");
		arena_reset(a);
	}
	arena_free(a);
	return tap_done();
}
