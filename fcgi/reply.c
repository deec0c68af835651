#include "reply.h"

#include <string.h>

#include "db/rows_json.h"
#include "http/accept_type.h"
#include "http/version.h"
#include "state.h"
#include "store/store.h"

enum { REPLY_MOST = 32 << 20 };

void
reply_header(struct req *r, const char *name, struct str value)
{
	struct header_out *h = ARENA_NEW(r->arena, struct header_out);

	h->name = name;
	h->value = value;
	if (!r->reply.headers_end)
		r->reply.headers_end = &r->reply.headers;
	*r->reply.headers_end = h;
	r->reply.headers_end = &h->next;
}

static void
free_body(void *p)
{
	buf_fini(p);
}

struct buf *
reply_typed(struct req *r, int status, const char *content_type)
{
	struct reply *rep = &r->reply;

	if (!rep->body.cap) {
		buf_init(&rep->body, REPLY_MOST);
		arena_defer(r->arena, free_body, &rep->body);
	}
	buf_clear(&rep->body);
	rep->status = status;
	rep->content_type = content_type;
	return &rep->body;
}

struct buf *
reply_json(struct req *r, int status)
{
	return reply_typed(r, status, "application/json");
}

void
reply_raw(struct req *r, int status, struct str body)
{
	buf_str(reply_json(r, status), body);
	if (!body.n)
		r->reply.content_type = NULL;
}

void
reply_empty(struct req *r, int status)
{
	reply_raw(r, status, STR_NONE);
}

void
reply_blob(struct req *r, struct uuid blob, const char *content_type)
{
	struct str key = store_key(r->arena, blob);

	must(!r->reply.status || r->reply.status == 200);
	reply_inner(r, content_type, str_fmt(r->arena, "/__blobs/%.*s", STR_ARG(key)));
}

void
reply_inner(struct req *r, const char *content_type, struct str place)
{
	reply_typed(r, 200, content_type);
	reply_header(r, "X-Accel-Redirect", place);
}

void
reply_found(struct req *r, struct str url)
{
	reply_empty(r, 302);
	reply_header(r, "Location", url);
}

void
reply_verdict(struct req *r)
{
	struct str text;

	if (r->reply.status < 400)
		return;
	text = str_dup(r->arena, buf_view(&r->reply.body));
	reply_header(r, "X-SLP-Status", str_fmt(r->arena, "%d", r->reply.status));
	reply_header(r, "X-SLP-Body", text);
	reply_empty(r, 403);
}

static const struct err *
run_once(struct req *r)
{
	return r->tx.ran ? NULL : query_run(r);
}

bool
etag_in_list(struct str list, struct str etag)
{
	if (str_eq(str_trim(list), STR("*")))
		return true;
	while (list.n) {
		struct str tag = str_trim(str_cut(&list, ','));

		if (str_starts(tag, STR("W/")))
			tag = (struct str){tag.p + 2, tag.n - 2};
		if (str_eq(tag, etag))
			return true;
	}
	return false;
}

/* Sets ETag from the row; true when the client has this version already. */
static bool
etag_known(struct req *r, const struct query *q)
{
	int c = rows_column(q, "_etag");
	struct str etag = c < 0 ? STR_NONE : rows_str(q, 0, c);

	if (!etag.p)
		return false;
	reply_header(r, "ETag", str_dup(r->arena, etag));
	return r->route->rate == RATE_READ && r->in_headers.if_none_match.p &&
	    etag_in_list(r->in_headers.if_none_match, etag);
}

/* Where a new object is found. An action on a member ("…/{api_key_id}/rotate") makes a sibling of
 * it. */
static struct str
collection(const struct req *r)
{
	ptrdiff_t member = str_index(r->route->path, '{');

	return member > 0 ? (struct str){r->path.p, (size_t)member - 1} : r->path;
}

static void
set_location(struct req *r, const struct query *q, int status)
{
	if (status == 201)
		reply_header(r, "Location",
		    str_fmt(r->arena, "%.*s/%.*s", STR_ARG(collection(r)),
			STR_ARG(rows_get(q, 0, "id"))));
	if (status == 202 && rows_column(q, "operation_id") >= 0)
		reply_header(r, "Location",
		    str_fmt(
			r->arena, "/v1/operations/%.*s", STR_ARG(rows_get(q, 0, "operation_id"))));
}

const struct err *
reply_one(struct req *r, struct query *q, int status)
{
	const struct err *e = run_once(r);

	if (e || r->replayed)
		return e;
	if (rows_count(q) == 0)
		return &err_resource_not_found;
	if (etag_known(r, q)) {
		reply_empty(r, 304);
		return NULL;
	}
	set_location(r, q, status);
	rows_json_row(reply_json(r, status), q, 0);
	return NULL;
}

