/* Rows to JSON, on results made without a server. */
#include <stdlib.h>

#include "base/arena.h"
#include "db/rows_json.h"
#include "tap.h"

struct cell {
	const char *name;
	Oid type;
	const char *value; /* NULL is NULL */
};

static struct query
make_row(const struct cell *cells, int n)
{
	PGresult *res = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc attrs[16] = {{.name = NULL}};

	for (int i = 0; i < n; i++) {
		char *name = strdup(cells[i].name); /* PQsetResultAttrs copies it */

		attrs[i] = (PGresAttDesc){.name = name, .typid = cells[i].type};
	}
	PQsetResultAttrs(res, n, attrs);
	for (int i = 0; i < n; i++) {
		char *value = cells[i].value ? strdup(cells[i].value) : NULL;

		PQsetvalue(res, 0, i, value, value ? (int)strlen(value) : -1);
		free(value);
		free(attrs[i].name);
	}
	return (struct query){.result = res};
}

static void
expect(const struct cell *cells, int n, const char *want, const char *name)
{
	struct query q = make_row(cells, n);
	struct buf b;

	buf_init(&b, 4096);
	rows_json_row(&b, &q, 0);
	is_str(buf_view(&b), str_from(want), name);
	buf_fini(&b);
	PQclear(q.result);
}

#define EXPECT(want, name, ...)                                                                    \
	expect((const struct cell[]){__VA_ARGS__},                                                 \
	    (int)(sizeof((const struct cell[]){__VA_ARGS__}) / sizeof(struct cell)), (want),       \
	    (name))

static void
test_access(void)
{
	const struct cell cells[] = {{"n", 20, "42"},
	    {"id", 2950, "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"}, {"none", 25, NULL}};
	struct query q = make_row(cells, 3);
	struct buf b;

	is_int(rows_count(&q), 1, "one row");
	is_int(rows_i64(&q, 0, "n"), 42, "a number");
	is_int(rows_i64(&q, 0, "none"), 0, "NULL as a number");
	ok(!uuid_is_zero(rows_uuid(&q, 0, "id")) && uuid_is_zero(rows_uuid(&q, 0, "none")),
	    "UUIDs");
	is_int(rows_column(&q, "nope"), -1, "a column that is not there");
	buf_init(&b, 4096);
	rows_json_array(&b, &q, 0);
	is_str(buf_view(&b), STR("[]"), "no rows");
	buf_clear(&b);
	rows_json_array(&b, &q, 1);
	is_str(buf_view(&b),
	    STR("[{\"n\":42,\"id\":\"0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70\",\"none\":null}]"),
	    "a list");
	buf_fini(&b);
	PQclear(q.result);
}

int
main(void)
{
	EXPECT("{\"a\":true,\"b\":false,\"c\":null}", "booleans", {"a", 16, "t"}, {"b", 16, "f"},
	    {"c", 16, NULL});
	EXPECT("{\"a\":1,\"b\":-2.5,\"c\":null,\"d\":null}", "numbers", {"a", 23, "1"},
	    {"b", 701, "-2.5"}, {"c", 701, "NaN"}, {"d", 1700, "Infinity"});
	EXPECT("{\"a\":{\"x\": 1},\"b\":\"q\\\"\"}", "jsonb passes, text is quoted",
	    {"a", 3802, "{\"x\": 1}"}, {"b", 25, "q\""});
	EXPECT("{\"a\":\"2026-11-20T20:24:20.123Z\"}", "microseconds are cut",
	    {"a", 1184, "2026-11-20 20:24:20.123456+00"});
	EXPECT("{\"a\":\"2026-11-20T20:24:20.100Z\"}", "a tenth",
	    {"a", 1184, "2026-11-20 20:24:20.1+00"});
	EXPECT("{\"a\":\"2026-11-20T20:24:20.000Z\"}", "whole seconds",
	    {"a", 1184, "2026-11-20 20:24:20+00"});
	EXPECT(
	    "{\"b\":1}", "hidden columns", {"_a", 25, "x"}, {"b", 20, "1"}, {"_etag", 25, "\"1\""});
	EXPECT("{}", "only hidden columns", {"_a", 25, "x"});
	EXPECT("{\"a\":1,\"s\":{\"x\":2,\"y\":3},\"b\":4}", "a nested object", {"a", 20, "1"},
	    {"s.x", 20, "2"}, {"s.y", 20, "3"}, {"b", 20, "4"});
	EXPECT("{\"s\":{\"x\":2},\"t\":{\"y\":3}}", "two of them, at both ends", {"s.x", 20, "2"},
	    {"t.y", 20, "3"});
	test_access();
	return tap_done();
}
