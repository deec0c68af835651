#include "auth/webhook.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "auth/wipe.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/uuid.h"

enum {
	HMAC_LEAST = 24,
	HMAC_MOST = 64,
	HMAC_LEN = 32, /* of a key made here, and of the code */
	HALF_LEN = 32, /* seed, public half */
	SIGNATURE_LEN = 64,
	KEY_MOST = 64,
	TEXT_MOST = (KEY_MOST + 2) / 3 * 4
};

static const struct {
	const char *name;
	struct str start, version;
} schemes[] = {
    [WEBHOOK_HMAC] = {"hmac", STR_INIT("whsec_"), STR_INIT("v1,")},
    [WEBHOOK_ED25519] = {"ed25519", STR_INIT("whsk_"), STR_INIT("v1a,")},
};

/* A secret's bytes. */
struct key {
	enum webhook_scheme scheme;
	size_t n;
	uint8_t b[KEY_MOST];
};

const char *
webhook_scheme_name(enum webhook_scheme scheme)
{
	return schemes[scheme].name;
}

bool
webhook_scheme_parse(struct str name, enum webhook_scheme *out)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		if (str_eq(name, str_from(schemes[i].name))) {
			*out = (enum webhook_scheme)i;
			return true;
		}
	}
	return false;
}

/* --- base64 (RFC 4648 section 4) -------------------------------------------------------------- */

/* Writes start and base64 of the bytes to `to`, with a NUL behind. */
static struct str
put_base64(char *to, struct str start, const uint8_t *bytes, size_t n)
{
	int len;

	memcpy(to, start.p, start.n);
	len = EVP_EncodeBlock((unsigned char *)to + start.n, bytes, (int)n);
	return (struct str){to, start.n + (size_t)len};
}

static size_t
base64_room(struct str start, size_t n)
{
	return start.n + (n + 2) / 3 * 4 + 1;
}

/* Canonical and padded; EVP_DecodeBlock alone lets blanks pass. False also when it is too long. */
static bool
get_base64(struct str s, struct key *out)
{
	uint8_t bytes[TEXT_MOST];
	char again[TEXT_MOST + 1];
	size_t pad = 0;
	int n;
	bool ok;

	if (!s.n || s.n % 4 != 0 || s.n > TEXT_MOST)
		return false;
	while (pad < 2 && s.p[s.n - 1 - pad] == '=')
		pad++;
	n = EVP_DecodeBlock(bytes, (const unsigned char *)s.p, (int)s.n);
	ok = n >= 0 && (size_t)n - pad <= KEY_MOST;
	if (ok) {
		out->n = (size_t)n - pad;
		memcpy(out->b, bytes, out->n);
		ok = CRYPTO_memcmp(put_base64(again, STR(""), out->b, out->n).p, s.p, s.n) == 0;
	}
	OPENSSL_cleanse(bytes, sizeof(bytes));
	OPENSSL_cleanse(again, sizeof(again));
	return ok;
}

/* --- secrets ---------------------------------------------------------------------------------- */

/* NULL when the second half is not the public key of the first. */
static EVP_PKEY *
ed25519_key(const struct key *k)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, k->b, HALF_LEN);
	uint8_t public[HALF_LEN];
	size_t n = sizeof(public);

	must(key && EVP_PKEY_get_raw_public_key(key, public, &n) == 1 && n == HALF_LEN);
	if (CRYPTO_memcmp(public, k->b + HALF_LEN, HALF_LEN) == 0)
		return key;
	EVP_PKEY_free(key);
	return NULL;
}

static bool
key_usable(const struct key *k)
{
	EVP_PKEY *key;

	if (k->scheme == WEBHOOK_HMAC)
		return k->n >= HMAC_LEAST && k->n <= HMAC_MOST;
	if (k->n != 2 * HALF_LEN)
		return false;
	key = ed25519_key(k);
	EVP_PKEY_free(key);
	return key != NULL;
}

