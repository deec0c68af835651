/* API keys: form, checksum, hash. */
#include <string.h>

#include "auth/key.h"
#include "auth/wipe.h"
#include "base/arena.h"
#include "tap.h"

/* Made by an independent program: base62 of 32 known bytes, CRC-32 of zlib. */
#define KNOWN "slp_live_b2XXZUW76BMDpDXOvcUlKjyxEaKFutjtUkD1BqelWui3eILku"
#define KNOWN_DEV "slp_dev_14hmvTwqfMtXnBwetnzPbFtJ644CHXgwYYKV5nHVa9h28qZHD"

static void
test_kinds(void)
{
	static const struct {
		const char *name;
		enum key_kind kind;
		bool known;
	} cases[] = {{"live", KEY_LIVE, true}, {"dev", KEY_DEV, true}, {"scim", KEY_SCIM, true},
	    {"LIVE", KEY_LIVE, false}, {"", KEY_LIVE, false}, {"liv", KEY_LIVE, false},
	    {"live ", KEY_LIVE, false}};

	TAP_EACH(cases, c)
	{
		enum key_kind kind = KEY_SCIM;

		ok(key_kind_parse(str_from(c->name), &kind) == c->known, "kind '%s' is %sknown",
		    c->name, c->known ? "" : "un");
		if (c->known) {
			is_int(kind, c->kind, c->name);
			is_z(key_kind_name(c->kind), c->name, "its name again");
		}
	}
}

static void
test_known(void)
{
	const struct {
		const char *why;
		struct str text;
		bool good;
	} cases[] = {
	    {"a live key", STR(KNOWN), true},
	    {"a device key", STR(KNOWN_DEV), true},
	    {"nothing", STR(""), false},
	    {"no bytes at all", STR_NONE, false},
	    {"the start alone", STR("slp_live_"), false},
	    {"another kind's start",
		STR("slp_dev_b2XXZUW76BMDpDXOvcUlKjyxEaKFutjtUkD1BqelWui3eILku"), false},
	    {"an unknown kind", STR("slp_test_b2XXZUW76BMDpDXOvcUlKjyxEaKFutjtUkD1BqelWui3eILku"),
		false},
	    {"one character short",
		STR("slp_live_b2XXZUW76BMDpDXOvcUlKjyxEaKFutjtUkD1BqelWui3eILk"), false},
	    {"one character long", STR(KNOWN "u"), false},
	    {"a line feed behind", STR(KNOWN "\n"), false},
	    {"a blank before", STR(" " KNOWN), false},
	    {"a NUL inside", STR("slp_live_b2XXZUW76BM\0pDXOvcUlKjyxEaKFutjtUkD1BqelWui3eILku"),
		false},
	    {"capitals in the start",
		STR("SLP_live_b2XXZUW76BMDpDXOvcUlKjyxEaKFutjtUkD1BqelWui3eILku"), false},
	    {"a digit that base62 lacks",
		STR("slp_live_b2XXZUW76BM-pDXOvcUlKjyxEaKFutjtUkD1BqelWui3eILku"), false},
	};

	TAP_EACH(cases, c)
	{
		enum key_kind kind;

		ok(key_parse_shape(c->text, &kind) == c->good, "%s is %s", c->why,
		    c->good ? "a key" : "none");
	}
}

/* A wrong character anywhere is noticed: the checksum finds every single change. */
static void
test_each_character(void)
{
	char text[] = KNOWN;
	enum key_kind kind;
	int accepted = 0;

	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char was = text[i];

		for (int ch = 0; ch < 256; ch++) {
			text[i] = (char)ch;
			if ((char)ch != was &&
			    key_parse_shape((struct str){text, sizeof(text) - 1}, &kind))
				accepted++;
		}
		text[i] = was;
	}
	is_int(accepted, 0, "no key with one other character is accepted");
}

static void
test_generate(void)
{
	static const struct {
		enum key_kind kind;
		const char *start;
		size_t n;
	} cases[] = {
	    {KEY_LIVE, "slp_live_", 58}, {KEY_DEV, "slp_dev_", 57}, {KEY_SCIM, "slp_scim_", 58}};
	struct arena *a = arena_new(1 << 20);

	TAP_EACH(cases, c)
	{
		struct str one = key_generate(a, c->kind), two = key_generate(a, c->kind);
		enum key_kind kind = KEY_LIVE;

		ok(str_starts(one, str_from(c->start)), "begins with %s", c->start);
		is_int(one.n, c->n, "length");
		ok(one.n <= KEY_TEXT_MOST, "no longer than KEY_TEXT_MOST");
		ok(key_parse_shape(one, &kind) && kind == c->kind, "has the form of its kind");
		ok(!str_eq(one, two), "two are different");
		is_int(key_prefix(one).n, KEY_PREFIX_LEN, "prefix");
	}
	is_str(key_prefix(STR("short")), STR("short"), "prefix of a short text");
	arena_free(a);
}

static void
test_hash(void)
{
	struct arena *a = arena_new(1 << 16);
	uint8_t hash[KEY_HASH_LEN];

	key_hash(STR("abc"), hash);
	is_str(str_hex(a, hash, sizeof(hash)),
	    STR("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
	    "SHA-256 of FIPS 180-4");
	arena_free(a);
}

static void
test_wipe(void)
{
	struct arena *a = arena_new(1 << 16);
	char *p = wipe_alloc(a, 8);

	ok(memcmp(p, "\0\0\0\0\0\0\0\0", 8) == 0, "begins cleared");
	memcpy(p, "secret!!", 8);
	arena_reset(a);
	/* The arena keeps its first block, so the bytes may still be looked at. */
	ok(memcmp(arena_alloc(a, 64), "secret!!", 8) != 0, "is wiped at the reset");
	arena_free(a);
}

int
main(void)
{
	test_kinds();
	test_known();
	test_each_character();
	test_generate();
	test_hash();
	test_wipe();
	return tap_done();
}
