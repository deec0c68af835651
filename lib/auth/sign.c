#include "auth/sign.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"

enum { TEXT_MOST = 320 };

/* Names change when what is signed changes. */
static const char *const purposes[] = {
    [SIGN_UPLOAD] = "soloprint upload 1",
    [SIGN_DOWNLOAD] = "soloprint download 1",
    [SIGN_CAMERA] = "soloprint camera 2",
    [SIGN_STREAM] = "soloprint stream 1",
};

struct signature {
	uint8_t id[SIGN_ID_LEN], mac[SIGN_MAC_LEN];
};

static void
key_id(const uint8_t key[SIGN_KEY_LEN], uint8_t out[SIGN_ID_LEN])
{
	uint8_t digest[SHA256_DIGEST_LENGTH];

	SHA256(key, SIGN_KEY_LEN, digest);
	memcpy(out, digest, SIGN_ID_LEN);
}

/* One line for each member; only the last can hold anything, so that no two claims read the same.
 */
static size_t
claim_text(const struct sign_claim *c, char out[TEXT_MOST])
{
	char org[UUID_TEXT_LEN + 1], file[UUID_TEXT_LEN + 1], key[UUID_TEXT_LEN + 2] = "";
	int n;

	uuid_text(c->org, org);
	uuid_text(c->file, file);
	if (c->purpose == SIGN_CAMERA || c->purpose == SIGN_STREAM) {
		uuid_text(c->key, key);
		key[UUID_TEXT_LEN] = '\n';
		key[UUID_TEXT_LEN + 1] = '\0';
	}
	n = snprintf(out, TEXT_MOST, "%s\n%s\n%s\n%s%lld\n%lld\n%lld\n", purposes[c->purpose], org,
	    file, key, (long long)c->part, (long long)c->size, (long long)c->expires_s);
	must(n > 0 && (size_t)n + c->disposition.n < TEXT_MOST);
	if (c->disposition.n)
		memcpy(out + n, c->disposition.p, c->disposition.n);
	return (size_t)n + c->disposition.n;
}

static void
compute(const uint8_t key[SIGN_KEY_LEN], const struct sign_claim *c, struct signature *out)
{
	char text[TEXT_MOST];
	size_t n = claim_text(c, text);
	unsigned len = SIGN_MAC_LEN;

	must(HMAC(EVP_sha256(), key, SIGN_KEY_LEN, (const uint8_t *)text, n, out->mac, &len));
	key_id(key, out->id);
}

struct str
sign_make(struct arena *a, const uint8_t key[SIGN_KEY_LEN], const struct sign_claim *c)
{
	struct signature s;

	compute(key, c, &s);
	return str_b64url(a, &s, sizeof(s));
}

enum sign_verdict
sign_check(const uint8_t key[SIGN_KEY_LEN], const struct sign_claim *c, struct str signature,
    int64_t now_s)
{
	struct signature given = {{0}, {0}}, wanted;
	size_t n = 0;
	bool whole;

	if (c->disposition.n > SIGN_DISPOSITION_MOST)
		return SIGN_FORGED;
	whole = signature.n == SIGN_TEXT_LEN &&
	    str_unb64url(signature, (uint8_t *)&given, sizeof(given), &n) && n == sizeof(given);
	compute(key, c, &wanted);
	if (CRYPTO_memcmp(&given, &wanted, sizeof(wanted)) != 0 || !whole)
		return SIGN_FORGED;
	return c->expires_s > now_s ? SIGN_GOOD : SIGN_EXPIRED;
}
