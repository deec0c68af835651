#include "serve.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "gen/routes.h"
#include "http/accept_type.h"
#include "http/json_in.h"
#include "http/version.h"
#include "idem.h"
#include "query.h"
#include "reply.h"
#include "state.h"

bool
req_is(const struct req *r, const char *method)
{
	return str_eq(r->method, str_from(method));
}

void
req_detail(struct req *r, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->detail = str_dup(r->arena, str_from(text));
}

/* --- the route -------------------------------------------------------------------------------- */

static enum pool
own_pool(const struct req *r)
{
	struct str name = str_from(r->w->cfg->pool);

	return str_eq(name, STR("files")) ? POOL_FILES
	    : str_eq(name, STR("auth"))   ? POOL_AUTH
					  : POOL_API;
}

/* Finds the route; OPTIONS is answered here. NULL with r->route still NULL: the reply is staged. */
static const struct err *
find_route(struct req *r, struct str segs[ROUTE_SEGS_MAX])
{
	const struct route *found;
	struct str allow;
	enum route_match m = route_find(
	    routes, n_routes, r->method, r->path, &found, segs, &allow, r->arena);

	if (m == ROUTE_NOT_FOUND || (m == ROUTE_FOUND && found->pool != own_pool(r)))
		return &err_not_found;
	if (req_is(r, "OPTIONS")) {
		reply_empty(r, 204);
		reply_header(r, "Allow", allow);
		return NULL;
	}
	if (m == ROUTE_FOUND) {
		r->route = found;
		return NULL;
	}
	reply_error(r, &err_method_not_allowed);
	reply_header(r, "Allow", allow);
	return NULL;
}

/* --- the credential --------------------------------------------------------------------------- */

/* Authorization: Bearer <key> (RFC 6750 section 2.1), or X-API-Key. Only the shape and the checksum
 * are looked at. */
static const struct err *
read_credential(struct req *r)
{
	struct str rest = r->in_headers.authorization;
	struct str key = r->in_headers.api_key;
	enum key_kind kind;

	if (rest.p) {
		if (!str_ieq(str_cut(&rest, ' '), STR("Bearer")) || !str_trim(rest).n)
			return &err_missing_bearer_token;
		key = str_trim(rest);
	}
	if (!key.p)
		return &err_missing_bearer_token;
	if (!key_parse_shape(key, &kind))
		return &err_invalid_api_key;
	r->has_credential = true;
	r->credential = key;
	key_hash(key, r->key_hash);
	return NULL;
}

/* --- the contract ----------------------------------------------------------------------------- */

static const struct err *
check_version(struct req *r)
{
	struct str v = r->in_headers.api_version;

	if (!v.p || str_eq(v, STR(API_VERSION)))
		return NULL;
	req_detail(r, "supported versions: " API_VERSION);
	return &err_unsupported_api_version;
}

static const struct err *
check_path(struct req *r, const struct str segs[ROUTE_SEGS_MAX])
{
	const struct err *e = NULL;

	for (size_t i = 0; i < r->route->n_path_fields && !e; i++)
		e = validate_path(
		    r->arena, &r->route->path_fields[i], segs[i], &r->path_params, &r->violations);
	return e;
}

static const struct err *
check_query(struct req *r)
{
	const struct shape *s = r->route->query;
	void *out = s ? arena_zalloc(r->arena, s->size) : NULL;

	r->query = out;
	return validate_query(r->arena, s, r->query_string, out, &r->violations);
}

static bool
json_content_type(struct str type)
{
	return content_type_is(type, STR("application/json")) ||
	    content_type_is(type, STR("application/merge-patch+json"));
}

/* A body that is a file: what its announcement tells. */
static const struct err *
check_file(struct req *r)
{
	if (r->body_length < 0)
		return &err_length_required;
	if (r->body_length > (int64_t)r->route->body_most) {
		req_detail(r, "this operation takes at most %zu bytes", r->route->body_most);
		return &err_payload_too_large;
	}
	return r->body_lost ? &err_service_unavailable : NULL;
}

