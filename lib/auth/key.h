/* API keys: "slp_<kind>_", 43 base62 digits of 32 random bytes, 6 base62 digits of the CRC-32 of
 * all before. The checksum only tells typing errors and foreign tokens apart; it proves nothing. */
#ifndef AUTH_KEY_H
#define AUTH_KEY_H

#include "base/str.h"

struct arena;

enum key_kind { KEY_LIVE, KEY_DEV, KEY_SCIM };

enum {
	KEY_HASH_LEN = 32,   /* SHA-256 */
	KEY_PREFIX_LEN = 14, /* characters that may be shown */
	KEY_TEXT_MOST = 64   /* no key is longer */
};

const char *key_kind_name(enum key_kind kind);
bool key_kind_parse(struct str name, enum key_kind *out);

/* A new key from the system's randomness; its text is wiped when the arena is reset. */
struct str key_generate(struct arena *a, enum key_kind kind);
/* True when the text has the form and checksum of a key; says nothing about whether the key exists.
 */
bool key_parse_shape(struct str text, enum key_kind *kind);
/* What is stored of a key. */
void key_hash(struct str text, uint8_t out[KEY_HASH_LEN]);
/* The first KEY_PREFIX_LEN characters, borrowed. */
struct str key_prefix(struct str text);

#endif
