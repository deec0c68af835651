#include "signed.h"

#include <stdio.h>

#include "base/clock.h"
#include "query.h"
#include "state.h"

/* Everything before the signature: the order is always the same. */
static struct str
target(struct arena *a, const struct sign_claim *c)
{
	char org[UUID_TEXT_LEN + 1], file[UUID_TEXT_LEN + 1], key[UUID_TEXT_LEN + 1],
	    after[24] = "";
	long long expires_s = (long long)c->expires_s, size = (long long)c->size;

	uuid_text(c->org, org);
	uuid_text(c->file, file);
	uuid_text(c->key, key);
	switch (c->purpose) {
	case SIGN_UPLOAD:
		return str_fmt(a, "/v1/uploads/%s/%lld?org=%s&exp=%lld&size=%lld&sig=", file,
		    (long long)c->part, org, expires_s, size);
	case SIGN_CAMERA:
		return str_fmt(a, "/v1/cameras/%s?org=%s&exp=%lld&key=%s&fps=%lld&sig=", file, org,
		    expires_s, key, size);
	case SIGN_STREAM:
		if (size >= 0)
			snprintf(after, sizeof(after), "%lld", size);
		return str_fmt(a,
		    "/v1/streams/events?org=%s&exp=%lld&key=%s&of=%.*s&after=%s&sig=", org,
		    expires_s, key, STR_ARG(c->disposition), after);
	case SIGN_DOWNLOAD:
		break;
	}
	return str_fmt(a, "/v1/downloads/%s?org=%s&exp=%lld&disposition=%.*s&sig=", file, org,
	    expires_s, STR_ARG(c->disposition));
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
	if (!in->org.p || !uuid_parse(in->org, &c->org) || !str_to_i64(in->exp, &c->expires_s))
		return false;
	switch (c->purpose) {
	case SIGN_UPLOAD:
		c->file = r->path_params.file_id;
		c->part = r->path_params.part;
		return str_to_i64(in->extra, &c->size);
	case SIGN_CAMERA:
		c->file = r->path_params.printer_id;
		return uuid_parse(in->key, &c->key) && str_to_i64(in->extra, &c->size);
	case SIGN_STREAM:
		c->disposition = in->extra;
		c->size = -1;
		return uuid_parse(in->key, &c->key) &&
		    (!in->after.n || str_to_i64(in->after, &c->size));
	case SIGN_DOWNLOAD:
		break;
	}
	c->file = r->path_params.file_id;
	c->disposition = in->extra;
	return true;
}

/* The target as it came is the one that was given out: no other spelling of it. */
static bool
as_given_out(const struct req *r, const struct sign_claim *c, struct str sig)
{
	struct str want = str_fmt(r->arena, "%.*s%.*s", STR_ARG(target(r->arena, c)), STR_ARG(sig));
	struct str got = str_fmt(r->arena, "%.*s?%.*s", STR_ARG(r->path), STR_ARG(r->query_string));

	return str_eq(want, got);
}

/* A file's URL is good whatever becomes of the key that asked for it; a stream's is not. */
void
signed_enter_again(struct req *r, const struct sign_claim *c)
{
	bool of_key = c->purpose == SIGN_CAMERA || c->purpose == SIGN_STREAM;
	struct query *q = query(r, of_key ? &SQL_stream_enter : &SQL_signed_enter);

	bind_uuid(q, c->org);
	if (of_key)
		bind_uuid(q, c->key);
	bind_str(q, r->remote_addr);
	bind_str(q, r->id);
}

const struct err *
signed_enter(
    struct req *r, enum sign_purpose purpose, const struct signed_query *in, struct sign_claim *c)
{
	enum sign_verdict v = SIGN_FORGED;

	*c = (struct sign_claim){.purpose = purpose};
	if (read_claim(r, in, c) && as_given_out(r, c, in->sig))
		v = sign_check(r->w->url_key, c, in->sig, clock_unix_s());
	if (v != SIGN_GOOD)
		return v == SIGN_EXPIRED ? &err_signature_expired : &err_invalid_signature;
	signed_enter_again(r, c);
	return NULL;
}
