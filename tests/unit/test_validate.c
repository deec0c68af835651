/* Bodies, query strings and path segments against tables like the generated ones, and the generated
 * ones themselves. */
#include <json-c/json.h>
#include <math.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/log.h"
#include "gen/errors.h"
#include "gen/inputs.h"
#include "http/json_in.h"
#include "http/validate.h"
#include "tap.h"

struct thing {
	uint64_t set, null;
	struct str name, kind, host, at;
	int64_t count;
	double size;
	bool on;
	struct uuid ref;
	struct str_list tags;
	struct uuid_list refs;
	struct json_object *box, *boxes, *any, *map;
};

enum { NAME, KIND, HOST, AT, COUNT, SIZE, ON, REF, TAGS, REFS, BOX, BOXES, ANY, MAP };

#define AT_(m) .offset = offsetof(struct thing, m)
#define ANY_LENGTH .least = 0, .most = INT64_MAX

static const char *const kinds[] = {"red", "green", NULL};
static struct pattern no_blank = {"^[^ ]+$", NULL};
static const struct field tag_item = {
    .name = "", .type = F_STR, .least = 1, .most = 5, .pattern = &no_blank};
static const struct field ref_item = {.name = "", .type = F_UUID, .format = "uuid"};
static const struct field inner_fields[] = {
    {.name = "x", .type = F_F64, .flags = F_REQUIRED, .fleast = 1, .fmost = 10},
    {.name = "list",
	.type = F_STR_LIST,
	.flags = F_UNIQUE,
	.least = 0,
	.most = 2,
	.item = &tag_item},
    {.name = "note", .type = F_STR, .flags = F_NULLABLE, .least = 0, .most = 3},
};
static const struct shape inner = {.name = "inner", .fields = inner_fields, .n = 3};
static struct pattern short_name = {"^[a-z.]{1,4}$", NULL};
static const struct field map_item = {
    .name = "", .type = F_SCALAR, .flags = F_NULLABLE, .least = 0, .most = 3};
static const struct field box_item = {.name = "", .type = F_OBJECT, .shape = &inner};
static const struct field thing_fields[] = {
    {.name = "name", .type = F_STR, .flags = F_REQUIRED, AT_(name), .least = 2, .most = 4},
    {.name = "kind", .type = F_STR, AT_(kind), ANY_LENGTH, .choices = kinds, .dflt = "green"},
    {.name = "host", .type = F_STR, .flags = F_NULLABLE, AT_(host), ANY_LENGTH, .format = "host"},
    {.name = "at", .type = F_TIME, AT_(at), .format = "date-time"},
    {.name = "count",
	.type = F_I64,
	.flags = F_NULLABLE,
	AT_(count),
	.least = -5,
	.most = 100,
	.dflt = "50"},
    {.name = "size", .type = F_F64, AT_(size), .fleast = 0.5, .fmost = 2.5},
    {.name = "on", .type = F_BOOL, AT_(on), .dflt = "true"},
    {.name = "ref", .type = F_UUID, AT_(ref), .format = "uuid"},
    {.name = "tags",
	.type = F_STR_LIST,
	.flags = F_UNIQUE,
	AT_(tags),
	.least = 1,
	.most = 3,
	.item = &tag_item},
    {.name = "refs",
	.type = F_UUID_LIST,
	.flags = F_UNIQUE | F_NULLABLE,
	AT_(refs),
	.least = 0,
	.most = 3,
	.item = &ref_item},
    {.name = "box", .type = F_OBJECT, .flags = F_NULLABLE, AT_(box), .shape = &inner},
    {.name = "boxes", .type = F_OBJECT_LIST, AT_(boxes), .least = 0, .most = 2, .item = &box_item},
    {.name = "any", .type = F_JSON, AT_(any)},
    {.name = "map",
	.type = F_MAP,
	AT_(map),
	.least = 0,
	.most = 5,
	.pattern = &short_name,
	.item = &map_item},
};
static const struct shape thing_shape = {.name = "thing",
    .fields = thing_fields,
    .n = sizeof(thing_fields) / sizeof(thing_fields[0]),
    .size = sizeof(struct thing),
    .set_offset = offsetof(struct thing, set),
    .null_offset = offsetof(struct thing, null)};

