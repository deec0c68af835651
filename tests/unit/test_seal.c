/* Sealed secrets open only with the right key, in the right place, unaltered. */
#include <string.h>

#include "auth/seal.h"
#include "base/arena.h"
#include "tap.h"

struct world {
	struct arena *a;
	struct seal_public *pub;
	struct seal_private *priv;
	struct uuid org, row;
};

static struct world
world_new(void)
{
	struct world w = {.a = arena_new(16 << 20), .org = uuid_v7(), .row = uuid_v7()};
	struct str priv, pub;

	seal_generate(w.a, &priv, &pub);
	w.pub = seal_public_new(pub);
	w.priv = seal_private_new(priv);
	return w;
}

static void
world_free(struct world *w)
{
	seal_public_free(w->pub);
	seal_private_free(w->priv);
	arena_free(w->a);
}

static void
test_round_trip(struct world *w)
{
	static char big[4000];
	const struct str cases[] = {STR("12345678"), STR(""), STR("x"), {big, sizeof(big)}};
	const struct seal_place at = SEAL_PRINTER_SECRET(w->org, w->row);

	TAP_EACH(cases, c)
	{
		struct str sealed = seal_secret(w->a, w->pub, &at, *c), plain = STR_NONE;

		is_int(sealed.n, c->n + SEAL_OVERHEAD, "sealed length");
		is_int(sealed.p[0], 1, "version");
		ok(seal_for_key(w->priv, sealed), "names its key");
		ok(seal_open(w->a, w->priv, &at, sealed, &plain), "opens");
		is_str(plain, *c, "gives back the text");
		ok(plain.p && plain.p[plain.n] == '\0', "with a NUL behind");
	}
}

static void
test_fresh(struct world *w)
{
	const struct seal_place at = SEAL_PRINTER_SECRET(w->org, w->row);
	struct str one = seal_secret(w->a, w->pub, &at, STR("12345678"));
	struct str two = seal_secret(w->a, w->pub, &at, STR("12345678"));

	ok(!str_eq(one, two), "the same text sealed twice looks different");
	ok(!memmem(one.p, one.n, "12345678", 8), "the text cannot be seen");
}

/* Every bit of every byte, and every shorter length. */
static void
test_altered(struct world *w)
{
	const struct seal_place at = SEAL_PRINTER_SECRET(w->org, w->row);
	struct str sealed = seal_secret(w->a, w->pub, &at, STR("12345678")), plain;
	char *copy = str_z(w->a, sealed);
	int opened = 0;

	for (size_t i = 0; i < sealed.n * 8; i++) {
		copy[i / 8] = (char)(copy[i / 8] ^ 1 << i % 8);
		opened += seal_open(w->a, w->priv, &at, (struct str){copy, sealed.n}, &plain);
		copy[i / 8] = (char)(copy[i / 8] ^ 1 << i % 8);
	}
	/* X25519 ignores the top bit of a point (RFC 7748, 5), but the point is also the salt. */
	is_int(opened, 0, "no flipped bit goes unnoticed");
	for (size_t n = 0; n < sealed.n; n++)
		opened += seal_open(w->a, w->priv, &at, (struct str){sealed.p, n}, &plain);
	is_int(opened, 0, "no truncated value opens");
	ok(!seal_open(w->a, w->priv, &at, STR_NONE, &plain), "nothing does not open");
	ok(seal_open(w->a, w->priv, &at, (struct str){copy, sealed.n}, &plain),
	    "the value itself does");
}

