#include "secrets.h"

#include "auth/seal.h"
#include "state.h"

/* The member of the body that brings it. */
static const char *const members[] = {
    [SECRET_OF_PRINTER] = "secret",
    [SECRET_OF_JOB] = "secret",
    [SECRET_OF_WEBHOOK] = "secret",
    [HEADERS_OF_WEBHOOK] = "headers",
    [TARGET_OF_RULE] = "url",
};

/* For whom, and where it will stand. */
static struct str
seal(struct req *r, enum secret_place where, struct uuid row, struct str clear)
{
	const struct uuid org = r->auth.org_id;
	const struct {
		const struct seal_public *reader;
		struct seal_place at;
	} places[] = {
	    [SECRET_OF_PRINTER] = {r->w->gateway_key, SEAL_PRINTER_SECRET(org, row)},
	    [SECRET_OF_JOB] = {r->w->gateway_key, SEAL_JOB_SECRET(org, row)},
	    [SECRET_OF_WEBHOOK] = {r->w->courier_key, SEAL_WEBHOOK_SECRET(org, row)},
	    [HEADERS_OF_WEBHOOK] = {r->w->courier_key, SEAL_WEBHOOK_HEADERS(org, row)},
	    [TARGET_OF_RULE] = {r->w->courier_key, SEAL_RULE_TARGET(org, row)},
	};

	return seal_secret(r->arena, places[where].reader, &places[where].at, clear);
}

const struct err *
secret_seal(
    struct req *r, enum secret_place where, struct uuid row, struct str secret, struct str *sealed)
{
	struct str clear = secret.p ? str_dup(r->arena, secret) : STR_NONE;
	const struct err *e;

	if (r->body_json) /* frees what `secret` borrowed */
		json_object_object_del(r->body_json, members[where]);
	*sealed = STR_NONE;
	if (!clear.p)
		return NULL;
	/* the organisation is part of what the seal binds */
	e = r->auth.done ? NULL : query_auth(r);
	if (e)
		return e;
	*sealed = seal(r, where, row, clear);
	return sealed->p ? NULL : &err_internal_error;
}

void
bind_sealed(struct query *q, struct str sealed)
{
	if (sealed.p)
		bind_bytes(q, sealed.p, sealed.n);
	else
		bind_null(q);
}
