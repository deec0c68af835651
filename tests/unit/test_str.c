/* Strings with length: comparing, cutting, numbers, encodings, UTF-8. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/str.h"
#include "tap.h"

static const struct {
	struct str text;
	bool want;
	int64_t value;
} numbers[] = {
    {STR_INIT("0"), true, 0},
    {STR_INIT("-1"), true, -1},
    {STR_INIT("007"), true, 7},
    {STR_INIT("9223372036854775807"), true, INT64_MAX},
    {STR_INIT("-9223372036854775808"), true, INT64_MIN},
    {STR_INIT("9223372036854775808"), false, 0},
    {STR_INIT("-9223372036854775809"), false, 0},
    {STR_INIT(""), false, 0},
    {STR_INIT("-"), false, 0},
    {STR_INIT("+1"), false, 0},
    {STR_INIT("1 "), false, 0},
    {STR_INIT("0x10"), false, 0},
    {STR_INIT("1\0"), false, 0},
};

static const struct {
	struct str text;
	bool want;
} utf8[] = {
    {STR_INIT(""), true},
    {STR_INIT("plain"), true},
    {STR_INIT("\xC3\xA9"), true},
    {STR_INIT("\xE2\x82\xAC"), true},
    {STR_INIT("\xF0\x9F\x96\xA8"), true},
    {STR_INIT("\xF4\x8F\xBF\xBF"), true},
    {STR_INIT("\xF4\x90\x80\x80"), false}, /* above U+10FFFF */
    {STR_INIT("\xED\xA0\x80"), false},     /* a surrogate */
    {STR_INIT("\xC0\xAF"), false},         /* overlong */
    {STR_INIT("\xE0\x80\xAF"), false},
    {STR_INIT("\x80"), false},
    {STR_INIT("\xC3"), false},
    {STR_INIT("\xE2\x82"), false},
    {STR_INIT("\xFF"), false},
    {STR_INIT("a\0b"), true},
};

static const struct {
	struct str text, head, rest;
} cuts[] = {
    {STR_INIT("a,b,c"), STR_INIT("a"), STR_INIT("b,c")},
    {STR_INIT(",b"), STR_INIT(""), STR_INIT("b")},
    {STR_INIT("a"), STR_INIT("a"), STR_INIT("")},
    {STR_INIT("a,"), STR_INIT("a"), STR_INIT("")},
    {STR_INIT(""), STR_INIT(""), STR_INIT("")},
};

static void
test_compare(void)
{
	ok(str_eq(STR("a"), STR("a")) && !str_eq(STR("a"), STR("b")) &&
		!str_eq(STR("a"), STR("ab")),
	    "str_eq");
	ok(str_eq(STR_NONE, STR("")), "nothing equals the empty string");
	ok(str_ieq(STR("BeArEr"), STR("bearer")) && !str_ieq(STR("a"), STR("b")), "str_ieq");
	ok(str_starts(STR("W/\"1\""), STR("W/")) && !str_starts(STR("W"), STR("W/")), "str_starts");
	ok(str_cmp(STR("a"), STR("b")) < 0 && str_cmp(STR("ab"), STR("a")) > 0 &&
		str_cmp(STR("a"), STR("a")) == 0,
	    "str_cmp");
	is_int(str_index(STR("a.b"), '.'), 1, "str_index finds");
	is_int(str_index(STR("ab"), '.'), -1, "str_index misses");
	is_str(str_trim(STR(" \t a b \t")), STR("a b"), "str_trim");
	is_str(str_trim(STR("  ")), STR(""), "str_trim of blanks");
	ok(str_from(NULL).p == NULL, "str_from(NULL)");
}

static void
test_encodings(struct arena *a)
{
	uint8_t out[16];
	size_t n;

	is_str(str_hex(a, "\x00\xFF\x1A", 3), STR("00ff1a"), "str_hex");
	ok(str_unhex(STR("00fF1a"), out, 3) && memcmp(out, "\x00\xFF\x1A", 3) == 0, "str_unhex");
	ok(!str_unhex(STR("0g"), out, 1) && !str_unhex(STR("000"), out, 1), "str_unhex refuses");
	is_str(str_b64url(a, "\xFB\xFF", 2), STR("-_8"), "str_b64url");
	ok(str_unb64url(STR("-_8"), out, sizeof(out), &n) && n == 2 &&
		memcmp(out, "\xFB\xFF", 2) == 0,
	    "str_unb64url");
	ok(!str_unb64url(STR("+/8"), out, sizeof(out), &n), "the other alphabet is refused");
	ok(!str_unb64url(STR("-_8="), out, sizeof(out), &n), "padding is refused");
	ok(!str_unb64url(STR("A"), out, sizeof(out), &n) &&
		!str_unb64url(STR(""), out, sizeof(out), &n),
	    "too short");
	ok(!str_unb64url(STR("AAAA"), out, 2, &n), "does not fit");
	ok(!str_unb64url(STR("AA*A"), out, sizeof(out), &n), "not base64");
}

static void
test_round_trips(struct arena *a)
{
	uint8_t in[40], out[40];
	size_t n;

	for (size_t len = 1; len <= sizeof(in); len++) {
		for (size_t i = 0; i < len; i++)
			in[i] = (uint8_t)(i * 37 + len);
		ok(str_unb64url(str_b64url(a, in, len), out, sizeof(out), &n) && n == len &&
			memcmp(in, out, n) == 0,
		    "base64url of %zu bytes", len);
	}
}

int
main(void)
{
	struct arena *a = arena_new(1 << 20);
	int64_t v = 0;

	test_compare();
	test_encodings(a);
	test_round_trips(a);
	TAP_EACH(numbers, c)
	ok(str_to_i64(c->text, &v) == c->want && (!c->want || v == c->value), "number '%.*s'",
	    STR_ARG(c->text));
	TAP_EACH(utf8, c)
	ok(str_utf8(c->text) == c->want, "UTF-8 of %zu bytes, %d", c->text.n, c->want);
	TAP_EACH(cuts, c)
	{
		struct str rest = c->text;

		is_str(str_cut(&rest, ','), c->head, "what is before the comma");
		is_str(rest, c->rest, "what is behind it");
	}
	is_str(str_fmt(a, "%d-%s", 7, "x"), STR("7-x"), "str_fmt");
	is_z(str_z(a, STR("abc")), "abc", "str_z");
	arena_free(a);
	return tap_done();
}
