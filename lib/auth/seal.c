#include "auth/seal.h"

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#include "auth/wipe.h"
#include "base/arena.h"
#include "base/log.h"

enum {
	VERSION = 1,
	POINT_LEN = 32,
	KEY_LEN = 32,
	NONCE_LEN = 12,
	TAG_LEN = 16,
	HEAD_LEN = 1 + SEAL_ID_LEN + POINT_LEN
};

/* A public key's point and id; the same for both halves. */
struct point {
	uint8_t b[POINT_LEN];
	uint8_t id[SEAL_ID_LEN];
};

struct seal_public {
	EVP_PKEY *key;
	struct point point;
};

struct seal_private {
	EVP_PKEY *key;
	struct point point;
};

static void
read_point(EVP_PKEY *key, struct point *out)
{
	uint8_t hash[SHA256_DIGEST_LENGTH];
	size_t n = POINT_LEN;

	must(EVP_PKEY_get_raw_public_key(key, out->b, &n) == 1 && n == POINT_LEN);
	SHA256(out->b, POINT_LEN, hash);
	memcpy(out->id, hash, SEAL_ID_LEN);
}

static EVP_PKEY *
make_key(void)
{
	EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");

	must(key);
	return key;
}

/* No passphrase is ever asked for. */
static int
no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf, (void)size, (void)writing, (void)arg;
	return -1;
}

static EVP_PKEY *
read_pem(struct str pem, EVP_PKEY *(*reader)(BIO *, EVP_PKEY **, pem_password_cb *, void *))
{
	BIO *in = BIO_new_mem_buf(pem.p, (int)pem.n);
	EVP_PKEY *key;

	must(in);
	key = reader(in, NULL, no_passphrase, NULL);
	BIO_free(in);
	if (key && EVP_PKEY_get_base_id(key) != EVP_PKEY_X25519) {
		EVP_PKEY_free(key);
		return NULL;
	}
	return key;
}

static struct str
take_pem(struct arena *a, BIO *out)
{
	char *p;
	long n = BIO_get_mem_data(out, &p);
	char *copy = wipe_alloc(a, (size_t)n + 1);

	memcpy(copy, p, (size_t)n);
	OPENSSL_cleanse(p, (size_t)n);
	BIO_free(out);
	return (struct str){copy, (size_t)n};
}

void
seal_generate(struct arena *a, struct str *private_pem, struct str *public_pem)
{
	EVP_PKEY *key = make_key();
	BIO *priv = BIO_new(BIO_s_mem()), *pub = BIO_new(BIO_s_mem());

	must(priv && pub);
	must(PEM_write_bio_PrivateKey(priv, key, NULL, NULL, 0, NULL, NULL) == 1);
	must(PEM_write_bio_PUBKEY(pub, key) == 1);
	*private_pem = take_pem(a, priv);
	*public_pem = take_pem(a, pub);
	EVP_PKEY_free(key);
}

struct seal_public *
seal_public_new(struct str pem)
{
	EVP_PKEY *key = read_pem(pem, PEM_read_bio_PUBKEY);
	struct seal_public *k;

	if (!key)
		return NULL;
	must(k = calloc(1, sizeof(*k)));
	k->key = key;
	read_point(key, &k->point);
	return k;
}

void
seal_public_free(struct seal_public *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->key);
	free(k);
}

struct seal_private *
seal_private_new(struct str pem)
{
	EVP_PKEY *key = read_pem(pem, PEM_read_bio_PrivateKey);
	struct seal_private *k;

	if (!key)
		return NULL;
	must(k = calloc(1, sizeof(*k)));
	k->key = key;
	read_point(key, &k->point);
	return k;
}

void
seal_private_free(struct seal_private *k)
{
	if (!k)
		return;
	EVP_PKEY_free(k->key);
	free(k);
}

bool
seal_pair(const struct seal_public *pub, const struct seal_private *priv)
{
	return CRYPTO_memcmp(pub->point.b, priv->point.b, POINT_LEN) == 0;
}

struct secret {
	uint8_t key[KEY_LEN];
	uint8_t nonce[NONCE_LEN];
};

static bool
agree(EVP_PKEY *mine, EVP_PKEY *theirs, uint8_t out[POINT_LEN])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(mine, NULL);
	size_t n = POINT_LEN;
	bool ok;

	must(ctx && EVP_PKEY_derive_init(ctx) == 1);
	ok = EVP_PKEY_derive_set_peer(ctx, theirs) == 1 && EVP_PKEY_derive(ctx, out, &n) == 1 &&
	    n == POINT_LEN;
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static void
stretch(const uint8_t shared[POINT_LEN], const struct point *ephemeral, const struct point *reader,
    struct secret *out)
{
	static const unsigned char info[] = "soloprint sealed secret v1";
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	uint8_t salt[2 * POINT_LEN], okm[KEY_LEN + NONCE_LEN];
	size_t n = sizeof(okm);

