/* A handler's statements: bound, run as one transaction together with the authentication, read.
 *
 * bind_* and rows_* come from db/pg.h. */
#ifndef FCGI_QUERY_H
#define FCGI_QUERY_H

#include "gen/fcgi_sql.h"
#include "req.h"

/* Adds a statement to the request's transaction. */
struct query *query(struct req *r, const struct sql *sql);

/* Authenticates and runs all statements in one round trip. Call it once; the reply_* functions do
 * so when it has not been called yet. Errors: 401, 403, 503, and what the statements' SQLSTATEs
 * mean in the catalogue. */
const struct err *query_run(struct req *r);

/* Begins another transaction of this request, for handlers that read page by page; the results so
 * far stay. */
void query_again(struct req *r);

/* Binds If-Match as int[]: NULL when absent or "*", else the versions it names ("c7.s1" and "7"
 * both name 7). */
void bind_if_match(struct query *q, const struct req *r);
/* The validated body as jsonb. */
void bind_body(struct query *q, const struct req *r);
void bind_list(struct query *q, const struct str_list *list);   /* text[]; NULL when empty */
void bind_ids(struct query *q, const struct uuid_list *list);   /* uuid[]; NULL when empty */
void bind_uuid_if(struct query *q, bool given, struct uuid id); /* NULL when not given */
/* A pattern for ILIKE that finds `text` anywhere; NULL when there is none. */
void bind_contains(struct query *q, struct str text);

/* Only the authentication, in a transaction of its own; the handler's statements run later, and ask
 * again. For handlers that need to know the organisation before they can bind. */
const struct err *query_auth(struct req *r);

/* For a handler that refuses before its transaction ran: asks the database who it is first, so that
 * 401 and 403 win. */
const struct err *refuse(struct req *r, const struct err *e);

#endif
