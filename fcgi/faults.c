#include "faults.h"

#include "state.h"

const struct err *
faults_found(struct req *r, const struct query *q)
{
	const struct err *e;

	if (rows_count(q) == 0)
		return NULL;
	for (int i = 0; i < rows_count(q); i++)
		violation_add(&r->violations, rows_get(q, i, "pointer"), rows_get(q, i, "code"),
		    rows_get(q, i, "message"));
	e = err_by_code(rows_get(q, 0, "code"));
	r->refused = e ? e : &err_validation_failed;
	return r->refused;
}

bool
url_allowed(struct req *r, struct str pointer, struct str url, struct fetch_url *out)
{
	struct fetch_result verdict = {
	    .status = fetch_url_check(&r->w->cfg->fetch, r->arena, url, out)};

	if (verdict.status == FETCH_OK)
		return true;
	violation_add(&r->violations, pointer, fetch_reason(r->arena, &verdict),
	    fetch_sentence(r->arena, &verdict));
	return false;
}
