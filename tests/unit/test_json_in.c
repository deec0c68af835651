/* Bodies that are not one well-formed JSON document, or not one that every reader understands
 * alike. */
#include <json-c/json.h>

#include "base/arena.h"
#include "base/buf.h"
#include "gen/errors.h"
#include "http/json_in.h"
#include "http/validate.h"
#include "tap.h"

static const struct {
	struct str text;
	const char *code;    /* NULL: accepted */
	const char *pointer; /* of the violation */
} cases[] = {
    {STR_INIT("{}"), NULL, NULL},
    {STR_INIT(" \t\r\n{ \"a\" : [ 1 , 2.5 , \"x\" , null , true ] } \n"), NULL, NULL},
    {STR_INIT("[]"), NULL, NULL},
    {STR_INIT("null"), NULL, NULL},
    {STR_INIT("12"), NULL, NULL},
    {STR_INIT("-0.5e-3"), NULL, NULL},
    {STR_INIT("\"text\""), NULL, NULL},
    {STR_INIT("{\"a\":{\"b\":1},\"c\":{\"b\":1}}"), NULL, NULL},
    {STR_INIT("{\"a\":\"x:y\",\"b\":\":\"}"), NULL, NULL},
    {STR_INIT("{\"a:b\":1,\"a\":2}"), NULL, NULL},
    {STR_INIT("{\"a\":\"\\\":\\\"\",\"b\":2}"), NULL, NULL},
    {STR_INIT("{\"n\":9223372036854775807}"), NULL, NULL},
    {STR_INIT("{\"n\":-9223372036854775807}"), NULL, NULL},
    {STR_INIT("{\"n\":0.0e0}"), NULL, NULL},
    {STR_INIT("{\"n\":0e5}"), NULL, NULL},
    {STR_INIT("{\"n\":-01}"), NULL, NULL}, /* json-c reads -1 and leaves no trace of the zero */
    {STR_INIT("{\"n\":\"\xf0\x9f\x96\xa8 \\ud83d\\udda8\"}"), NULL, NULL},

    {STR_INIT(""), "empty_body", ""},
    {STR_INIT(" \r\n\t"), "empty_body", ""},
    {STR_INIT("{"), "syntax", ""},
    {STR_INIT("{\"a\":"), "syntax", "/a"},
    {STR_INIT("{\"a\":}"), "syntax", "/a"},
    {STR_INIT("{\"a\":[1,2,}"), "syntax", "/a/2"},
    {STR_INIT("{\"a\":{\"b\":tru}}"), "syntax", "/a/b"},
    {STR_INIT("{'a':1}"), "syntax", "/a"},
    {STR_INIT("{\"a\":1,}"), "syntax", ""},
    {STR_INIT("[1,]"), "syntax", "/1"},
    {STR_INIT("{\"a\":01}"), "syntax", "/a"},
    {STR_INIT("{\"a\":1.}"), "number_out_of_range", "/a"},
    {STR_INIT("{\"a\":1.e5}"), "number_out_of_range", "/a"},
    {STR_INIT("{\"a\":-01.5}"), "number_out_of_range", "/a"},
    {STR_INIT("{\"a\":-}"), "syntax", "/a"},
    {STR_INIT("{\"a\":--1}"), "syntax", "/a"},
    {STR_INIT("{\"a\":1e}"), "syntax", "/a"},
    {STR_INIT("{\"a\":1e5e5}"), "syntax", "/a"},
    {STR_INIT("{\"a\":0x10}"), "syntax", "/a"},
    {STR_INIT("{\"a\":'x'}"), "syntax", "/a"},
    {STR_INIT("{\"a\":.5}"), "syntax", "/a"},
    {STR_INIT("{\"a\":+1}"), "syntax", "/a"},
    {STR_INIT("{\"a\":True}"), "syntax", "/a"},
    {STR_INIT("{\"a\":1}/* no comments */"), "syntax", ""},
    {STR_INIT("{\"a\":\"\\x\"}"), "syntax", "/a"},
    {STR_INIT("{\"a\":\"\\u12\"}"), "syntax", "/a"},
    {STR_INIT("{\"a\":\"raw\x01\"}"), "syntax", "/a"},
    {STR_INIT("\xef\xbb\xbf{}"), "syntax", ""},
    {STR_INIT("{\"a\":1}{\"b\":2}"), "syntax", ""},
    {STR_INIT("{\"a\":1} x"), "syntax", ""},
    {STR_INIT("{\"a\":1} : 2"), "syntax", ""},
    {STR_INIT("1 2"), "syntax", ""},

    {STR_INIT("{\"a\":1,\"a\":2}"), "duplicate_key", "/a"},
    {STR_INIT("{\"a\":1,\"\\u0061\":2}"), "duplicate_key", "/a"},
    {STR_INIT("{\"a\":null,\"a\":null}"), "duplicate_key", "/a"},
    {STR_INIT("{\"x\":[{},{\"b~/c\":1,\"b~/c\":1}]}"), "duplicate_key", "/x/1/b~0~1c"},
    {STR_INIT("{\"a\":\":\",\"b\":\"\\\":\\\"\",\"a\":1}"), "duplicate_key", "/a"},
    {STR_INIT("{\"\":1,\"\":2}"), "duplicate_key", "/"},

    {STR_INIT("{\"a\":\"x\\u0000y\"}"), "nul_character", "/a"},
    {STR_INIT("{\"a\\u0000b\":1}"), "nul_character", "/a"},
    {STR_INIT("{\"a\":[\"ok\",\"\\u0000\"]}"), "nul_character", "/a/1"},
    {STR_INIT("{\"a\":\"x\0y\"}"), "nul_character", "/a"},
    {STR_INIT("\0"), "nul_character", ""},
    {STR_INIT("{}\0"), "nul_character", ""},

    {STR_INIT("{\"a\":\"\xff\"}"), "invalid_utf8", "/a"},
    {STR_INIT("{\"a\":\"\xc0\x80\"}"), "invalid_utf8", "/a"},
    {STR_INIT("{\"a\":\"\xed\xa0\x80\"}"), "invalid_utf8", "/a"},
    {STR_INIT("{\"a\":{\"b\":[\"\xe2\x82\"]}}"), "invalid_utf8", "/a/b/0"},
    {STR_INIT("{\"\xff\":1}"), "invalid_utf8", ""},
    {STR_INIT("{\"a\":\"\xf4\x90\x80\x80\"}"), "invalid_utf8", "/a"},

    {STR_INIT("{\"n\":9223372036854775808}"), "number_out_of_range", "/n"},
    {STR_INIT("{\"n\":18446744073709551615}"), "number_out_of_range", "/n"},
    {STR_INIT("{\"n\":[18446744073709551616]}"), "number_out_of_range", "/n/0"},
    {STR_INIT("{\"n\":-9223372036854775809}"), "number_out_of_range", "/n"},
    {STR_INIT("{\"n\":1e400}"), "number_out_of_range", "/n"},
    {STR_INIT("{\"n\":-1e400}"), "number_out_of_range", "/n"},
    {STR_INIT("{\"n\":1e-400}"), "number_out_of_range", "/n"},
    {STR_INIT("{\"n\":NaN}"), "number_out_of_range", "/n"},
    {STR_INIT("{\"n\":Infinity}"), "number_out_of_range", "/n"},
    {STR_INIT("{\"n\":-Infinity}"), "number_out_of_range", "/n"},
};

