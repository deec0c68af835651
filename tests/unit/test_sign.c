/* A signed URL opens what it was made for, until it expires, and nothing else. */
#include "auth/sign.h"
#include "base/arena.h"
#include "tap.h"

enum { NOW_S = 1793520000 };

static const uint8_t key[SIGN_KEY_LEN] = "0123456789abcdef0123456789abcde";

static struct sign_claim
upload(void)
{
	struct sign_claim c = {.purpose = SIGN_UPLOAD, .part = 3, .size = 67108864};

	c.expires_s = NOW_S + 3600;
	uuid_parse(STR("0193481c-9a10-7c4d-9b1e-0a1b2c3d4e5f"), &c.file);
	uuid_parse(STR("0193481c-0000-7000-8000-000000000003"), &c.org);
	return c;
}

static struct sign_claim
download(void)
{
	struct sign_claim c = upload();

	c.purpose = SIGN_DOWNLOAD;
	c.part = c.size = 0;
	c.disposition = STR("attachment");
	return c;
}

static struct sign_claim
stream(void)
{
	struct sign_claim c = upload();

	c.purpose = SIGN_STREAM;
	c.part = 0;
	c.size = 1042;
	c.disposition = STR("all");
	uuid_parse(STR("0193481c-0000-7000-8000-00000000000a"), &c.key);
	return c;
}

static void
test_round_trip(struct arena *a)
{
	struct sign_claim cases[] = {upload(), download(), stream()};

	TAP_EACH(cases, c)
	{
		struct str s = sign_make(a, key, c);

		is_int(s.n, SIGN_TEXT_LEN, "length");
		is_int(sign_check(key, c, s, NOW_S), SIGN_GOOD, "good");
		is_int(sign_check(key, c, s, NOW_S + 3599), SIGN_GOOD, "good to the end");
		is_int(sign_check(key, c, s, NOW_S + 3600), SIGN_EXPIRED, "then expired");
	}
}

/* Made with Python's hmac of the same lines. */
static void
test_vector(struct arena *a)
{
	struct sign_claim up = upload(), down = download(), live = stream();

	is_str(sign_make(a, key, &up), STR("bAAI8A-zIAc72QmoJgGBQyQDb08zU4qWvgiHhTYZrT8ECHw0"),
	    "upload as another program signs it");
	is_str(sign_make(a, key, &down), STR("bAAI8Kc61snHYssgZPjXa08_1lZZQcGRAGRMwsUPoU8gCiJT"),
	    "download as another program signs it");
	is_str(sign_make(a, key, &live), STR("bAAI8KLOHOt5c-ojx9HEnYuD_9MR932WH5qmktnoFzgwlTVN"),
	    "stream as another program signs it");
}

static void
test_other_claims(struct arena *a)
{
	struct sign_claim c = upload(), d = download(), live = stream(), other;
	struct str s = sign_make(a, key, &c), ds = sign_make(a, key, &d);
	struct str ls = sign_make(a, key, &live);

#define OTHER(base, change, sig, what)                                                             \
	other = (base);                                                                            \
	change;                                                                                    \
	is_int(sign_check(key, &other, (sig), NOW_S), SIGN_FORGED, (what))
	OTHER(c, other.org.b[15] ^= 1, s, "another organisation");
	OTHER(c, other.file.b[0] ^= 1, s, "another file");
	OTHER(c, other.part = 4, s, "another part");
	OTHER(c, other.size = 1, s, "another size");
	OTHER(c, other.expires_s++, s, "another end");
	OTHER(c, other.purpose = SIGN_DOWNLOAD, s, "another purpose");
	OTHER(d, other.disposition = STR("inline"), ds, "another disposition");
	OTHER(d, other.disposition = STR("attachment\0"), ds, "a byte more");
	OTHER(d, other.disposition = STR_NONE, ds, "no disposition");
	OTHER(c, other.disposition = STR("x"), s, "a disposition where there is none");
	OTHER(live, other.key.b[15] ^= 1, ls, "another key");
	OTHER(live, other.purpose = SIGN_CAMERA, ls, "a camera");
	OTHER(live, other.disposition = STR("item"), ls, "of something else");
	OTHER(live, other.size = -1, ls, "from somewhere else");
#undef OTHER
}

static void
test_damage(struct arena *a)
{
	struct sign_claim c = upload();
	struct str s = sign_make(a, key, &c);
	char *z = str_z(a, s);
	uint8_t other_key[SIGN_KEY_LEN];
	const struct str bad[] = {STR_NONE, STR(""), STR("x"), {s.p, s.n - 1}, {s.p, s.n - 4},
	    str_fmt(a, "%.*sAAAA", STR_ARG(s)), str_fmt(a, "%.*s=", STR_ARG(s))};
	int forged = 0;

	for (size_t i = 0; i < s.n; i++) {
		char was = z[i];

		z[i] = was == 'A' ? 'B' : 'A';
		forged += sign_check(key, &c, str_from(z), NOW_S) == SIGN_FORGED;
		z[i] = was;
	}
	is_int(forged, SIGN_TEXT_LEN, "each character counts");
	TAP_EACH(bad, b)
	is_int(sign_check(key, &c, *b, NOW_S), SIGN_FORGED, "no signature");
	is_int(sign_check(key, &c, STR("x"), NOW_S + 9999), SIGN_FORGED, "forged before expired");
	memcpy(other_key, key, sizeof(key));
	other_key[0] ^= 1;
	is_int(sign_check(other_key, &c, s, NOW_S), SIGN_FORGED, "another key");
}

int
main(void)
{
	struct arena *a = arena_new(1 << 20);

	test_round_trip(a);
	test_vector(a);
	test_other_claims(a);
	test_damage(a);
	arena_free(a);
	return tap_done();
}
