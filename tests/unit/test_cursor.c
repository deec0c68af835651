/* Cursors, media types, sealed replies. */
#include "auth/box.h"
#include "base/arena.h"
#include "http/accept_type.h"
#include "http/cursor.h"
#include "tap.h"

static const uint8_t sign_key[CURSOR_SIGN_KEY_LEN] = {1, 2, 3};
static const uint8_t other_key[CURSOR_SIGN_KEY_LEN] = {3, 2, 1};

static void
test_cursor(struct arena *a)
{
	struct cursor in = {
	    .scope = STR("listPrinters&sort=name"), .key = STR("Bench \xC3\xA9"), .id = uuid_v7()};
	struct cursor out = {.scope = in.scope};
	struct str text = cursor_encode(a, sign_key, &in);
	char *broken = str_z(a, text);

	ok(cursor_decode(a, sign_key, text, &out) && str_eq(out.key, in.key) &&
		uuid_eq(out.id, in.id),
	    "round trip");
	ok(!cursor_decode(a, other_key, text, &out), "another key");
	out.scope = STR("listPrinters&sort=-name");
	ok(!cursor_decode(a, sign_key, text, &out), "another order");
	out.scope = in.scope;
	for (size_t i = 0; i < text.n; i++) {
		char was = broken[i];

		broken[i] = was == 'A' ? 'B' : 'A';
		if (cursor_decode(a, sign_key, (struct str){broken, text.n}, &out))
			ok(i == text.n - 1,
			    "only unused bits of the last character may differ, not character %zu",
			    i);
		broken[i] = was;
	}
	ok(!cursor_decode(a, sign_key, STR("AA"), &out), "too short");
	ok(!cursor_decode(a, sign_key, STR("not a cursor!"), &out), "not base64url");
	in.key = STR("");
	text = cursor_encode(a, sign_key, &in);
	ok(cursor_decode(a, sign_key, text, &out) && out.key.n == 0, "an empty sort key");
}

static const struct {
	struct str accept;
	bool want;
} accepts[] = {
    {STR_INIT("application/problem+json"), true},
    {STR_INIT("application/json, application/problem+json"), true},
    {STR_INIT("application/json, application/problem+json;q=0.9"), false},
    {STR_INIT("application/json;q=0.5, application/problem+json;q=0.9"), true},
    {STR_INIT("Application/Problem+JSON;charset=utf-8"), true},
    {STR_INIT("application/problem+json;q=0"), false},
    {STR_INIT("application/problem+json; q=0.000"), false},
    {STR_INIT("application/problem+json; q=1.000"), true},
    {STR_INIT("*/*"), false},
    {STR_INIT("application/*"), false},
    {STR_INIT(""), false},
    {STR_INIT(",,;"), false},
};

static void
test_box(struct arena *a)
{
	struct str key = STR("slp_live_credential"), idem = STR("idem"),
		   plain = STR("{\"key\":\"secret\"}");
	struct str sealed = box_seal(a, key, idem, plain);
	char *bytes = str_z(a, sealed);

	is_int(sealed.n, plain.n + 28, "nonce and tag are added");
	is_str(box_open(a, key, idem, sealed), plain, "opens");
	ok(!box_open(a, STR("slp_live_other"), idem, sealed).p, "not with another credential");
	ok(!box_open(a, key, STR("other"), sealed).p, "not for another idempotency key");
	for (size_t i = 0; i < sealed.n; i++) {
		bytes[i] ^= 1;
		ok(!box_open(a, key, idem, (struct str){bytes, sealed.n}).p, "byte %zu altered", i);
		bytes[i] ^= 1;
	}
	ok(!box_open(a, key, idem, (struct str){bytes, 20}).p, "too short");
}

int
main(void)
{
	struct arena *a = arena_new(1 << 20);

	test_cursor(a);
	test_box(a);
	TAP_EACH(accepts, c)
	ok(accept_names(c->accept, STR("application/problem+json"), STR("application/json")) ==
		c->want,
	    "Accept: %.*s", STR_ARG(c->accept));
	ok(content_type_is(STR("application/json; charset=utf-8"), STR("application/json")),
	    "parameters aside");
	ok(!content_type_is(STR("text/json"), STR("application/json")), "another type");
	arena_free(a);
	return tap_done();
}
