/* Replies are staged in the request and sent when everything, the commit included, has gone well.
 */
#ifndef FCGI_REPLY_H
#define FCGI_REPLY_H

#include "query.h"
#include "req.h"

/* Adds a header. name: a literal or arena; value: kept (arena or literal). */
void reply_header(struct req *r, const char *name, struct str value);

/* Runs the transaction and replies with q's first row as an object; err_resource_not_found when
 * there is none. With a hidden column _etag sets ETag and answers 304; 201 sets Location from the
 * column id, 202 from the column operation_id. */
const struct err *reply_one(struct req *r, struct query *q, int status);
/* Runs the transaction; 204, or err_resource_not_found when q gave no row. */
const struct err *reply_gone(struct req *r, struct query *q);
/* If-None-Match: weak comparison with each tag of the list, or "*" (RFC 9110 section 13.1.2). */
bool etag_in_list(struct str list, struct str etag);
/* Bytes as they are, as application/json. */
void reply_raw(struct req *r, int status, struct str body);
/* Starts an empty JSON reply and gives its buffer. */
struct buf *reply_json(struct req *r, int status);
void reply_empty(struct req *r, int status);
/* Starts an empty reply of another type and gives its buffer. content_type: a literal or arena. */
struct buf *reply_typed(struct req *r, int status, const char *content_type);
/* nginx sends this object of the local store, with Range, HEAD and conditional requests. Only for
 * operations with x-blob. content_type: a literal or arena. */
void reply_blob(struct req *r, struct uuid blob, const char *content_type);
/* nginx answers from this internal location of its own. Only for operations with x-blob.
 * content_type: a literal or arena. */
void reply_inner(struct req *r, const char *content_type, struct str place);
/* 302 to an absolute URL. */
void reply_found(struct req *r, struct str url);
/* What was staged, as the verdict of a probe: nginx goes on at a 2xx and else answers in our words
 * (nginx/render, pools_conf). */
void reply_verdict(struct req *r);

/* The catalogue's error in the contract's shape, or as problem+json (RFC 9457) when Accept names
 * it. */
void reply_error(struct req *r, const struct err *e);
/* The headers that every reply carries: contract, request id, rate limits, caching. */
void reply_common_headers(struct req *r);

#endif