#define UUID_A "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f70"
#define UUID_UPPER "0193481C-6C2B-7D5E-8F3A-2B1C4D5E6F70"
#define UUID_B "0193481c-6c2b-7d5e-8f3a-2b1c4d5e6f71"

/* pointers and codes of all violations, "/a=code /b=code" */
static const struct {
	const char *json;
	const char *want; /* "": accepted */
} bodies[] = {
    {"{\"name\":\"abc\"}", ""},
    {"{\"name\":\"\\u00e4\\u00f6\\u00fc\\u00df\"}", ""}, /* four code points, eight bytes */
    {"{\"name\":\"ab\",\"count\":100.0}", ""},
    {"{\"name\":\"ab\",\"count\":-5}", ""},
    {"{\"name\":\"ab\",\"count\":null,\"host\":null,\"refs\":null,\"box\":null}", ""},
    {"{\"name\":\"ab\",\"size\":1}", ""},
    {"{\"name\":\"ab\",\"any\":[{\"deep\":[]}]}", ""},
    {"{\"name\":\"ab\",\"any\":null}", ""},
    {"{\"name\":\"ab\",\"box\":{\"x\":1,\"list\":[\"a\",\"b\"],\"note\":null}}", ""},
    {"{\"name\":\"ab\",\"boxes\":[{\"x\":1},{\"x\":10}]}", ""},
    {"{\"name\":\"ab\",\"refs\":[\"" UUID_A "\",\"" UUID_B "\"]}", ""},
    {"{\"name\":\"ab\",\"refs\":[]}", ""},

    {"{\"name\":\"ab\",\"map\":{}}", ""},
    {"{\"name\":\"ab\",\"map\":{\"a\":\"\\u00e4\\u00e4\\u00e4\",\"b\":1,\"c\":-0.5,\"d.e\":true,\"f\":null}}",
	""},

    {"null", "=invalid_type"},
    {"[]", "=invalid_type"},
    {"\"x\"", "=invalid_type"},
    {"7", "=invalid_type"},
    {"{}", "/name=required"},
    {"{\"name\":null}", "/name=null_not_allowed"},
    {"{\"name\":1}", "/name=invalid_type"},
    {"{\"name\":[\"ab\"]}", "/name=invalid_type"},
    {"{\"name\":\"a\"}", "/name=too_short"},
    {"{\"name\":\"abcde\"}", "/name=too_long"},
    {"{\"name\":\"ab\",\"kind\":\"blue\"}", "/kind=not_in_list"},
    {"{\"name\":\"ab\",\"kind\":\"\"}", "/kind=not_in_list"},
    {"{\"name\":\"ab\",\"kind\":\"Red\"}", "/kind=not_in_list"},
    {"{\"name\":\"ab\",\"host\":\"a b\"}", "/host=invalid_format"},
    {"{\"name\":\"ab\",\"at\":\"2026-02-30T00:00:00Z\"}", "/at=invalid_format"},
    {"{\"name\":\"ab\",\"at\":1760000000}", "/at=invalid_type"},
    {"{\"name\":\"ab\",\"count\":101}", "/count=too_large"},
    {"{\"name\":\"ab\",\"count\":-6}", "/count=too_small"},
    {"{\"name\":\"ab\",\"count\":1.5}", "/count=invalid_type"},
    {"{\"name\":\"ab\",\"count\":1e300}", "/count=invalid_type"},
    {"{\"name\":\"ab\",\"count\":9007199254740993.0}", "/count=invalid_type"},
    {"{\"name\":\"ab\",\"count\":9223372036854775807}", "/count=too_large"},
    {"{\"name\":\"ab\",\"count\":\"1\"}", "/count=invalid_type"},
    {"{\"name\":\"ab\",\"count\":true}", "/count=invalid_type"},
    {"{\"name\":\"ab\",\"count\":{}}", "/count=invalid_type"},
    {"{\"name\":\"ab\",\"size\":0.4}", "/size=too_small"},
    {"{\"name\":\"ab\",\"size\":2.6}", "/size=too_large"},
    {"{\"name\":\"ab\",\"size\":\"1\"}", "/size=invalid_type"},
    {"{\"name\":\"ab\",\"size\":null}", "/size=null_not_allowed"},
    {"{\"name\":\"ab\",\"on\":1}", "/on=invalid_type"},
    {"{\"name\":\"ab\",\"on\":\"true\"}", "/on=invalid_type"},
    {"{\"name\":\"ab\",\"ref\":\"nope\"}", "/ref=invalid_format"},
    {"{\"name\":\"ab\",\"ref\":5}", "/ref=invalid_type"},
    {"{\"name\":\"ab\",\"tags\":\"x\"}", "/tags=invalid_type"},
    {"{\"name\":\"ab\",\"tags\":{}}", "/tags=invalid_type"},
    {"{\"name\":\"ab\",\"tags\":[]}", "/tags=too_few_items"},
    {"{\"name\":\"ab\",\"tags\":[\"a\",\"b\",\"c\",\"d\"]}", "/tags=too_many_items"},
    {"{\"name\":\"ab\",\"tags\":[\"a\",\"b\",\"a\"]}", "/tags/2=duplicate_item"},
    {"{\"name\":\"ab\",\"tags\":[\"a\",null,7]}", "/tags/1=null_not_allowed /tags/2=invalid_type"},
    {"{\"name\":\"ab\",\"tags\":[\"\",\"toolong\",\"a b\"]}",
	"/tags/0=too_short /tags/1=too_long /tags/2=pattern_mismatch"},
    {"{\"name\":\"ab\",\"refs\":[\"" UUID_A "\",\"" UUID_UPPER "\"]}", "/refs/1=duplicate_item"},
    {"{\"name\":\"ab\",\"refs\":[\"x\"]}", "/refs/0=invalid_format"},
    {"{\"name\":\"ab\",\"box\":7}", "/box=invalid_type"},
    {"{\"name\":\"ab\",\"box\":[]}", "/box=invalid_type"},
    {"{\"name\":\"ab\",\"box\":{}}", "/box/x=required"},
    {"{\"name\":\"ab\",\"box\":{\"x\":0,\"y\":1}}", "/box/x=too_small /box/y=unknown_field"},
    {"{\"name\":\"ab\",\"box\":{\"x\":1,\"list\":[\"a\",\"a\"]}}", "/box/list/1=duplicate_item"},
    {"{\"name\":\"ab\",\"boxes\":[{\"x\":1},{\"x\":11}]}", "/boxes/1/x=too_large"},
    {"{\"name\":\"ab\",\"boxes\":[null]}", "/boxes/0=null_not_allowed"},
    {"{\"name\":\"ab\",\"boxes\":[[]]}", "/boxes/0=invalid_type"},
    {"{\"name\":\"ab\",\"boxes\":{}}", "/boxes=invalid_type"},
    {"{\"name\":\"ab\",\"boxes\":[{\"x\":1},{\"x\":1},{\"x\":1}]}", "/boxes=too_many_items"},
    {"{\"name\":\"ab\",\"map\":null}", "/map=null_not_allowed"},
    {"{\"name\":\"ab\",\"map\":[]}", "/map=invalid_type"},
    {"{\"name\":\"ab\",\"map\":{\"a\":\"long\",\"b\":[],\"c\":{}}}",
	"/map/a=too_long /map/b=invalid_type /map/c=invalid_type"},
    {"{\"name\":\"ab\",\"map\":{\"\":1,\"B\":2,\"x/y\":3,\"abcde\":4}}",
	"/map/=pattern_mismatch /map/B=pattern_mismatch /map/x~1y=pattern_mismatch "
	"/map/abcde=pattern_mismatch"},
    {"{\"name\":\"ab\",\"map\":{\"a\":1,\"b\":1,\"c\":1,\"d\":1,\"e\":1,\"f\":1}}",
	"/map=too_many_items"},
    {"{\"name\":\"ab\",\"Name\":\"ab\"}", "/Name=unknown_field"},
    {"{\"name\":\"ab\",\"a/b~c\":1}", "/a~1b~0c=unknown_field"},
    {"{\"name\":\"ab\",\"\":1}", "/=unknown_field"},
    {"{\"nam\":\"ab\",\"count\":\"x\"}", "/nam=unknown_field /count=invalid_type /name=required"},
};

