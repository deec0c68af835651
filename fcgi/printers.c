/* Printers: configuration and live status. Contract: schema/api/printers.yaml; statements:
 * printers.sql. */
#include "gen/routes.h"
#include "page.h"
#include "query.h"
#include "reply.h"
#include "secrets.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listPrinters_query *in = query_in;

	bind_contains(q, in->search);
	bind_list(q, &in->status);
	bind_list(q, &in->tag);
	bind_ids(q, &in->group);
	bind_str(q, in->model);
}

static const struct list printer_list = {
    LIST_ORDERS(printers_orders),
    .total = &SQL_printers_total,
    .bind_filters = bind_filters,
};

const struct err *
listPrinters(struct req *r)
{
	const struct listPrinters_query *in = r->query;

	return reply_list(r, &printer_list, &PAGE_IN(in, LISTPRINTERS_Q));
}

static void
join_groups(struct req *r, struct uuid printer_id, const struct uuid_list *groups)
{
	struct query *q = query(r, &SQL_printer_groups_clear);

	bind_uuid(q, printer_id);
	bind_uuid_array(q, groups->v, groups->n);
	q = query(r, &SQL_printer_groups_join);
	bind_uuid(q, printer_id);
	bind_uuid_array(q, groups->v, groups->n);
}

static struct query *
select_printer(struct req *r, struct uuid id)
{
	struct query *q = query(r, &SQL_printer_get);

	bind_uuid(q, id);
	return q;
}

const struct err *
createPrinter(struct req *r)
{
	const struct createPrinter_body *in = r->in;
	struct uuid id = uuid_v7();
	struct str sealed;
	const struct err *e = secret_seal(r, SECRET_OF_PRINTER, id, in->secret, &sealed);
	struct query *q;

	if (e)
		return refuse(r, e);
	q = query(r, &SQL_printer_insert);
	bind_uuid(q, id);
	bind_body(q, r);
	bind_sealed(q, sealed);
	if (in->group_ids.n)
		join_groups(r, id, &in->group_ids);
	return reply_one(r, select_printer(r, id), 201);
}

const struct err *
getPrinter(struct req *r)
{
	return reply_one(r, select_printer(r, r->path_params.printer_id), 200);
}

const struct err *
updatePrinter(struct req *r)
{
	const struct updatePrinter_body *in = r->in;
	struct uuid id = r->path_params.printer_id;
	struct str sealed;
	const struct err *e = secret_seal(r, SECRET_OF_PRINTER, id, in->secret, &sealed);
	struct query *q;

	if (e)
		return refuse(r, e);
	q = query(r, &SQL_printer_update);
	bind_uuid(q, id);
	bind_body(q, r);
	bind_if_match(q, r);
	if (FIELD_SET(in, UPDATEPRINTER_B_SECRET)) {
		q = query(r, &SQL_printer_set_secret);
		bind_uuid(q, id);
		bind_sealed(q, sealed);
	}
	if (FIELD_SET(in, UPDATEPRINTER_B_GROUP_IDS))
		join_groups(r, id, &in->group_ids);
	return reply_one(r, select_printer(r, id), 200);
}

const struct err *
deletePrinter(struct req *r)
{
	struct query *q = query(r, &SQL_printer_delete);

	bind_uuid(q, r->path_params.printer_id);
	bind_if_match(q, r);
	return reply_gone(r, q);
}

const struct err *
getPrinterStatus(struct req *r)
{
	struct query *q = query(r, &SQL_printer_status_get);

	bind_uuid(q, r->path_params.printer_id);
	return reply_one(r, q, 200);
}

const struct err *
refreshPrinterStatus(struct req *r)
{
	struct query *q = query(r, &SQL_printer_refresh);

	bind_uuid(q, r->path_params.printer_id);
	return reply_one(r, q, 202);
}