/* An operation that takes no body ignores one; an optional body that is absent counts as {}. */
static const struct err *
check_body(struct req *r)
{
	const struct shape *s = r->route->body;
	bool absent = !r->body.n && !r->body_too_large && !r->route->body_required;
	const struct err *e;
	void *out;

	if (!s)
		return r->route->body_most ? check_file(r) : NULL;
	if (r->body_too_large || r->body.n > r->route->body_most) {
		req_detail(r, "this operation takes at most %zu bytes", r->route->body_most);
		return &err_payload_too_large;
	}
	if (!absent && !json_content_type(r->in_headers.content_type)) {
		req_detail(r, "send application/json");
		return &err_unsupported_media_type;
	}
	e = json_in_parse(r->arena, absent ? STR("{}") : r->body, &r->violations, &r->body_json);
	if (e)
		return e;
	out = arena_zalloc(r->arena, s->size);
	r->in = out;
	return validate_body(r->arena, s, r->body_json, out, &r->violations);
}

static const struct err *
check_contract(struct req *r, const struct str segs[ROUTE_SEGS_MAX])
{
	const struct err *e = check_version(r);

	if (!e)
		e = check_path(r, segs);
	if (!e)
		e = check_query(r);
	if (!e)
		e = idem_check(r);
	return e ? e : check_body(r);
}

/* --- the limiter ------------------------------------------------------------------------------ */

static enum limit_class
limit_class_of(enum rate_class rate)
{
	switch (rate) {
	case RATE_WRITE:
		return LIMIT_WRITE;
	case RATE_CONTROL:
		return LIMIT_CONTROL;
	case RATE_LOGIN:
		return LIMIT_LOGIN;
	case RATE_READ:
	case RATE_NONE:
		break;
	}
	return LIMIT_READ;
}

/* A request whose probe has been let in was counted then. */
static bool
judged_before(const struct req *r)
{
	return (r->route->flags & ROUTE_BODY_FILE) && r->stage == STAGE_FULL;
}

static void
ask_limiter(struct req *r)
{
	struct limit_question q = {.cls = limit_class_of(r->route->rate), .addr = r->remote_addr};

	if (!r->has_credential || r->route->rate == RATE_NONE || judged_before(r))
		return;
	memcpy(q.key_hash, r->key_hash, sizeof(q.key_hash));
	limiter_send(r->w->limiter, &q);
	r->limited = true;
}

/* A read's question is answered after its transaction, a write's before: a refused write must not
 * happen. */
static const struct err *
await_limiter(struct req *r)
{
	if (!r->limited)
		return NULL;
	limiter_answer(r->w->limiter, &r->verdict);
	if (r->verdict.unavailable)
		return &err_rate_limiter_unavailable;
	if (r->verdict.allowed)
		return NULL;
	req_detail(r, "the %s limit is used up; retry after %lld s", r->verdict.policy,
	    (long long)r->verdict.retry_after_s);
	return &err_rate_limited;
}

/* --- all together ----------------------------------------------------------------------------- */

/* The handler, or when the request breaks the contract only the question who asks. */
static const struct err *
handle(struct req *r, const struct str segs[ROUTE_SEGS_MAX])
{
	const struct err *e = check_contract(r, segs);

	return e ? refuse(r, e) : r->route->handler(r);
}

/* 401 speaks before 429, everything else after it. */
static const struct err *
handle_limited(struct req *r, const struct str segs[ROUTE_SEGS_MAX])
{
	const struct err *limited, *e;
	bool read = r->route->rate == RATE_READ;

	ask_limiter(r);
	limited = read ? NULL : await_limiter(r);
	if (limited)
		return limited;
	e = handle(r, segs);
	if (!e)
		e = idem_finish(r);
	limited = read ? await_limiter(r) : NULL;
	return limited && !(e && e->status == 401) ? limited : e;
}

/* What came in through a later step of a refused request says nothing about the earlier refusal. */
static void
forget_violations(struct req *r, const struct err *e)
{
	if (e != r->refused && e->status != 422 && e->status != 400)
		r->violations.n = 0;
}

static const struct err *
serve_route(struct req *r, const struct str segs[ROUTE_SEGS_MAX])
{
	bool public = (r->route->flags & ROUTE_PUBLIC) != 0;
	const struct err *e = public ? NULL : read_credential(r);

	if (!e)
		e = handle_limited(r, segs);
	pg_rollback(r->w->pg); /* of a transaction that an error left open */
	must(e || public || r->auth.done);
	must(e || r->reply.status);
	return e;
}

void
serve(struct req *r)
{
	struct str segs[ROUTE_SEGS_MAX];
	const struct err *e = find_route(r, segs);

	if (!e && r->route)
		e = serve_route(r, segs);
	if (e) {
		forget_violations(r, e);
		reply_error(r, e);
	}
	if (r->stage == STAGE_PROBE)
		reply_verdict(r);
	reply_common_headers(r);
}
