#include "query.h"

#include <string.h>

#include "idem.h"
#include "state.h"

enum { DEADLOCK_TRIES = 3 };

struct query *
query(struct req *r, const struct sql *sql)
{
	struct query *q = pg_query(r->arena, sql);

	must(!r->tx.ran);
	if (r->tx.last)
		r->tx.last->next = q;
	else
		r->tx.first = q;
	r->tx.last = q;
	return q;
}

void
query_again(struct req *r)
{
	must(!r->tx.keep_open && !(r->route->flags & ROUTE_IDEMPOTENT));
	r->tx = (struct tx){.first = NULL};
}

/* Puts sec.begin_request before everything else. */
static void
prepend_begin_request(struct req *r)
{
	struct query *q = pg_query(r->arena, &SQL_begin_request);

	bind_bytes(q, r->key_hash, sizeof(r->key_hash));
	bind_str(q, str_from(r->route->capability));
	bind_str(q, str_from(r->route->operation));
	bind_str(q, r->remote_addr);
	bind_str(q, r->id);
	q->next = r->tx.first;
	r->tx.first = q;
	r->tx.begin_request = q;
}

static void
read_auth(struct req *r)
{
	const struct query *q = r->tx.begin_request;

	must(rows_count(q) == 1);
	r->auth = (struct auth){
	    .done = true,
	    .org_id = rows_uuid(q, 0, "org_id"),
	    .principal_id = rows_uuid(q, 0, "principal_id"),
	    .key_id = rows_uuid(q, 0, "key_id"),
	    .limits =
		{
		    .read = rows_i64(q, 0, "limit_read"),
		    .write = rows_i64(q, 0, "limit_write"),
		    .control = rows_i64(q, 0, "limit_control"),
		    .burst = rows_i64(q, 0, "limit_burst"),
		},
	};
}

static void
forget_results(struct query *list)
{
	for (struct query *q = list; q; q = q->next)
		q->result = NULL; /* the arena clears it */
}

/* Whether the same statements may be sent again: after a deadlock or a serialization failure (class
 * 40), since nothing was committed, and for a read once when the connection turned out to be dead.
 */
static bool
worth_repeating(const struct req *r, const struct err *e, const struct pg_failure *f, int tries)
{
	if (strncmp(f->sqlstate, "40", 2) == 0)
		return true;
	return e == &err_database_unavailable && r->route->rate == RATE_READ && tries == 0;
}

static const struct err *
run_with_retry(struct req *r, enum pg_tx mode, struct pg_failure *f)
{
	const struct err *e = NULL;

	for (int tries = 0; tries < DEADLOCK_TRIES; tries++) {
		*f = (struct pg_failure){.message = STR_NONE};
		e = pg_ready(r->w->pg);
		if (e)
			return e;
		forget_results(r->tx.first);
		e = pg_run(r->w->pg, r->arena, r->tx.first, mode, f);
		if (!e || !worth_repeating(r, e, f, tries))
			return e;
	}
	return e;
}

static const struct err *
run_begin_request(struct req *r)
{
	struct pg_failure f;
	const struct err *e = run_with_retry(r, PG_IMPLICIT, &f);

	if (!e)
		read_auth(r);
	return e;
}

const struct err *
query_run(struct req *r)
{
	bool public = (r->route->flags & ROUTE_PUBLIC) != 0;
	struct pg_failure f;
	const struct err *e;

	must(!r->tx.ran);
	idem_claim(r);
	if (!public)
		prepend_begin_request(r);
	r->auth.done = false;
	r->tx.ran = true;
	e = run_with_retry(r, r->tx.keep_open ? PG_BEGIN : PG_IMPLICIT, &f);
	if (r->tx.begin_request && r->tx.begin_request->result)
		read_auth(r);
	if (e && strcmp(f.sqlstate, IDEM_REPLAY_SQLSTATE) == 0)
		return idem_replay(r);
	return e;
}

/* "c7.s1", W/"c7.s1" or "7": the version of the configuration, or -1. */
static int64_t
etag_version(struct str tag)
{
	int64_t v;

	if (str_starts(tag, STR("W/")))
		tag = (struct str){tag.p + 2, tag.n - 2};
	if (tag.n < 3 || tag.p[0] != '"' || tag.p[tag.n - 1] != '"')
		return -1;
	tag = (struct str){tag.p + 1, tag.n - 2};
	if (tag.p[0] == 'c')
		tag = (struct str){tag.p + 1, tag.n - 1};
	tag = str_cut(&tag, '.');
	return str_to_i64(tag, &v) && v >= 0 && v <= INT32_MAX ? v : -1;
}

void
bind_if_match(struct query *q, const struct req *r)
{
	struct str rest = r->in_headers.if_match, versions[16];
	size_t n = 0;

	if (!rest.p || str_eq(str_trim(rest), STR("*"))) {
		bind_null(q);
		return;
	}
	while (rest.n && n < 16)
		versions[n++] = str_fmt(
		    r->arena, "%lld", (long long)etag_version(str_trim(str_cut(&rest, ','))));
	bind_str_array(q, versions, n);
}

void
bind_body(struct query *q, const struct req *r)
{
	size_t n;
	const char *text = json_object_to_json_string_length(
	    r->body_json, JSON_C_TO_STRING_PLAIN, &n);

	bind_str(q, (struct str){text, n});
}

void
bind_list(struct query *q, const struct str_list *list)
{
	if (list->n)
		bind_str_array(q, list->v, list->n);
	else
		bind_null(q);
}

void
bind_ids(struct query *q, const struct uuid_list *list)
{
	if (list->n)
		bind_uuid_array(q, list->v, list->n);
	else
		bind_null(q);
}

void
bind_uuid_if(struct query *q, bool given, struct uuid id)
{
	if (given)
		bind_uuid(q, id);
	else
		bind_null(q);
}

void
bind_contains(struct query *q, struct str text)
{
	char *p;
	size_t n = 0;

	if (!text.p) {
		bind_null(q);
		return;
	}
	p = arena_alloc(q->arena, 2 * text.n + 2);
	p[n++] = '%';
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] == '%' || text.p[i] == '_' || text.p[i] == '\\')
			p[n++] = '\\';
		p[n++] = text.p[i];
	}
	p[n++] = '%';
	bind_str(q, (struct str){p, n});
}

const struct err *
query_auth(struct req *r)
{
	const struct err *e;

	must(!r->tx.ran && !r->tx.first && !(r->route->flags & ROUTE_PUBLIC));
	prepend_begin_request(r);
	e = run_begin_request(r);
	r->tx = (struct tx){.first = NULL};
	return e;
}

const struct err *
refuse(struct req *r, const struct err *e)
{
	const struct err *who = NULL;

	r->tx = (struct tx){.first = NULL};
	r->refused = e;
	if (!r->auth.done && !(r->route->flags & ROUTE_PUBLIC))
		who = query_auth(r);
	return who ? who : e;
}
