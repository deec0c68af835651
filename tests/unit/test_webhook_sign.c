/* Signatures of webhooks: the standard's own vectors, secrets that are none, and those made here.
 */
#include <string.h>

#include "auth/webhook.h"
#include "base/arena.h"
#include "tap.h"

#define ID STR("msg_p5jXN8AQM9LWM0D4loKWxJek")
#define HMAC_SECRET "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define ED25519_SECRET                                                                             \
	"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6" \
	"Kvg=="

static const struct str body = STR_INIT("{\"test\": 2432232314}");
static const int64_t at_s = 1614265330;

static void
test_vectors(struct arena *a)
{
	is_str(webhook_sign(a, STR(HMAC_SECRET), ID, at_s, body),
	    STR("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="), "HMAC-SHA-256");
	is_str(webhook_sign(a, STR(ED25519_SECRET), ID, at_s, body),
	    STR("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8"
		"EM+m7TBAg=="),
	    "Ed25519");
}

/* Whatever is signed counts. */
static void
test_everything_counts(struct arena *a)
{
	struct str one = webhook_sign(a, STR(HMAC_SECRET), ID, at_s, body);
	static const char nul[] = "{\"test\": 2432232314}\0";

	is_str(webhook_sign(a, STR(HMAC_SECRET), ID, at_s, body), one, "the same again");
	ok(!str_eq(webhook_sign(a, STR(HMAC_SECRET), STR("msg_2"), at_s, body), one), "the id");
	ok(!str_eq(webhook_sign(a, STR(HMAC_SECRET), ID, at_s + 1, body), one), "the time");
	ok(!str_eq(webhook_sign(a, STR(HMAC_SECRET), ID, at_s, STR("{}")), one), "the body");
	ok(!str_eq(
	       webhook_sign(a, STR(HMAC_SECRET), ID, at_s, (struct str){nul, sizeof(nul)}), one),
	    "its last bytes, of whatever kind");
	ok(webhook_sign(a, STR(HMAC_SECRET), ID, at_s, STR("")).n > 3, "no body can be signed");
	ok(!webhook_sign(a, STR(HMAC_SECRET), STR("a.b"), at_s, body).p, "an id with a full stop");
	ok(!webhook_sign(a, STR(HMAC_SECRET), STR(""), at_s, body).p, "no id");
}

static void
test_bad_secrets(struct arena *a)
{
	static const struct {
		const char *what, *secret;
	} cases[] = {
	    {"nothing", ""},
	    {"no prefix", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
	    {"the prefix alone", "whsec_"},
	    {"the other prefix alone", "whsk_"},
	    {"a public key", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="},
	    {"another prefix", "whsec-MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
	    {"21 bytes", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2La"},
	    {"23 bytes", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ="},
	    {"66 bytes",
		"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
		"AAAAAAAA"},
	    {"base64url", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS_"},
	    {"no padding", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAA"},
	    {"too much padding", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwA==="},
	    {"padding in the middle", "whsec_MfKQ9r8=KYqrTwjUPD8ILPZIo2LaLaSw"},
	    {"a bit that nobody looks at", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwAB=="},
	    {"a blank before", " whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
	    {"a blank behind the prefix", "whsec_ MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"},
	    {"blanks behind", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw    "},
	    {"a line's end", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n"},
	    {"half an Ed25519 key", "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="},
	    {"an Ed25519 key of another public half",
		"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lM"
		"icMFs6Kvw=="},
	};

	TAP_EACH(cases, c)
	{
		ok(!webhook_secret_ok(str_from(c->secret), NULL), "%s is no secret", c->what);
		ok(!webhook_sign(a, str_from(c->secret), ID, at_s, body).p, "%s signs nothing",
		    c->what);
	}
	ok(!webhook_secret_ok(STR_NONE, NULL), "nor is NULL");
}

static void
test_lengths(struct arena *a)
{
	char text[6 + 88 + 1] = "whsec_";

	for (size_t n = 0; n <= 88; n += 4) {
		memset(text + 6, 'A', n);
		ok(webhook_secret_ok((struct str){text, 6 + n}, NULL) == (n >= 32 && n <= 84),
		    "%zu zero bytes", n / 4 * 3);
	}
	memcpy(text + 6 + 84, "AA==", 4);
	ok(webhook_sign(a, (struct str){text, 6 + 88}, ID, at_s, body).p, "64 bytes");
	memcpy(text + 6 + 84, "AAA=", 4);
	ok(!webhook_sign(a, (struct str){text, 6 + 88}, ID, at_s, body).p, "65 bytes");
}

static void
test_generated(struct arena *a)
{
	static const struct {
		enum webhook_scheme scheme;
		const char *name, *start, *version;
		size_t n;
	} cases[] = {
	    {WEBHOOK_HMAC, "hmac", "whsec_", "v1,", 6 + 44},
	    {WEBHOOK_ED25519, "ed25519", "whsk_", "v1a,", 5 + 88},
	};

	TAP_EACH(cases, c)
	{
		struct str public, other, one = webhook_secret_generate(a, c->scheme, &public);
		enum webhook_scheme scheme = WEBHOOK_HMAC, named = WEBHOOK_HMAC;

		is_int(one.n, c->n, "its length");
		ok(str_starts(one, str_from(c->start)), "%s", c->start);
		ok(webhook_secret_ok(one, &scheme) && scheme == c->scheme, "it is one");
		ok(!str_eq(one, webhook_secret_generate(a, c->scheme, &other)), "each its own");
		ok(str_starts(webhook_sign(a, one, ID, at_s, body), str_from(c->version)), "%s",
		    c->version);
		ok((c->scheme == WEBHOOK_ED25519) == (public.p != NULL), "a public key or none");
		ok(!public.p || (str_starts(public, STR("whpk_")) && public.n == 5 + 44),
		    "whpk_ and 32 bytes");
		is_z(webhook_scheme_name(c->scheme), c->name, "its name");
		ok(webhook_scheme_parse(str_from(c->name), &named) && named == c->scheme,
		    "and back");
	}
	ok(!webhook_scheme_parse(STR("rsa"), &(enum webhook_scheme){0}), "others are none");
}

int
main(void)
{
	struct arena *a = arena_new(16 << 20);

	test_vectors(a);
	test_everything_counts(a);
	test_bad_secrets(a);
	test_lengths(a);
	test_generated(a);
	arena_free(a);
	return tap_done();
}
