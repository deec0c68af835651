/* Connections: what is wrong with them, trying one, finding one. Contract:
 * schema/api/diagnostics.yaml; statements: diagnostics.sql. */
#include "gen/routes.h"
#include "reply.h"
#include "secrets.h"

enum { PATIENCE_S = 30 };

const struct err *
testPrinterConnection(struct req *r)
{
	const struct testPrinterConnection_body *in = r->in;
	struct uuid id = uuid_v7();
	struct str sealed;
	const struct err *e = secret_seal(r, SECRET_OF_JOB, id, in->secret, &sealed);
	struct query *q;

	if (e)
		return refuse(r, e);
	q = query(r, &SQL_test_connection_create);
	bind_uuid(q, id);
	bind_body(q, r);
	bind_sealed(q, sealed);
	bind_i64(q, PATIENCE_S);
	return reply_one(r, q, 202);
}

const struct err *
discoverPrinters(struct req *r)
{
	const struct discoverPrinters_body *in = r->in;
	struct query *q = query(r, &SQL_discover_create);

	bind_uuid(q, uuid_v7());
	bind_i64(q, in->seconds);
	bind_i64(q, PATIENCE_S);
	return reply_one(r, q, 202);
}

const struct err *
getPrinterDiagnostics(struct req *r)
{
	struct query *q = query(r, &SQL_diagnostics);

	bind_uuid(q, r->path_params.printer_id);
	return reply_one(r, q, 200);
}