static bool
read_key(struct str secret, struct key *out)
{
	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		struct str start = schemes[i].start;

		if (!str_starts(secret, start))
			continue;
		out->scheme = (enum webhook_scheme)i;
		return get_base64((struct str){secret.p + start.n, secret.n - start.n}, out) &&
		    key_usable(out);
	}
	return false;
}

bool
webhook_secret_ok(struct str secret, enum webhook_scheme *scheme)
{
	struct key k = {0};
	bool ok = read_key(secret, &k);

	if (ok && scheme)
		*scheme = k.scheme;
	OPENSSL_cleanse(&k, sizeof(k));
	return ok;
}

/* Fills in the public half. */
static void
complete(struct key *k)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, k->b, HALF_LEN);
	size_t n = HALF_LEN;

	must(key && EVP_PKEY_get_raw_public_key(key, k->b + HALF_LEN, &n) == 1 && n == HALF_LEN);
	EVP_PKEY_free(key);
}

struct str
webhook_secret_generate(struct arena *a, enum webhook_scheme scheme, struct str *public_key)
{
	static const struct str public_start = STR_INIT("whpk_");
	struct str start = schemes[scheme].start, secret;
	struct key k = {.scheme = scheme, .n = HMAC_LEN};

	random_bytes(k.b, HMAC_LEN);
	*public_key = STR_NONE;
	if (scheme == WEBHOOK_ED25519) {
		complete(&k);
		k.n = 2 * HALF_LEN;
		*public_key = put_base64(arena_alloc(a, base64_room(public_start, HALF_LEN)),
		    public_start, k.b + HALF_LEN, HALF_LEN);
	}
	secret = put_base64(wipe_alloc(a, base64_room(start, k.n)), start, k.b, k.n);
	OPENSSL_cleanse(&k, sizeof(k));
	return secret;
}

/* --- signing ---------------------------------------------------------------------------------- */

static struct str
signed_text(struct arena *a, struct str id, int64_t timestamp_s, struct str body)
{
	struct str head = str_fmt(a, "%.*s.%lld.", STR_ARG(id), (long long)timestamp_s);
	char *text = arena_alloc(a, head.n + body.n + 1);

	memcpy(text, head.p, head.n);
	if (body.n)
		memcpy(text + head.n, body.p, body.n);
	return (struct str){text, head.n + body.n};
}

/* Its length. */
static size_t
sign_ed25519(const struct key *k, struct str text, uint8_t out[SIGNATURE_LEN])
{
	EVP_PKEY *key = ed25519_key(k);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t n = SIGNATURE_LEN;

	must(key && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1);
	must(EVP_DigestSign(ctx, out, &n, (const uint8_t *)text.p, text.n) == 1);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return n;
}

static size_t
sign_hmac(const struct key *k, struct str text, uint8_t out[SIGNATURE_LEN])
{
	unsigned n = SIGNATURE_LEN;

	must(HMAC(EVP_sha256(), k->b, (int)k->n, (const uint8_t *)text.p, text.n, out, &n));
	return n;
}

struct str
webhook_sign(
    struct arena *a, struct str secret, struct str id, int64_t timestamp_s, struct str body)
{
	struct str version, text;
	uint8_t signature[SIGNATURE_LEN];
	struct key k = {0};
	size_t n;
	bool ok = id.n && str_index(id, '.') < 0 && read_key(secret, &k);

	if (ok) {
		version = schemes[k.scheme].version;
		text = signed_text(a, id, timestamp_s, body);
		n = k.scheme == WEBHOOK_HMAC ? sign_hmac(&k, text, signature)
					     : sign_ed25519(&k, text, signature);
		text = put_base64(arena_alloc(a, base64_room(version, n)), version, signature, n);
	}
	OPENSSL_cleanse(&k, sizeof(k));
	return ok ? text : STR_NONE;
}