static void
test_swapped(struct world *w)
{
	const struct seal_place at = SEAL_PRINTER_SECRET(w->org, w->row);
	const struct {
		const char *what;
		struct seal_place at;
	} cases[] = {
	    {"row", SEAL_PRINTER_SECRET(w->org, uuid_v7())},
	    {"organisation", SEAL_PRINTER_SECRET(uuid_v7(), w->row)},
	    {"organisation and row changed about", SEAL_PRINTER_SECRET(w->row, w->org)},
	    {"column", {STR("printers"), STR("secret2"), w->org, w->row}},
	    {"table", {STR("printer"), STR("secret"), w->org, w->row}},
	    {"job", SEAL_JOB_SECRET(w->org, w->row)},
	    {"webhook's secret", SEAL_WEBHOOK_SECRET(w->org, w->row)},
	    {"webhook's headers", SEAL_WEBHOOK_HEADERS(w->org, w->row)},
	    {"rule's target", SEAL_RULE_TARGET(w->org, w->row)},
	};
	struct str sealed = seal_secret(w->a, w->pub, &at, STR("12345678")), plain;

	TAP_EACH(cases, c)
	ok(!seal_open(w->a, w->priv, &c->at, sealed, &plain), "does not open in another place: %s",
	    c->what);
}

static void
test_wrong_key(struct world *w)
{
	const struct seal_place at = SEAL_PRINTER_SECRET(w->org, w->row);
	struct world other = world_new();
	struct str sealed = seal_secret(w->a, w->pub, &at, STR("12345678")), plain;
	char *forged = str_z(w->a, sealed);

	ok(!seal_for_key(other.priv, sealed), "another key is seen not to be the one");
	ok(!seal_open(w->a, other.priv, &at, sealed, &plain), "another key does not open it");
	memcpy(forged + 1, seal_secret(w->a, other.pub, &at, STR("x")).p + 1, SEAL_ID_LEN);
	ok(!seal_open(w->a, other.priv, &at, (struct str){forged, sealed.n}, &plain),
	    "nor with its id forged");
	ok(seal_pair(w->pub, w->priv), "a pair belongs together");
	ok(!seal_pair(other.pub, w->priv), "keys of two pairs do not");
	world_free(&other);
}

/* The point of order 1 would make the key known to everybody. */
static void
test_degenerate_point(struct world *w)
{
	static const char zero_pem[] =
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MCowBQYDK2VuAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
	    "-----END PUBLIC KEY-----\n";
	const struct seal_place at = SEAL_PRINTER_SECRET(w->org, w->row);
	struct str sealed = seal_secret(w->a, w->pub, &at, STR("12345678")), plain;
	char *copy = str_z(w->a, sealed);
	struct seal_public *zeros = seal_public_new(str_from(zero_pem));

	memset(copy + 1 + SEAL_ID_LEN, 0, 32);
	ok(!seal_open(w->a, w->priv, &at, (struct str){copy, sealed.n}, &plain),
	    "an ephemeral key of zeros is refused");
	ok(seal_secret(w->a, zeros, &at, STR("x")).p == NULL, "so is a reader's key of zeros");
	seal_public_free(zeros);
}

static void
test_pem(struct world *w)
{
	static const char ed25519[] =
	    "-----BEGIN PUBLIC KEY-----\n"
	    "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
	    "-----END PUBLIC KEY-----\n";
	struct str priv, pub;

	seal_generate(w->a, &priv, &pub);
	ok(str_starts(priv, STR("-----BEGIN PRIVATE KEY-----")), "private PEM");
	ok(str_starts(pub, STR("-----BEGIN PUBLIC KEY-----")), "public PEM");
	ok(!seal_public_new(priv) && !seal_private_new(pub),
	    "the two are not taken for each other");
	ok(!seal_public_new(STR("")) && !seal_private_new(STR("")), "nothing is no key");
	ok(!seal_public_new(STR("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")),
	    "nor is rubbish");
	ok(!seal_public_new(str_from(ed25519)), "nor is a key of another kind");
	seal_public_free(NULL);
	seal_private_free(NULL);
}

int
main(void)
{
	struct world w = world_new();

	ok(w.pub && w.priv, "a key pair");
	test_round_trip(&w);
	test_fresh(&w);
	test_altered(&w);
	test_swapped(&w);
	test_wrong_key(&w);
	test_degenerate_point(&w);
	test_pem(&w);
	world_free(&w);
	return tap_done();
}
