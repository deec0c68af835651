/* Operations: the jobs that clients see. Contract: schema/api/operations.yaml; statements:
 * operations.sql. */
#include "gen/routes.h"
#include "page.h"
#include "query.h"
#include "reply.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listOperations_query *in = query_in;

	bind_list(q, &in->status);
	bind_str(q, in->kind);
	bind_uuid_if(q, FIELD_SET(in, LISTOPERATIONS_Q_RESOURCE_ID), in->resource_id);
}

static const struct list operation_list = {
    LIST_ORDERS(operations_orders),
    .total = &SQL_operations_total,
    .bind_filters = bind_filters,
};

const struct err *
listOperations(struct req *r)
{
	const struct listOperations_query *in = r->query;

	return reply_list(r, &operation_list, &PAGE_IN(in, LISTOPERATIONS_Q));
}

static struct query *
select_operation(struct req *r)
{
	struct query *q = query(r, &SQL_operation_get);

	bind_uuid(q, r->path_params.operation_id);
	return q;
}

const struct err *
getOperation(struct req *r)
{
	return reply_one(r, select_operation(r), 200);
}

const struct err *
cancelOperation(struct req *r)
{
	struct query *q = query(r, &SQL_operation_cancel);
	const struct err *e;

	bind_uuid(q, r->path_params.operation_id);
	q = select_operation(r);
	e = query_run(r);
	if (e || r->replayed)
		return e;
	return reply_one(r, q, str_eq(rows_get(q, 0, "status"), STR("cancelled")) ? 200 : 202);
}
