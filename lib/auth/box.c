#include "auth/box.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <string.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/uuid.h"

enum { NONCE_LEN = 12, TAG_LEN = 16, BOX_KEY_LEN = 32 };

static void
derive(struct str credential, struct str context, uint8_t key[BOX_KEY_LEN])
{
	static const unsigned char salt[] = "soloprint stored reply v1";
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	size_t n = BOX_KEY_LEN;

	must(ctx && EVP_PKEY_derive_init(ctx) == 1 &&
	    EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()) == 1);
	must(EVP_PKEY_CTX_set1_hkdf_salt(ctx, salt, sizeof(salt) - 1) == 1);
	must(EVP_PKEY_CTX_set1_hkdf_key(
		 ctx, (const unsigned char *)credential.p, (int)credential.n) == 1);
	must(EVP_PKEY_CTX_add1_hkdf_info(ctx, (const unsigned char *)context.p, (int)context.n) ==
	    1);
	must(EVP_PKEY_derive(ctx, key, &n) == 1 && n == BOX_KEY_LEN);
	EVP_PKEY_CTX_free(ctx);
}

struct str
box_seal(struct arena *a, struct str credential, struct str context, struct str plain)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t key[BOX_KEY_LEN];
	size_t total = NONCE_LEN + plain.n + TAG_LEN;
	uint8_t *out = arena_alloc(a, total);
	int n;

	derive(credential, context, key);
	random_bytes(out, NONCE_LEN);
	must(ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, out) == 1);
	must(EVP_EncryptUpdate(ctx, out + NONCE_LEN, &n, (const uint8_t *)plain.p, (int)plain.n) ==
	    1);
	must(EVP_EncryptFinal_ex(ctx, out + NONCE_LEN + plain.n, &n) == 1);
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, out + NONCE_LEN + plain.n) ==
	    1);
	EVP_CIPHER_CTX_free(ctx);
	OPENSSL_cleanse(key, sizeof(key));
	return (struct str){(char *)out, total};
}

struct str
box_open(struct arena *a, struct str credential, struct str context, struct str sealed)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t key[BOX_KEY_LEN], tag[TAG_LEN];
	size_t n = sealed.n < NONCE_LEN + TAG_LEN ? 0 : sealed.n - NONCE_LEN - TAG_LEN;
	uint8_t *out = arena_alloc(a, n + 1);
	const uint8_t *in = (const uint8_t *)sealed.p;
	int len;
	bool ok = sealed.n >= NONCE_LEN + TAG_LEN;

	derive(credential, context, key);
	if (ok)
		memcpy(tag, in + NONCE_LEN + n, TAG_LEN);
	ok = ok && ctx && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, in) == 1 &&
	    EVP_DecryptUpdate(ctx, out, &len, in + NONCE_LEN, (int)n) == 1 &&
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1 &&
	    EVP_DecryptFinal_ex(ctx, out + n, &len) == 1;
	EVP_CIPHER_CTX_free(ctx);
	OPENSSL_cleanse(key, sizeof(key));
	return ok ? (struct str){(char *)out, n} : STR_NONE;
}