static const struct {
	struct str query;
	const struct err *err;
	const char *want;
} queries[] = {
    {STR_INIT("name=abc"), NULL, ""},
    {STR_INIT("name=a%20b&count=-5&on=false"), NULL, ""},
    {STR_INIT("name=a+b"), NULL, ""},
    {STR_INIT("name=%C3%A4%C3%B6"), NULL, ""},
    {STR_INIT("name=\xc3\xa4\xc3\xb6"), NULL, ""},
    {STR_INIT("%6eame=abc"), NULL, ""},
    {STR_INIT("name=abc&"), NULL, ""},
    {STR_INIT("name=abc&tags=a,b"), NULL, ""},
    {STR_INIT("name=abc&tags=a&tags=b"), NULL, ""},
    {STR_INIT("name=abc&refs=" UUID_A "," UUID_B), NULL, ""},
    {STR_INIT("name=abc&at=2026-11-20T20:24:20%2B01:00"), NULL, ""},

    {STR_INIT(""), &err_invalid_parameter, "/query/name=required"},
    {STR_INIT("name"), &err_invalid_parameter, "/query/name=too_short"},
    {STR_INIT("name="), &err_invalid_parameter, "/query/name=too_short"},
    {STR_INIT("name=abcde"), &err_invalid_parameter, "/query/name=too_long"},
    {STR_INIT("name=ab&name=ab"), &err_invalid_parameter, "/query/name=repeated"},
    {STR_INIT("name=ab&count=1.0"), &err_invalid_parameter, "/query/count=invalid_type"},
    {STR_INIT("name=ab&count="), &err_invalid_parameter, "/query/count=invalid_type"},
    {STR_INIT("name=ab&count=+5"), &err_invalid_parameter, "/query/count=invalid_type"},
    {STR_INIT("name=ab&count=99999999999999999999"), &err_invalid_parameter,
	"/query/count=invalid_type"},
    {STR_INIT("name=ab&count=101"), &err_invalid_parameter, "/query/count=too_large"},
    {STR_INIT("name=ab&on=1"), &err_invalid_parameter, "/query/on=invalid_type"},
    {STR_INIT("name=ab&on=TRUE"), &err_invalid_parameter, "/query/on=invalid_type"},
    {STR_INIT("name=ab&kind=blue"), &err_invalid_parameter, "/query/kind=not_in_list"},
    {STR_INIT("name=ab&ref=x"), &err_invalid_parameter, "/query/ref=invalid_format"},
    {STR_INIT("name=ab&tags=a,"), &err_invalid_parameter, "/query/tags=too_short"},
    {STR_INIT("name=ab&tags="), &err_invalid_parameter, "/query/tags=too_short"},
    {STR_INIT("name=ab&tags=a,b,c,d"), &err_invalid_parameter, "/query/tags=too_many_items"},
    {STR_INIT("name=ab&tags=a&tags=b,c&tags=d"), &err_invalid_parameter,
	"/query/tags=too_many_items"},
    {STR_INIT("name=ab&tags=a&tags=a"), &err_invalid_parameter, "/query/tags/1=duplicate_item"},
    {STR_INIT("name=ab&refs=" UUID_A ",x"), &err_invalid_parameter, "/query/refs=invalid_format"},
    {STR_INIT("name=a%00b"), &err_invalid_parameter, "/query/name=nul_character"},
    {STR_INIT("name=ab&%00=1"), &err_invalid_parameter, "/query/%00=nul_character"},
    {STR_INIT("name=a\0b"), &err_invalid_parameter, "/query/name=nul_character"},
    {STR_INIT("name=%ff%fe"), &err_invalid_parameter, "/query/name=invalid_utf8"},
    {STR_INIT("name=%ed%a0%80"), &err_invalid_parameter, "/query/name=invalid_utf8"},
    {STR_INIT("name=ab&nope=1"), &err_unknown_parameter, "/query/nope=unknown_parameter"},
    {STR_INIT("name=ab&nope=1&count=x"), &err_unknown_parameter,
	"/query/nope=unknown_parameter /query/count=invalid_type"},
    {STR_INIT("name=ab&Name=ab"), &err_unknown_parameter, "/query/Name=unknown_parameter"},
    {STR_INIT("name=ab&count%5Bgte%5D=1"), &err_unknown_parameter,
	"/query/count[gte]=unknown_parameter"},
    {STR_INIT("name=ab&a%2Fb=1"), &err_unknown_parameter, "/query/a~1b=unknown_parameter"},
    {STR_INIT("name=ab&=1"), &err_unknown_parameter, "/query/=unknown_parameter"},
};

