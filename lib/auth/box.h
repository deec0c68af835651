/* Replies that carry a secret, stored so that nothing on the server can open them: AES-256-GCM
 * under a key derived (HKDF-SHA-256, RFC 5869) from the presented credential and the idempotency
 * key. */
#ifndef AUTH_BOX_H
#define AUTH_BOX_H

#include "base/str.h"

/* nonce (12 bytes), ciphertext, tag (16 bytes); in the arena. */
struct str box_seal(struct arena *a, struct str credential, struct str context, struct str plain);
/* STR_NONE when it was sealed for another credential or context, or was altered. */
struct str box_open(struct arena *a, struct str credential, struct str context, struct str sealed);

#endif