const struct err *
reply_gone(struct req *r, struct query *q)
{
	const struct err *e = run_once(r);

	if (e || r->replayed)
		return e;
	if (rows_count(q) == 0)
		return &err_resource_not_found;
	reply_empty(r, 204);
	return NULL;
}

/* --- errors ---------------------------------------------------------------------------------- */

static void
write_fields(struct buf *b, const struct violations *v)
{
	buf_str(b, STR("{\"fields\":["));
	for (size_t i = 0; i < v->n; i++) {
		buf_str(b, i ? STR(",{\"pointer\":") : STR("{\"pointer\":"));
		buf_json_str(b, v->v[i].pointer);
		buf_str(b, STR(",\"code\":"));
		buf_json_str(b, v->v[i].code);
		buf_str(b, STR(",\"message\":"));
		buf_json_str(b, v->v[i].message);
		buf_char(b, '}');
	}
	buf_str(b, STR("]}"));
}

static void
write_details(struct buf *b, const struct req *r)
{
	if (r->violations.n)
		write_fields(b, &r->violations);
	else if (r->details_json.p)
		buf_str(b, r->details_json);
	else if (r->detail.p)
		buf_json_str(b, r->detail);
	else
		buf_str(b, STR("null"));
}

static void
write_problem(struct buf *b, const struct req *r, const struct err *e)
{
	struct str docs = str_from(r->w->cfg->docs_url);

	buf_fmt(b, "{\"type\":\"%.*s#%s\",\"title\":", STR_ARG(docs), e->code);
	buf_json_str(b, str_from(e->title));
	buf_fmt(b, ",\"status\":%d,\"detail\":", e->status);
	buf_json_str(b, r->detail.p ? r->detail : str_from(e->title));
	buf_fmt(b, ",\"instance\":\"urn:request:%.*s\",", STR_ARG(r->id));
}

/* A request that failed shows nothing of what was staged before. */
static void
drop_staged(struct req *r)
{
	r->reply.headers = NULL;
	r->reply.headers_end = NULL;
}

static void
error_headers(struct req *r, const struct err *e)
{
	int64_t wait_s = e == &err_rate_limited ? r->verdict.retry_after_s : e->retry_after_s;

	if (e == &err_missing_bearer_token)
		reply_header(r, "WWW-Authenticate", STR("Bearer realm=\"soloprint\""));
	else if (e->status == 401)
		reply_header(r, "WWW-Authenticate",
		    STR("Bearer realm=\"soloprint\", error=\"invalid_token\""));
	else if (e == &err_insufficient_permissions)
		reply_header(r, "WWW-Authenticate",
		    str_fmt(r->arena,
			"Bearer realm=\"soloprint\", error=\"insufficient_scope\", scope=\"%s\"",
			r->route->capability));
	if (wait_s > 0)
		reply_header(r, "Retry-After", str_fmt(r->arena, "%lld", (long long)wait_s));
}

void
reply_error(struct req *r, const struct err *e)
{
	bool problem = accept_names(
	    r->in_headers.accept, STR("application/problem+json"), STR("application/json"));
	struct buf *b;

	drop_staged(r);
	b = reply_json(r, e->status);
	if (problem) {
		r->reply.content_type = "application/problem+json";
		write_problem(b, r, e);
	} else {
		buf_char(b, '{');
	}
	buf_fmt(b, "\"error\":\"%s\",\"details\":", e->code);
	write_details(b, r);
	buf_str(b, STR(",\"request_id\":"));
	buf_json_str(b, r->id);
	buf_char(b, '}');
	error_headers(r, e);
}

/* --- headers of every reply ------------------------------------------------------------------- */

static void
limit_headers(struct req *r)
{
	struct limit_header h[LIMIT_HEADERS_MOST];
	bool judged = r->limited && (r->auth.done || r->reply.status == 429);
	size_t n = judged ? limit_headers_render(r->arena, &r->verdict, h) : 0;

	for (size_t i = 0; i < n; i++)
		reply_header(r, h[i].name, h[i].value);
}

void
reply_common_headers(struct req *r)
{
	bool secret = r->route && (r->route->flags & ROUTE_SECRET_RESPONSE);
	const struct app_config *cfg = r->w->cfg;

	reply_header(r, "X-SoLoPrint-API-Series", STR(API_SERIES));
	reply_header(r, "X-SoLoPrint-API-Version", STR(API_VERSION));
	reply_header(r, "X-SoLoPrint-API-Docs", str_from(cfg->docs_url));
	reply_header(r, "X-SoLoPrint-API-Changelog", str_from(cfg->changelog_url));
	reply_header(r, "X-Request-Id", r->id);
	reply_header(r, "X-Content-Type-Options", STR("nosniff"));
	reply_header(r, "Cache-Control",
	    secret || r->reply.status >= 400 ? STR("no-store") : STR("private, no-cache"));
	reply_header(r, "Vary", STR("Accept, Authorization, X-API-Key, X-SoLoPrint-API-Version"));
	limit_headers(r);
}
