/* URLs that are their own credential: HMAC-SHA-256 over everything they allow, good until a point
 * in time. The signature names its key, so that a changed key is told from an altered URL by nobody
 * but the log. */
#ifndef AUTH_SIGN_H
#define AUTH_SIGN_H

#include "base/str.h"
#include "base/uuid.h"

struct arena;

enum {
	SIGN_KEY_LEN = 32,
	SIGN_ID_LEN = 4,
	SIGN_MAC_LEN = 32,
	SIGN_TEXT_LEN = 48,
	SIGN_DISPOSITION_MOST = 64
};

enum sign_purpose { SIGN_UPLOAD, SIGN_DOWNLOAD, SIGN_CAMERA, SIGN_STREAM };

/* What a URL allows. Members that a purpose does not use stay zero. */
struct sign_claim {
	enum sign_purpose purpose;
	struct uuid org, file; /* file: SIGN_CAMERA: the printer */
	struct uuid key;       /* SIGN_CAMERA, SIGN_STREAM: the API key that it stands for */
	int64_t part;          /* SIGN_UPLOAD */
	int64_t size; /* SIGN_UPLOAD; SIGN_CAMERA: pictures per second; SIGN_STREAM: `after` */
	struct str disposition; /* SIGN_DOWNLOAD; SIGN_STREAM: what it is of */
	int64_t expires_s;      /* Unix time */
};

enum sign_verdict { SIGN_GOOD, SIGN_FORGED, SIGN_EXPIRED };

/* SIGN_TEXT_LEN characters of base64url (key id, MAC), in the arena. */
struct str sign_make(struct arena *a, const uint8_t key[SIGN_KEY_LEN], const struct sign_claim *c);
/* SIGN_EXPIRED only for a URL that was good once: before that, anything wrong is SIGN_FORGED. */
enum sign_verdict sign_check(const uint8_t key[SIGN_KEY_LEN], const struct sign_claim *c,
    struct str signature, int64_t now_s);

#endif
