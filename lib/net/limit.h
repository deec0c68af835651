/* Rate limits: what is asked and what is answered, whoever answers. */
#ifndef NET_LIMIT_H
#define NET_LIMIT_H

#include "base/str.h"

enum { LIMIT_HASH_SIZE = 32 };

/* In the order of enum rate_class (http/route.h). */
enum limit_class { LIMIT_READ, LIMIT_WRITE, LIMIT_CONTROL, LIMIT_LOGIN };

/* Limits of one key. */
struct limit_values {
	int64_t read, write, control; /* per minute */
	int64_t burst;                /* per second, over all classes */
};

/* What a key has when nothing else is known; sec.begin_request uses the same. */
extern const struct limit_values limit_defaults;

struct limit_question {
	uint8_t key_hash[LIMIT_HASH_SIZE]; /* SHA-256 of the key; login: of the account's name */
	enum limit_class cls;
	struct str addr; /* the client's address, as text */
};

/* Who refused. LIMIT_BY_ADDRESS: too many unknown keys (or logins) from this address. */
enum limit_policy { LIMIT_BY_NONE, LIMIT_BY_CLASS, LIMIT_BY_BURST, LIMIT_BY_ADDRESS };

struct limit_quota {
	int64_t limit, window_s;
	int64_t remaining;
	int64_t reset_s; /* until all of it is back, rounded up */
};

struct limit_verdict {
	bool allowed;
	bool degraded;    /* answered without Redis, from this process's own share */
	bool unavailable; /* refused because this class is not served without Redis */
	enum limit_class cls;
	enum limit_policy refused_by;
	const char *policy; /* its name, "read", "burst", "address" …; else NULL */
	struct limit_quota by_class, by_second, by_address; /* limit 0: not part of this verdict */
	int64_t reset_epoch_s;                              /* of the policy that counts */
	int64_t retry_after_s;                              /* refused: at least 1 */
	struct limit_values used;                           /* the limits it was judged by */
};

/* Fills refused_by, policy and allowed. */
void limit_refuse(struct limit_verdict *v, enum limit_policy by, int64_t retry_ms);

/* The quota that refused; of an allowed request, the class's. */
const struct limit_quota *limit_decisive(const struct limit_verdict *v);

int64_t limit_of(const struct limit_values *set, enum limit_class cls);
bool limit_values_equal(const struct limit_values *a, const struct limit_values *b);
/* "read", "write", "control", "login". */
const char *limit_class_name(enum limit_class cls);

/* --- as response headers --- */

struct limit_header {
	const char *name;
	struct str value; /* arena */
};

enum { LIMIT_HEADERS_MOST = 6 };

/* RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11), X-RateLimit-Limit,
 * -Remaining, -Reset (epoch) and -Resource; none of a degraded verdict. Retry-After comes with the
 * error. Returns how many. */
size_t limit_headers_render(
    struct arena *a, const struct limit_verdict *v, struct limit_header out[LIMIT_HEADERS_MOST]);

#endif
