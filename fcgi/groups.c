/* Printer groups. Contract: schema/api/groups.yaml; statements: groups.sql. */
#include "gen/routes.h"
#include "page.h"
#include "query.h"
#include "reply.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listPrinterGroups_query *in = query_in;

	bind_contains(q, in->search);
}

static const struct list group_list = {
    LIST_ORDERS(groups_orders),
    .total = &SQL_groups_total,
    .bind_filters = bind_filters,
};

const struct err *
listPrinterGroups(struct req *r)
{
	const struct listPrinterGroups_query *in = r->query;

	return reply_list(r, &group_list, &PAGE_IN(in, LISTPRINTERGROUPS_Q));
}

static void
set_members(struct req *r, struct uuid group_id, const struct uuid_list *printers)
{
	struct query *q = query(r, &SQL_printers_must_exist);

	bind_uuid_array(q, printers->v, printers->n);
	q = query(r, &SQL_group_members_clear);
	bind_uuid(q, group_id);
	bind_uuid_array(q, printers->v, printers->n);
	q = query(r, &SQL_group_members_join);
	bind_uuid(q, group_id);
	bind_uuid_array(q, printers->v, printers->n);
}

static struct query *
select_group(struct req *r, struct uuid id)
{
	struct query *q = query(r, &SQL_group_get);

	bind_uuid(q, id);
	return q;
}

const struct err *
createPrinterGroup(struct req *r)
{
	const struct createPrinterGroup_body *in = r->in;
	struct uuid id = uuid_v7();
	struct query *q = query(r, &SQL_group_insert);

	bind_uuid(q, id);
	bind_body(q, r);
	if (in->printer_ids.n)
		set_members(r, id, &in->printer_ids);
	return reply_one(r, select_group(r, id), 201);
}

const struct err *
getPrinterGroup(struct req *r)
{
	return reply_one(r, select_group(r, r->path_params.printer_group_id), 200);
}

const struct err *
updatePrinterGroup(struct req *r)
{
	const struct updatePrinterGroup_body *in = r->in;
	struct uuid id = r->path_params.printer_group_id;
	struct query *q = query(r, &SQL_group_update);

	bind_uuid(q, id);
	bind_body(q, r);
	bind_if_match(q, r);
	if (FIELD_SET(in, UPDATEPRINTERGROUP_B_PRINTER_IDS))
		set_members(r, id, &in->printer_ids);
	return reply_one(r, select_group(r, id), 200);
}

const struct err *
deletePrinterGroup(struct req *r)
{
	struct query *q = query(r, &SQL_group_delete);

	bind_uuid(q, r->path_params.printer_group_id);
	bind_if_match(q, r);
	return reply_gone(r, q);
}