static struct str
summary(struct arena *a, const struct violations *v)
{
	struct str out = STR("");

	for (size_t i = 0; i < v->n; i++)
		out = str_fmt(a, "%.*s%s%.*s=%.*s", STR_ARG(out), i ? " " : "",
		    STR_ARG(v->v[i].pointer), STR_ARG(v->v[i].code));
	return out;
}

static const struct err *
body(struct arena *a, const struct shape *s, struct str text, void *out, struct violations *v)
{
	struct json_object *o;
	const struct err *e;

	v->n = 0;
	e = json_in_parse(a, text, v, &o);
	return e ? e : validate_body(a, s, o, out, v);
}

static void
test_bodies(struct arena *a)
{
	TAP_EACH(bodies, c)
	{
		struct thing t;
		struct violations v;
		const struct err *e = body(a, &thing_shape, str_from(c->json), &t, &v);

		ok(e == (*c->want ? &err_validation_failed : NULL), "%s", c->json);
		is_str(summary(a, &v), str_from(c->want), "its violations");
		arena_reset(a);
	}
}

static void
test_body_values(struct arena *a)
{
	struct thing t;
	struct violations v;
	struct uuid want;
	const char *json =
	    "{\"name\":\"ab\",\"host\":null,\"at\":\"2026-11-20T20:24:20Z\",\"count\":7,\"size\":1.25,"
	    "\"on\":false,\"ref\":\"" UUID_A "\",\"tags\":[\"x\",\"y\"],\"refs\":[\"" UUID_B "\"],"
	    "\"box\":{\"x\":2}}";

	must(uuid_parse(STR(UUID_B), &want));
	ok(!body(a, &thing_shape, str_from(json), &t, &v), "everything at once");
	is_str(t.name, STR("ab"), "a string");
	is_str(t.at, STR("2026-11-20T20:24:20Z"), "a time");
	is_int(t.count, 7, "an integer");
	ok(t.size > 1.24 && t.size < 1.26, "a number");
	ok(!t.on, "a boolean");
	is_int((int64_t)t.tags.n, 2, "a list");
	is_str(t.tags.v[1], STR("y"), "its second item");
	ok(t.refs.n == 1 && uuid_eq(t.refs.v[0], want), "a list of ids");
	ok(json_object_is_type(t.box, json_type_object), "an object");
	ok(!t.boxes && !t.any && !t.map, "what is absent is empty");
	is_str(t.kind, STR("green"), "a default");
	ok(FIELD_SET(&t, HOST) && FIELD_NULL(&t, HOST) && !t.host.p, "given as null");
	ok(FIELD_SET(&t, BOX) && !FIELD_NULL(&t, BOX), "given");
	ok(!FIELD_SET(&t, KIND) && !FIELD_SET(&t, BOXES) && !FIELD_NULL(&t, BOXES), "not given");

	ok(!body(a, &thing_shape, STR("{\"name\":\"ab\",\"count\":null}"), &t, &v),
	    "null for a member with a default");
	ok(FIELD_NULL(&t, COUNT) && t.count == 0 && t.on, "stays null; other defaults are filled");
	ok(!body(a, &thing_shape, STR("{\"name\":\"ab\",\"count\":12.0}"), &t, &v) && t.count == 12,
	    "12.0 is an integer");
}

