/* Secrets that the API may write and only one other process may read: sealed with the X25519 public
 * key of the gateway (what printers ask for) or of the courier (what webhooks and notifications
 * need).
 *
 * Form of version 1: 0x01, key id (4), ephemeral public key (32), ciphertext, tag (16). AES-256-GCM
 * under HKDF-SHA-256(X25519(ephemeral, reader), salt = both public keys); the additional data is
 * "table|column|org|row", so a sealed value opens only in the place it was made for. */
#ifndef AUTH_SEAL_H
#define AUTH_SEAL_H

#include "base/str.h"
#include "base/uuid.h"

struct arena;
struct seal_public;
struct seal_private;

/* Where the value is stored. */
struct seal_place {
	struct str table, column;
	struct uuid org, row;
};

#define SEAL_PRINTER_SECRET(org_, row_)                                                            \
	((struct seal_place){STR("printers"), STR("secret"), (org_), (row_)})
/* What an operation that belongs to no printer yet is given: params.secret of app.jobs. */
#define SEAL_JOB_SECRET(org_, row_)                                                                \
	((struct seal_place){STR("jobs"), STR("secret"), (org_), (row_)})
/* The courier's: a signing secret as text (row: the secret's own id), a webhook's headers as a JSON
 * object, and the URL that a notification rule sends to. */
#define SEAL_WEBHOOK_SECRET(org_, row_)                                                            \
	((struct seal_place){STR("webhook_secrets"), STR("secret"), (org_), (row_)})
#define SEAL_WEBHOOK_HEADERS(org_, row_)                                                           \
	((struct seal_place){STR("webhooks"), STR("headers"), (org_), (row_)})
#define SEAL_RULE_TARGET(org_, row_)                                                               \
	((struct seal_place){STR("notification_rules"), STR("target"), (org_), (row_)})

enum { SEAL_ID_LEN = 4, SEAL_OVERHEAD = 1 + SEAL_ID_LEN + 32 + 16 };

/* Both PEM texts in the arena, the private one wiped at its reset. */
void seal_generate(struct arena *a, struct str *private_pem, struct str *public_pem);

/* NULL when the PEM text is not an X25519 key of that sort. */
struct seal_public *seal_public_new(struct str pem);
void seal_public_free(struct seal_public *k);
struct seal_private *seal_private_new(struct str pem);
void seal_private_free(struct seal_private *k);
/* True when the two belong together. */
bool seal_pair(const struct seal_public *pub, const struct seal_private *priv);

/* In the arena. STR_NONE when the public key is a degenerate point. */
struct str seal_secret(
    struct arena *a, const struct seal_public *k, const struct seal_place *at, struct str plain);
/* The plain text in the arena, wiped at its reset, with a NUL behind it. False when it was sealed
 * for another key or place, or was altered. */
bool seal_open(struct arena *a, const struct seal_private *k, const struct seal_place *at,
    struct str sealed, struct str *plain);
/* True when the value names this key (it may still be altered); to tell a changed key from damage.
 */
bool seal_for_key(const struct seal_private *k, struct str sealed);

#endif
