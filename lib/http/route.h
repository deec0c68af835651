/* Which operation of the contract does a request mean? The table is generated (gen/routes.h). */
#ifndef HTTP_ROUTE_H
#define HTTP_ROUTE_H

#include "base/str.h"

struct arena;
struct err;
struct field;
struct req;
struct shape;

typedef const struct err *(*handler_fn)(struct req *r);

enum rate_class { RATE_READ, RATE_WRITE, RATE_CONTROL, RATE_LOGIN, RATE_NONE };
enum pool { POOL_API, POOL_FILES, POOL_AUTH };
enum route_flags {
	ROUTE_IDEMPOTENT = 1, /* takes Idempotency-Key */
	ROUTE_SECRET_RESPONSE =
	    2, /* the answer carries a secret: stored replies are encrypted, never cached */
	ROUTE_PUBLIC = 4,      /* no credential */
	ROUTE_ETAG = 8,        /* answers ETag, takes If-None-Match */
	ROUTE_IF_MATCH = 16,   /* takes If-Match */
	ROUTE_BODY_FILE = 32,  /* the body is any file; a probe of the headers comes first */
	ROUTE_BODY_STAGED = 64 /* nginx keeps the body; the worker sees only the probe */
};

struct route {
	const char *operation; /* operationId */
	const char *method;
	struct str path; /* template, "/v1/printers/{printer_id}/status" */
	handler_fn handler;
	const char *capability; /* "operations.read", "any" or "public" */
	enum rate_class rate;
	enum pool pool;
	unsigned flags;
	size_t body_most; /* bytes; 0: takes no body */
	bool body_required;
	const struct shape *query; /* NULL: no parameters */
	const struct shape *body;  /* NULL: no JSON body */
	const struct field *path_fields;
	size_t n_path_fields; /* in the template's order */
};

enum route_match { ROUTE_FOUND, ROUTE_NOT_FOUND, ROUTE_WRONG_METHOD };

/* The most path parameters one template has. */
#define ROUTE_SEGS_MAX 4

/* path: the request's path as it came (not percent-decoded, no query). HEAD finds GET's route.
 * segs[] borrows the parameters' segments from path. ROUTE_WRONG_METHOD (OPTIONS always is one)
 * sets *allow, in the arena: "GET, HEAD, OPTIONS, POST". */
enum route_match route_find(const struct route *routes, size_t n, struct str method,
    struct str path, const struct route **out, struct str segs[ROUTE_SEGS_MAX], struct str *allow,
    struct arena *a);

#endif