/* More violations than are kept. */
static void
test_many(struct arena *a)
{
	struct buf b;
	struct thing t;
	struct violations v;

	buf_init(&b, 1 << 20);
	for (int i = 0; i < 500; i++)
		buf_fmt(&b, "%s\"m%d\":%d", i ? "," : "{", i, i);
	buf_char(&b, '}');
	ok(body(a, &thing_shape, buf_view(&b), &t, &v) == &err_validation_failed,
	    "500 unknown members");
	is_int((int64_t)v.n, VIOLATIONS_MAX, "the first ones are named");
	is_str(v.v[19].pointer, STR("/m19"), "in order");
	ok(arena_used(a) < 1 << 20, "and the others cost nothing");
	buf_fini(&b);
}

static void
test_queries(struct arena *a)
{
	TAP_EACH(queries, c)
	{
		struct thing t;
		struct violations v = {.n = 0};
		const struct err *e = validate_query(a, &thing_shape, c->query, &t, &v);

		ok(e == c->err, "?%s", c->query.p);
		is_str(summary(a, &v), str_from(c->want), "its violations");
		arena_reset(a);
	}
}

static void
test_query_values(struct arena *a)
{
	struct thing t;
	struct violations v = {.n = 0};

	ok(!validate_query(a, &thing_shape, STR("tags=a&name=x+y&tags=b,c&count=9"), &t, &v),
	    "a query");
	is_str(t.name, STR("x y"), "plus is a blank");
	is_int((int64_t)t.tags.n, 3, "lists add up");
	is_str(t.tags.v[2], STR("c"), "in order");
	ok(t.count == 9 && t.on && FIELD_SET(&t, COUNT) && !FIELD_SET(&t, ON),
	    "values and defaults");
	ok(!validate_query(a, NULL, STR(""), NULL, &v) && v.n == 0, "no parameters, none given");
	ok(!validate_query(a, NULL, STR_NONE, NULL, &v) && v.n == 0, "no query at all");
	ok(validate_query(a, NULL, STR("x=1"), NULL, &v) == &err_unknown_parameter,
	    "no parameters, one given");
	is_str(v.v[0].pointer, STR("/query/x"), "it is named");
}

