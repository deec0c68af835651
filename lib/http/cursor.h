/* Opaque list cursors: where the last page ended, bound to its order and filters, signed. */
#ifndef HTTP_CURSOR_H
#define HTTP_CURSOR_H

#include "base/str.h"
#include "base/uuid.h"

enum { CURSOR_SIGN_KEY_LEN = 32 };

struct cursor {
	struct str scope; /* operation, order and filters in one text; not stored, only its hash */
	struct str
	    key; /* sort key of the last row, as text; cut to 400 bytes at most by the caller */
	struct uuid id; /* of the last row */
};

/* base64url(version, hash of scope, id, key, truncated HMAC-SHA-256), in the arena. */
struct str cursor_encode(
    struct arena *a, const uint8_t sign_key[CURSOR_SIGN_KEY_LEN], const struct cursor *c);
/* c->scope is given, key and id are filled. False when the text was not made by cursor_encode with
 * this key for this scope. */
bool cursor_decode(struct arena *a, const uint8_t sign_key[CURSOR_SIGN_KEY_LEN], struct str text,
    struct cursor *c);

#endif
