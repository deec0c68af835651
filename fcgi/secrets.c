#include "secrets.h"

#include "auth/seal.h"
#include "state.h"

const struct err *
secret_seal(
    struct req *r, enum secret_place where, struct uuid row, struct str secret, struct str *sealed)
{
	struct str clear = secret.p ? str_dup(r->arena, secret) : STR_NONE;
	struct seal_place place;
	const struct err *e;

	json_object_object_del(r->body_json, "secret"); /* frees what `secret` borrowed */
	*sealed = STR_NONE;
	if (!clear.p)
		return NULL;
	e = query_auth(r); /* the organisation is part of what the seal binds */
	if (e)
		return e;
	place = where == SECRET_OF_JOB ? SEAL_JOB_SECRET(r->auth.org_id, row)
				       : SEAL_PRINTER_SECRET(r->auth.org_id, row);
	*sealed = seal_secret(r->arena, r->w->gateway_key, &place, clear);
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