static void
test_path(struct arena *a)
{
	static const struct field f = {.name = "ref", .type = F_UUID, AT_(ref), .format = "uuid"};
	static const char *const bad[] = {
	    "", "x", UUID_A "0", "%30" UUID_A, UUID_A "\n", "..", "\xff"};
	struct violations v = {.n = 0};
	struct thing t = {.set = 0};
	struct uuid want;

	must(uuid_parse(STR(UUID_A), &want));
	ok(!validate_path(a, &f, STR(UUID_UPPER), &t, &v) && uuid_eq(t.ref, want), "an id");
	TAP_EACH(bad, segment)
	{
		v.n = 0;
		ok(validate_path(a, &f, str_from(*segment), &t, &v) == &err_invalid_parameter,
		    "'%s'", *segment);
		is_str(v.v[0].pointer, STR("/path/ref"), "it is named");
	}
	v.n = 0;
	ok(!validate_text(a, &thing_fields[COUNT], STR("header"), STR("101"), &t, &v), "a header");
	is_str(v.v[0].pointer, STR("/header/count"), "it is named");
	ok(!validate_text(a, &thing_fields[NAME], STR("header"), STR("a\0b"), &t, &v),
	    "a NUL in it");
}

/* The contract's own tables: a few bodies that must keep working, or failing. */
static void
test_contract(struct arena *a)
{
	struct createPrinter_body c;
	struct updatePrinter_body u;
	struct listPrinters_query q;
	struct createApiKey_body k;
	struct rotateApiKey_body r;
	struct violations v = {.n = 0};

	ok(!body(a, &createPrinter_body_shape, STR("{\"name\":\"Bench 4\",\"protocol\":\"bambu\"}"),
	       &c, &v),
	    "a printer");
	ok(c.enabled && !c.drain && c.tags.n == 0, "with defaults");
	body(a, &createPrinter_body_shape,
	    STR("{\"name\":\" x\",\"protocol\":\"bambu\",\"host\":\"1.2.3.400\",\"port\":0,\"bed_volume\":{\"x_mm\":1}}"),
	    &c, &v);
	is_str(summary(a, &v),
	    STR("/name=pattern_mismatch /host=invalid_format /port=too_small /bed_volume/y_mm=required "
		"/bed_volume/z_mm=required"),
	    "a bad printer");
	ok(!body(a, &updatePrinter_body_shape, STR("{\"notes\":null}"), &u, &v) &&
		FIELD_NULL(&u, UPDATEPRINTER_B_NOTES),
	    "a patch that clears");
	ok(!body(a, &updatePrinter_body_shape, STR("{}"), &u, &v) && !u.enabled && u.set == 0,
	    "a patch has no defaults");
	ok(!validate_query(
	       a, &listPrinters_query_shape, STR("status=idle,printing&limit=100"), &q, &v),
	    "a list");
	ok(q.limit == 100 && q.status.n == 2, "its filters");
	is_str(q.sort, STR("name"), "its default order");
	body(a, &createApiKey_body_shape,
	    STR("{\"name\":\"k\",\"capabilities\":[\"operations.read\",\"root\"],\"cidrs\":[\"10.0.0.1/8\"]}"),
	    &k, &v);
	is_str(summary(a, &v), STR("/capabilities/1=not_in_list /cidrs/0=invalid_format"),
	    "a bad key");
	ok(!body(a, &rotateApiKey_body_shape, STR("{}"), &r, &v) && r.grace_seconds == 86400,
	    "a rotation");
}

