#include "http/cursor.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"

enum {
	CURSOR_VERSION = 1,
	SCOPE_LEN = 8,
	MAC_LEN = 16,
	HEAD_LEN = 1 + SCOPE_LEN + 16,
	RAW_MOST = 768
};

static void
scope_hash(struct str scope, uint8_t out[SCOPE_LEN])
{
	uint8_t full[EVP_MAX_MD_SIZE];
	unsigned n;

	must(EVP_Digest(scope.p ? scope.p : "", scope.n, full, &n, EVP_sha256(), NULL) == 1);
	memcpy(out, full, SCOPE_LEN);
}

static void
sign(const uint8_t key[CURSOR_SIGN_KEY_LEN], const uint8_t *p, size_t n, uint8_t out[MAC_LEN])
{
	uint8_t full[EVP_MAX_MD_SIZE];
	unsigned len;

	must(HMAC(EVP_sha256(), key, CURSOR_SIGN_KEY_LEN, p, n, full, &len) != NULL);
	memcpy(out, full, MAC_LEN);
}

struct str
cursor_encode(struct arena *a, const uint8_t sign_key[CURSOR_SIGN_KEY_LEN], const struct cursor *c)
{
	uint8_t raw[RAW_MOST];
	size_t n = HEAD_LEN + c->key.n;

	must(n + MAC_LEN <= sizeof(raw));
	raw[0] = CURSOR_VERSION;
	scope_hash(c->scope, raw + 1);
	memcpy(raw + 1 + SCOPE_LEN, c->id.b, 16);
	if (c->key.n)
		memcpy(raw + HEAD_LEN, c->key.p, c->key.n);
	sign(sign_key, raw, n, raw + n);
	return str_b64url(a, raw, n + MAC_LEN);
}

bool
cursor_decode(
    struct arena *a, const uint8_t sign_key[CURSOR_SIGN_KEY_LEN], struct str text, struct cursor *c)
{
	uint8_t raw[RAW_MOST], mac[MAC_LEN], scope[SCOPE_LEN];
	size_t n;

	if (!str_unb64url(text, raw, sizeof(raw), &n) || n < HEAD_LEN + MAC_LEN)
		return false;
	n -= MAC_LEN;
	sign(sign_key, raw, n, mac);
	scope_hash(c->scope, scope);
	if (CRYPTO_memcmp(mac, raw + n, MAC_LEN) != 0 || raw[0] != CURSOR_VERSION ||
	    memcmp(scope, raw + 1, SCOPE_LEN) != 0)
		return false;
	memcpy(c->id.b, raw + 1 + SCOPE_LEN, 16);
	c->key = str_dup(a, (struct str){(char *)raw + HEAD_LEN, n - HEAD_LEN});
	return true;
}
