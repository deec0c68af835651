/* Which printer takes which queue item. Contract: schema/api/dispatch.yaml; statements:
 * queue_dispatch.sql. */
#include "db/rows_json.h"
#include "faults.h"
#include "gen/routes.h"
#include "page.h"
#include "queue.h"
#include "reply.h"

/* --- who could ------------------------------------------------------------------------------- */

static void
bind_match_state(struct query *q, const void *query_in)
{
	const struct getQueueItemEligibility_query *in = query_in;

	bind_str(q, in->state);
}

static void
bind_item_state(struct query *q, const void *query_in)
{
	const struct listEligibleQueueItems_query *in = query_in;

	bind_str(q, in->state);
}

static const struct list printers_of_item = {
    LIST_ORDERS(queue_matches_orders),
    .total = &SQL_queue_matches_total,
    .owner = &SQL_queue_item_known,
    .bind_filters = bind_match_state,
};

static const struct list items_of_printer = {
    LIST_ORDERS(printer_matches_orders),
    .total = &SQL_printer_matches_total,
    .owner = &SQL_printer_known,
    .bind_filters = bind_item_state,
};

const struct err *
getQueueItemEligibility(struct req *r)
{
	const struct getQueueItemEligibility_query *in = r->query;

	return reply_list_of(r, &printers_of_item, r->path_params.queue_item_id,
	    &PAGE_IN(in, GETQUEUEITEMELIGIBILITY_Q));
}

const struct err *
listEligibleQueueItems(struct req *r)
{
	const struct listEligibleQueueItems_query *in = r->query;

	return reply_list_of(r, &items_of_printer, r->path_params.printer_id,
	    &PAGE_IN(in, LISTELIGIBLEQUEUEITEMS_Q));
}

const struct err *
recomputeQueueItem(struct req *r)
{
	return queue_act(r, "recompute", STR_NONE);
}

/* --- by hand --------------------------------------------------------------------------------- */

/* Runs the transaction and replies with the item, when the statement before has not said in its
 * column details why it was not given to the printer. */
static const struct err *
reply_dispatched(
    struct req *r, const struct query *q, struct query *item, const struct err *refused)
{
	const struct err *e = query_run(r);

	if (e || r->replayed)
		return e;
	if (rows_count(q) == 0)
		return &err_resource_not_found;
	r->details_json = rows_get(q, 0, "details");
	return r->details_json.p ? refused : reply_one(r, item, 200);
}

const struct err *
assignQueueItem(struct req *r)
{
	const struct assignQueueItem_body *in = r->in;
	struct uuid id = r->path_params.queue_item_id;
	struct query *q = query(r, &SQL_queue_assign);

	bind_uuid(q, id);
	bind_uuid(q, in->printer_id);
	bind_bool(q, in->override);
	bind_bool(q, in->start);
	return reply_dispatched(r, q, queue_item(r, id), &err_queue_item_not_assignable);
}

const struct err *
unassignQueueItem(struct req *r)
{
	return queue_act(r, "unassign", STR_NONE);
}

const struct err *
dispatchNextQueueItem(struct req *r)
{
	struct query *q = query(r, &SQL_dispatch_next);

	bind_uuid(q, r->path_params.printer_id);
	return reply_dispatched(r, q, query(r, &SQL_dispatched_item), &err_no_eligible_queue_item);
}

const struct err *
dispatchQueue(struct req *r)
{
	const struct dispatchQueue_body *in = r->in;
	struct query *q = query(r, &SQL_queue_dispatch);
	const struct err *e;
	struct buf *b;

	bind_i64(q, in->limit);
	e = query_run(r);
	if (e || r->replayed)
		return e;
	b = reply_json(r, 200);
	buf_str(b, STR("{\"data\":"));
	rows_json_array(b, q, rows_count(q));
	buf_char(b, '}');
	return NULL;
}

const struct err *
clearPrinterPlate(struct req *r)
{
	struct query *q = query(r, &SQL_plate_clear);

	bind_uuid(q, r->path_params.printer_id);
	return reply_one(r, q, 200);
}

/* --- by itself ------------------------------------------------------------------------------- */

const struct err *
getQueueForecast(struct req *r)
{
	const struct getQueueForecast_query *in = r->query;
	struct query *q = query(r, &SQL_queue_forecast);

	bind_i64(q, in->limit);
	return reply_one(r, q, 200);
}

const struct err *
getQueueSettings(struct req *r)
{
	return reply_one(r, query(r, &SQL_queue_settings_get), 200);
}

const struct err *
updateQueueSettings(struct req *r)
{
	struct query *faults = query(r, &SQL_queue_settings_faults), *q;
	const struct err *e;

	bind_body(faults, r);
	q = query(r, &SQL_queue_settings_update);
	bind_body(q, r);
	bind_if_match(q, r);
	q = query(r, &SQL_queue_settings_get);
	e = query_run(r);
	if (!e)
		e = faults_found(r, faults);
	return e ? e : reply_one(r, q, 200);
}