/* Members of which one, or exactly one, is needed, in bodies that are no choice of objects. */
static void
test_one_of_these(struct arena *a)
{
	struct createQueueItem_body c;
	struct bulkUpdateQueue_body b;
	struct violations v = {.n = 0};

	ok(!body(a, &createQueueItem_body_shape, STR("{\"name\":\"x\"}"), &c, &v),
	    "a name will do");
	ok(!body(a, &createQueueItem_body_shape, STR("{\"file_id\":\"" UUID_A "\"}"), &c, &v),
	    "a file will do");
	ok(c.copies == 1 && c.priority == 0 && !c.held, "with defaults");
	body(a, &createQueueItem_body_shape, STR("{\"notes\":\"x\"}"), &c, &v);
	is_str(summary(a, &v), STR("=required"), "neither");
	body(a, &createQueueItem_body_shape,
	    STR("{\"name\":\"x\",\"metadata\":{\"a\":[]},\"requirements\":{\"slots\":[null,{\"color\":\"red\"}]}}"),
	    &c, &v);
	is_str(summary(a, &v),
	    STR("/metadata/a=invalid_type /requirements/slots/1/color=too_short"), "a bad item");
	ok(!body(a, &bulkUpdateQueue_body_shape,
	       STR("{\"ids\":[\"" UUID_A "\"],\"patch\":{\"held\":true}}"), &b, &v),
	    "a patch");
	body(a, &bulkUpdateQueue_body_shape,
	    STR("{\"ids\":[\"" UUID_A "\"],\"patch\":{},\"action\":\"hold\"}"), &b, &v);
	is_str(summary(a, &v), STR("=too_many_members"), "both");
	body(a, &bulkUpdateQueue_body_shape, STR("{\"ids\":[\"" UUID_A "\"]}"), &b, &v);
	is_str(summary(a, &v), STR("=required"), "none");
}

