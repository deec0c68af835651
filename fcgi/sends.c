/* Files for printers. Contract: schema/api/sends.yaml; statements: sends.sql; gateway/task.c brings
 * them there. */
#include "faults.h"
#include "gen/routes.h"
#include "reply.h"

enum { PATIENCE_S = 600 };

const struct err *
sendToPrinter(struct req *r)
{
	const struct sendToPrinter_body *in = r->in;
	struct query *faults = query(r, &SQL_send_faults), *q = query(r, &SQL_send_create);
	const struct err *e;

	bind_uuid(faults, r->path_params.printer_id);
	bind_body(faults, r);
	bind_uuid(q, r->path_params.printer_id);
	bind_body(q, r);
	bind_uuid(q, in->file_id);
	bind_i64(q, PATIENCE_S);
	e = query_run(r);
	if (e || r->replayed)
		return e;
	e = faults_found(r, faults);
	return e ? e : reply_one(r, q, 202);
}
