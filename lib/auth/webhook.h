/* Signatures of webhooks as Standard Webhooks 1.0.0 has them
 * (https://www.standardwebhooks.com): over "{id}.{timestamp}.{body}". Secrets are texts: "whsec_"
 * and base64 of 24 to 64 bytes for HMAC-SHA-256, "whsk_" and base64 of an Ed25519 key's seed and
 * public half, 32 bytes each; receivers of the latter are given "whpk_" and the public half. */
#ifndef AUTH_WEBHOOK_H
#define AUTH_WEBHOOK_H

#include "base/str.h"

struct arena;

enum webhook_scheme { WEBHOOK_HMAC, WEBHOOK_ED25519 };

/* "hmac", "ed25519": as the contract and the database call them. */
const char *webhook_scheme_name(enum webhook_scheme scheme);
bool webhook_scheme_parse(struct str name, enum webhook_scheme *out);

/* A new secret from the system's randomness, wiped when the arena is reset. *public_key: what
 * receivers check with, STR_NONE for HMAC, where it is the secret itself. */
struct str webhook_secret_generate(
    struct arena *a, enum webhook_scheme scheme, struct str *public_key);
/* Can it sign? *scheme may be NULL. */
bool webhook_secret_ok(struct str secret, enum webhook_scheme *scheme);

/* One signature, "v1,…" or "v1a,…", in the arena. STR_NONE when the secret is none, or the id is
 * empty or has a full stop, which would make two messages read the same. */
struct str webhook_sign(
    struct arena *a, struct str secret, struct str id, int64_t timestamp_s, struct str body);

#endif