/* One of several objects: what each of them takes, and what none takes. */
static const struct {
	const char *json;
	const char *want;
} commands[] = {
    {"{\"command\":\"pause\"}", ""},
    {"{\"command\":\"pause\",\"expires_in_s\":600}", ""},
    {"{\"command\":\"gcode\",\"lines\":[\"G28\"]}", ""},
    {"{\"command\":\"set_temperatures\",\"bed_c\":0}", ""},
    {"{\"command\":\"speed\",\"level\":\"sport\"}", ""},
    {"{\"command\":\"skip_objects\",\"object_ids\":[1,2]}", ""},

    {"[]", "=invalid_type"},
    {"{}", "/command=required"},
    {"{\"command\":null}", "/command=null_not_allowed"},
    {"{\"command\":7}", "/command=invalid_type"},
    {"{\"command\":\"dance\",\"x\":1}", "/command=not_in_list"},
    {"{\"command\":\"PAUSE\"}", "/command=not_in_list"},
    {"{\"command\":\"pause\",\"lines\":[\"G28\"]}", "/lines=unknown_field"},
    {"{\"command\":\"gcode\"}", "/lines=required"},
    {"{\"command\":\"gcode\",\"lines\":[]}", "/lines=too_few_items"},
    {"{\"command\":\"gcode\",\"lines\":[\"G28\\nM112\"]}", "/lines/0=pattern_mismatch"},
    {"{\"command\":\"pause\",\"expires_in_s\":601}", "/expires_in_s=too_large"},
    {"{\"command\":\"set_temperatures\"}", "=required"},
    {"{\"command\":\"set_temperatures\",\"nozzle\":1}", "=required"},
    {"{\"command\":\"set_temperatures\",\"nozzle_c\":501}", "/nozzle_c=too_large"},
    {"{\"command\":\"speed\",\"level\":\"sport\",\"percent\":50}", "=too_many_members"},
    {"{\"command\":\"skip_objects\",\"object_ids\":[1.5,-1]}",
	"/object_ids/0=invalid_type /object_ids/1=too_small"},
};

static void
test_variants(struct arena *a)
{
	struct commandPrinter_body c;
	struct violations v;

	TAP_EACH(commands, t)
	{
		const struct err *e = body(
		    a, &commandPrinter_body_shape, str_from(t->json), &c, &v);

		ok(e == (*t->want ? &err_validation_failed : NULL), "%s", t->json);
		is_str(summary(a, &v), str_from(t->want), "its violations");
		arena_reset(a);
	}
	ok(!body(a, &commandPrinter_body_shape,
	       STR("{\"bed_c\":60,\"command\":\"set_temperatures\"}"), &c, &v),
	    "a command");
	is_str(c.command, STR("set_temperatures"), "its name");
	is_int(c.expires_in_s, 30, "a default");
	ok(c.bed_c > 59 && c.bed_c < 61 && FIELD_SET(&c, COMMANDPRINTER_B_BED_C) &&
		FIELD_SET(&c, COMMANDPRINTER_B_COMMAND),
	    "what was given");
	ok(!FIELD_SET(&c, COMMANDPRINTER_B_NOZZLE_C) && !FIELD_SET(&c, COMMANDPRINTER_B_LINES) &&
		c.lines.n == 0,
	    "and nothing else");
	body(a, &commandPrinter_body_shape, STR("{\"command\":\"set_temperatures\"}"), &c, &v);
	is_str(v.v[0].message, STR("needs at least one of nozzle_c, bed_c, chamber_c"),
	    "what one of is named");
}

int
main(void)
{
	struct arena *a = arena_new(1 << 24);

	test_bodies(a);
	test_body_values(a);
	arena_reset(a);
	test_many(a);
	test_queries(a);
	test_query_values(a);
	test_path(a);
	test_contract(a);
	test_one_of_these(a);
	arena_reset(a);
	test_variants(a);
	arena_free(a);
	return tap_done();
}
