#include "signed.h"

#include "base/clock.h"
#include "query.h"
#include "state.h"

/* Everything before the signature: the order is always the same. */
static struct str
target(struct arena *a, const struct sign_claim *c)
{
	char org[UUID_TEXT_LEN + 1], file[UUID_TEXT_LEN + 1];

	uuid_text(c->org, org);
	uuid_text(c->file, file);
	if (c->purpose == SIGN_UPLOAD)
		return str_fmt(a, "/v1/uploads/%s/%lld?org=%s&exp=%lld&size=%lld&sig=", file,
		    (long long)c->part, org, (long long)c->expires_s, (long long)c->size);
	if (c->purpose == SIGN_CAMERA)
		return str_fmt(a, "/v1/cameras/%s?org=%s&exp=%lld&fps=%lld&sig=", file, org,
		    (long long)c->expires_s, (long long)c->size);
	return str_fmt(a, "/v1/downloads/%s?org=%s&exp=%lld&disposition=%.*s&sig=", file, org,
	    (long long)c->expires_s, STR_ARG(c->disposition));
}

struct str
signed_url(const struct req *r, const struct sign_claim *c)
{
	struct str head = target(r->arena, c), sig = sign_make(r->arena, r->w->url_key, c);

	return str_fmt(r->arena, "%s%.*s%.*s", r->w->cfg->public_url, STR_ARG(head), STR_ARG(sig));
}

static bool
read_claim(const struct req *r, const struct signed_query *in, struct sign_claim *c)
{
	c->file = c->purpose == SIGN_CAMERA ? r->path_params.printer_id : r->path_params.file_id;
	if (!in->org.p || !uuid_parse(in->org, &c->org) || !str_to_i64(in->exp, &c->expires_s))
		return false;
	if (c->purpose == SIGN_DOWNLOAD) {
		c->disposition = in->extra;
		return true;
	}
	if (c->purpose == SIGN_UPLOAD)
		c->part = r->path_params.part;
	return str_to_i64(in->extra, &c->size);
}

/* The target as it came is the one that was given out: no other spelling of it. */
static bool
as_given_out(const struct req *r, const struct sign_claim *c, struct str sig)
{
	struct str want = str_fmt(r->arena, "%.*s%.*s", STR_ARG(target(r->arena, c)), STR_ARG(sig));
	struct str got = str_fmt(r->arena, "%.*s?%.*s", STR_ARG(r->path), STR_ARG(r->query_string));

	return str_eq(want, got);
}

const struct err *
signed_enter(
    struct req *r, enum sign_purpose purpose, const struct signed_query *in, struct sign_claim *c)
{
	enum sign_verdict v = SIGN_FORGED;
	struct query *q;

	*c = (struct sign_claim){.purpose = purpose};
	if (read_claim(r, in, c) && as_given_out(r, c, in->sig))
		v = sign_check(r->w->url_key, c, in->sig, clock_unix_s());
	if (v != SIGN_GOOD)
		return v == SIGN_EXPIRED ? &err_signature_expired : &err_invalid_signature;
	q = query(r, &SQL_signed_enter);
	bind_uuid(q, c->org);
	bind_str(q, r->remote_addr);
	bind_str(q, r->id);
	return NULL;
}