	memcpy(salt, ephemeral->b, POINT_LEN);
	memcpy(salt + POINT_LEN, reader->b, POINT_LEN);
	must(ctx && EVP_PKEY_derive_init(ctx) == 1 &&
	    EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()) == 1);
	must(EVP_PKEY_CTX_set1_hkdf_salt(ctx, salt, sizeof(salt)) == 1);
	must(EVP_PKEY_CTX_set1_hkdf_key(ctx, shared, POINT_LEN) == 1);
	must(EVP_PKEY_CTX_add1_hkdf_info(ctx, info, sizeof(info) - 1) == 1);
	must(EVP_PKEY_derive(ctx, okm, &n) == 1 && n == sizeof(okm));
	EVP_PKEY_CTX_free(ctx);
	memcpy(out->key, okm, KEY_LEN);
	memcpy(out->nonce, okm + KEY_LEN, NONCE_LEN);
	OPENSSL_cleanse(okm, sizeof(okm));
}

static bool
derive(EVP_PKEY *mine, EVP_PKEY *theirs, const struct point *ephemeral, const struct point *reader,
    struct secret *out)
{
	uint8_t shared[POINT_LEN];
	bool ok = agree(mine, theirs, shared);

	if (ok)
		stretch(shared, ephemeral, reader, out);
	OPENSSL_cleanse(shared, sizeof(shared));
	return ok;
}

static struct str
additional_data(struct arena *a, const struct seal_place *at)
{
	char org[UUID_TEXT_LEN + 1], row[UUID_TEXT_LEN + 1];

	uuid_text(at->org, org);
	uuid_text(at->row, row);
	return str_fmt(a, "%.*s|%.*s|%s|%s", STR_ARG(at->table), STR_ARG(at->column), org, row);
}

static void
encrypt(const struct secret *s, struct str ad, struct str plain, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	must(ctx && EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, s->key, s->nonce) == 1);
	must(EVP_EncryptUpdate(ctx, NULL, &n, (const uint8_t *)ad.p, (int)ad.n) == 1);
	must(EVP_EncryptUpdate(ctx, out, &n, (const uint8_t *)plain.p, (int)plain.n) == 1);
	must(EVP_EncryptFinal_ex(ctx, out + plain.n, &n) == 1);
	must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, out + plain.n) == 1);
	EVP_CIPHER_CTX_free(ctx);
}

/* in: n bytes of ciphertext and the tag. */
static bool
decrypt(const struct secret *s, struct str ad, const uint8_t *in, size_t n, uint8_t *out)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	uint8_t tag[TAG_LEN];
	int len;
	bool ok;

	memcpy(tag, in + n, TAG_LEN);
	ok = ctx && EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, s->key, s->nonce) == 1 &&
	    EVP_DecryptUpdate(ctx, NULL, &len, (const uint8_t *)ad.p, (int)ad.n) == 1 &&
	    EVP_DecryptUpdate(ctx, out, &len, in, (int)n) == 1 &&
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1 &&
	    EVP_DecryptFinal_ex(ctx, out + n, &len) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

struct str
seal_secret(
    struct arena *a, const struct seal_public *k, const struct seal_place *at, struct str plain)
{
	EVP_PKEY *once = make_key();
	size_t total = SEAL_OVERHEAD + plain.n;
	uint8_t *out = arena_alloc(a, total);
	struct point ephemeral;
	struct secret s;
	bool ok;

	must(plain.n <= INT32_MAX / 2);
	read_point(once, &ephemeral);
	ok = derive(once, k->key, &ephemeral, &k->point, &s);
	if (ok) {
		out[0] = VERSION;
		memcpy(out + 1, k->point.id, SEAL_ID_LEN);
		memcpy(out + 1 + SEAL_ID_LEN, ephemeral.b, POINT_LEN);
		encrypt(&s, additional_data(a, at), plain, out + HEAD_LEN);
	}
	OPENSSL_cleanse(&s, sizeof(s));
	EVP_PKEY_free(once);
	return ok ? (struct str){(char *)out, total} : STR_NONE;
}

bool
seal_for_key(const struct seal_private *k, struct str sealed)
{
	return sealed.n >= SEAL_OVERHEAD && sealed.p[0] == VERSION &&
	    CRYPTO_memcmp(sealed.p + 1, k->point.id, SEAL_ID_LEN) == 0;
}

bool
seal_open(struct arena *a, const struct seal_private *k, const struct seal_place *at,
    struct str sealed, struct str *plain)
{
	const uint8_t *in = (const uint8_t *)sealed.p;
	struct point ephemeral = {0};
	EVP_PKEY *once;
	struct secret s = {0};
	size_t n;
	uint8_t *out;
	bool ok;

	if (!seal_for_key(k, sealed) || sealed.n > INT32_MAX / 2)
		return false;
	n = sealed.n - SEAL_OVERHEAD;
	memcpy(ephemeral.b, in + 1 + SEAL_ID_LEN, POINT_LEN);
	once = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, ephemeral.b, POINT_LEN);
	must(once);
	out = wipe_alloc(a, n + 1);
	ok = derive(k->key, once, &ephemeral, &k->point, &s) &&
	    decrypt(&s, additional_data(a, at), in + HEAD_LEN, n, out);
	*plain = ok ? (struct str){(char *)out, n} : STR_NONE;
	OPENSSL_cleanse(&s, sizeof(s));
	EVP_PKEY_free(once);
	return ok;
}
