#include "auth/key.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <string.h>
#include <zlib.h>

#include "auth/wipe.h"
#include "base/arena.h"
#include "base/uuid.h"

enum { RANDOM_LEN = 32, BODY_DIGITS = 43, CHECK_DIGITS = 6 };

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static const struct {
	const char *name;
	struct str start;
} kinds[] = {
    [KEY_LIVE] = {"live", {"slp_live_", 9}},
    [KEY_DEV] = {"dev", {"slp_dev_", 8}},
    [KEY_SCIM] = {"scim", {"slp_scim_", 9}},
};

const char *
key_kind_name(enum key_kind kind)
{
	return kinds[kind].name;
}

bool
key_kind_parse(struct str name, enum key_kind *out)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (str_eq(name, str_from(kinds[i].name))) {
			*out = (enum key_kind)i;
			return true;
		}
	}
	return false;
}

/* Divides the big-endian number by 62 in place; returns the remainder. */
static unsigned
divide(uint8_t *n, size_t len)
{
	unsigned rest = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned v = rest << 8 | n[i];

		n[i] = (uint8_t)(v / 62);
		rest = v % 62;
	}
	return rest;
}

/* Writes the big-endian number as exactly `width` base62 digits; `n` is zero afterwards. */
static void
write_base62(uint8_t *n, size_t len, char *out, size_t width)
{
	while (width > 0)
		out[--width] = digits[divide(n, len)];
}

static void
write_checksum(const char *text, size_t n, char out[CHECK_DIGITS])
{
	uint32_t crc = (uint32_t)crc32(0, (const Bytef *)text, (uInt)n);
	uint8_t be[4] = {
	    (uint8_t)(crc >> 24), (uint8_t)(crc >> 16), (uint8_t)(crc >> 8), (uint8_t)crc};

	write_base62(be, sizeof(be), out, CHECK_DIGITS);
}

struct str
key_generate(struct arena *a, enum key_kind kind)
{
	struct str start = kinds[kind].start;
	size_t n = start.n + BODY_DIGITS + CHECK_DIGITS;
	char *text = wipe_alloc(a, n + 1);
	uint8_t secret[RANDOM_LEN];

	random_bytes(secret, sizeof(secret));
	memcpy(text, start.p, start.n);
	write_base62(secret, sizeof(secret), text + start.n, BODY_DIGITS);
	write_checksum(text, start.n + BODY_DIGITS, text + start.n + BODY_DIGITS);
	OPENSSL_cleanse(secret, sizeof(secret));
	return (struct str){text, n};
}

static bool
all_digits(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '\0' || !strchr(digits, s.p[i]))
			return false;
	}
	return true;
}

bool
key_parse_shape(struct str text, enum key_kind *kind)
{
	char check[CHECK_DIGITS];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct str start = kinds[i].start;
		size_t body = start.n + BODY_DIGITS;

		if (!str_starts(text, start) || text.n != body + CHECK_DIGITS)
			continue;
		write_checksum(text.p, body, check);
		*kind = (enum key_kind)i;
		return all_digits((struct str){text.p + start.n, text.n - start.n}) &&
		    CRYPTO_memcmp(check, text.p + body, CHECK_DIGITS) == 0;
	}
	return false;
}

void
key_hash(struct str text, uint8_t out[KEY_HASH_LEN])
{
	SHA256((const unsigned char *)text.p, text.n, out);
}

struct str
key_prefix(struct str text)
{
	return (struct str){text.p, text.n < KEY_PREFIX_LEN ? text.n : (size_t)KEY_PREFIX_LEN};
}
