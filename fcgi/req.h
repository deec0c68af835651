/* One request: what came in, what the contract made of it, who asks, and the reply being staged.
 * Everything lives in the request's arena; nothing survives it. */
#ifndef FCGI_REQ_H
#define FCGI_REQ_H

#include <json-c/json.h>

#include "auth/key.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/uuid.h"
#include "db/pg.h"
#include "gen/errors.h"
#include "gen/inputs.h"
#include "http/route.h"
#include "http/validate.h"
#include "net/redis_limit.h"

struct worker;

/* Request headers that the API knows; nginx passes no others. STR_NONE when absent. */
struct headers_in {
	struct str authorization, api_key, content_type, accept, idempotency_key, if_match,
	    if_none_match;
	struct str api_version, last_event_id, user_agent;
};

/* Who asks: sec.begin_request's answer. */
struct auth {
	bool done; /* nothing else holds before this is true */
	struct uuid org_id, principal_id, key_id;
	struct limit_values limits; /* effective for this key */
};

/* One transaction: the statements of a handler, and whether it stays open to store the reply. */
struct tx {
	struct query *first, *last;
	struct query *begin_request;
	bool ran, keep_open;
};

/* A body that is a file is judged by its request's headers first, in a request of its own. */
enum stage {
	STAGE_FULL,
	STAGE_PROBE, /* the headers alone: a 2xx lets the body in, an error becomes the answer */
	STAGE_ENDED  /* again, after what reply_inner named came to nothing: why? */
};

struct header_out {
	const char *name;
	struct str value;
	struct header_out *next;
};

struct reply {
	int status; /* 0: nothing staged */
	const char *content_type;
	struct buf body; /* heap, freed with the arena */
	struct header_out *headers, **headers_end;
};

struct req {
	struct worker *w; /* the process' connections and settings */
	struct arena *arena;
	struct str id; /* X-Request-Id */
	struct str method, path, query_string, body, remote_addr;
	bool body_too_large;
	enum stage stage;
	int64_t body_length; /* as announced, also in a probe; -1: not announced */
	int body_fd;         /* ROUTE_BODY_FILE: the body, unnamed in the store; else -1 */
	bool body_lost;      /* it could not be kept: the disk is full */
	struct headers_in in_headers;

	const struct route *route;
	struct path_params path_params;
	const void *query;             /* struct <operation>_query of gen/inputs.h, or NULL */
	const void *in;                /* struct <operation>_body, or NULL */
	struct json_object *body_json; /* the validated body */

	bool has_credential;
	struct str credential; /* the key itself: never log, never store */
	uint8_t key_hash[KEY_HASH_LEN];
	struct auth auth;
	struct tx tx;
	struct limit_verdict verdict;
	bool limited; /* the limiter was asked */

	const struct err *refused; /* what the violations are about; the credential speaks first */
	bool replayed;             /* the staged reply is a stored one */

	struct violations violations;
	struct str detail;       /* for the error's `details` when there are no violations */
	struct str details_json; /* an object, goes before `detail`; arena or of a result */
	struct reply reply;
};

/* Sets the error's `details` text. */
__attribute__((format(printf, 2, 3))) void req_detail(struct req *r, const char *fmt, ...);
bool req_is(const struct req *r, const char *method);

#endif