static void
check(struct arena *a, struct str text, const char *code, const char *pointer, const char *name)
{
	struct violations v = {.n = 0};
	struct json_object *o = NULL;
	const struct err *e = json_in_parse(a, text, &v, &o);

	if (!code) {
		ok(!e && v.n == 0, "%s: accepted", name);
		return;
	}
	ok(e == &err_malformed_json && v.n == 1 && !o, "%s: refused once", name);
	is_str(v.v[0].code, str_from(code), "its code");
	is_str(v.v[0].pointer, str_from(pointer), "its pointer");
}

/* n times head, then middle, then n times tail. */
static struct str
repeat(struct arena *a, const char *head, size_t n, const char *middle, const char *tail)
{
	size_t lh = strlen(head), lt = strlen(tail), lm = strlen(middle);
	char *p = arena_alloc(a, n * (lh + lt) + lm);

	for (size_t i = 0; i < n; i++) {
		memcpy(p + i * lh, head, lh);
		memcpy(p + n * lh + lm + i * lt, tail, lt);
	}
	memcpy(p + n * lh, middle, lm);
	return (struct str){p, n * (lh + lt) + lm};
}

static void
test_sizes(struct arena *a)
{
	struct str deep_pointer = repeat(a, "/a", 33, "", "");
	struct str members;
	struct buf many;

	check(a, repeat(a, "[", 32, "1", "]"), NULL, NULL, "32 arrays");
	check(a, repeat(a, "[", 33, "1", "]"), "too_deep", str_z(a, repeat(a, "/0", 33, "", "")),
	    "33 arrays");
	check(a, repeat(a, "{\"a\":", 100, "1", "}"), "too_deep", str_z(a, deep_pointer),
	    "100 objects");
	check(a, repeat(a, "[", 100000, "", ""), "too_deep", str_z(a, repeat(a, "/0", 33, "", "")),
	    "100,000 open");
	members = repeat(a, "1,", 9999, "1", "");
	check(a, str_fmt(a, "[%.*s]", STR_ARG(members)), NULL, NULL, "10,000 items");
	check(a, str_fmt(a, "[1,%.*s]", STR_ARG(members)), "too_many_values", "", "10,001 items");
	check(a, str_fmt(a, "{\"l\":[%.*s]}", STR_ARG(members)), "too_many_values", "/l",
	    "10,000 items, one member");
	buf_init(&many, 1 << 20);
	for (int i = 0; i < 10001; i++)
		buf_fmt(&many, "%s\"%d\":0", i ? "," : "{", i);
	check(a, buf_view(&many), "too_many_values", "/10000", "10,001 members");
	buf_fini(&many);
}

/* Colons in strings make the reader look often; that must stay cheap, and correct. */
static void
test_colons(struct arena *a)
{
	struct str colons = repeat(a, "\\\":", 60000, "", "");

	check(a, str_fmt(a, "{\"a\":\"%.*s\"}", STR_ARG(colons)), NULL, NULL,
	    "60,000 escaped quotes and colons");
	check(a, str_fmt(a, "{\"a\":\"%.*s\",\"a\":1}", STR_ARG(colons)), "duplicate_key", "/a",
	    "and a duplicate");
}

int
main(void)
{
	struct arena *a = arena_new(1 << 30);

	TAP_EACH(cases, c)
	{
		check(a, c->text, c->code, c->pointer,
		    str_z(a, str_fmt(a, "%.*s", (int)c->text.n, c->text.p)));
		arena_reset(a);
	}
	test_sizes(a);
	arena_reset(a);
	test_colons(a);
	arena_free(a);
	return tap_done();
}
