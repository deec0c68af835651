/* The queue's items. Contract: schema/api/queue.yaml; statements: queue.sql. */
#include "queue.h"

#include "faults.h"
#include "gen/routes.h"
#include "page.h"
#include "reply.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listQueueItems_query *in = query_in;

	bind_contains(q, in->search);
	bind_list(q, &in->status);
	bind_uuid_if(q, FIELD_SET(in, LISTQUEUEITEMS_Q_PRINTER_ID), in->printer_id);
	bind_uuid_if(q, FIELD_SET(in, LISTQUEUEITEMS_Q_FILE_ID), in->file_id);
	bind_uuid_if(q, FIELD_SET(in, LISTQUEUEITEMS_Q_BATCH_ID), in->batch_id);
	bind_uuid_if(q, FIELD_SET(in, LISTQUEUEITEMS_Q_REQUESTED_BY), in->requested_by);
	bind_str(q, in->due_before);
	bind_str(q, in->eligibility);
}

static const struct list item_list = {
    LIST_ORDERS(queue_items_orders),
    .total = &SQL_queue_items_total,
    .bind_filters = bind_filters,
};

const struct err *
listQueueItems(struct req *r)
{
	const struct listQueueItems_query *in = r->query;

	return reply_list(r, &item_list, &PAGE_IN(in, LISTQUEUEITEMS_Q));
}

struct query *
queue_item(struct req *r, struct uuid id)
{
	struct query *q = query(r, &SQL_queue_item_get);

	bind_uuid(q, id);
	return q;
}

static struct query *
find_faults(struct req *r, const struct uuid *item)
{
	struct query *q = query(r, &SQL_queue_faults);

	bind_body(q, r);
	if (item)
		bind_uuid(q, *item);
	else
		bind_null(q);
	return q;
}

const struct err *
createQueueItem(struct req *r)
{
	struct uuid id = uuid_v7();
	struct query *faults = find_faults(r, NULL), *q = query(r, &SQL_queue_create);
	const struct err *e;

	bind_uuid(q, id);
	bind_body(q, r);
	q = queue_item(r, id);
	e = query_run(r);
	if (e || r->replayed)
		return e;
	e = faults_found(r, faults);
	return e ? e : reply_one(r, q, 201);
}

const struct err *
getQueueItem(struct req *r)
{
	return reply_one(r, queue_item(r, r->path_params.queue_item_id), 200);
}

/* An item that is not there comes before what is wrong with the patch. */
const struct err *
updateQueueItem(struct req *r)
{
	struct uuid id = r->path_params.queue_item_id;
	struct query *faults = find_faults(r, &id), *q = query(r, &SQL_queue_update);
	const struct err *e;

	bind_uuid(q, id);
	bind_body(q, r);
	bind_if_match(q, r);
	q = queue_item(r, id);
	e = query_run(r);
	if (!e && rows_count(q) > 0)
		e = faults_found(r, faults);
	return e ? e : reply_one(r, q, 200);
}

const struct err *
deleteQueueItem(struct req *r)
{
	struct query *q = query(r, &SQL_queue_delete);

	bind_uuid(q, r->path_params.queue_item_id);
	bind_if_match(q, r);
	return reply_gone(r, q);
}

static const struct list event_list = {
    LIST_ORDERS(queue_history_orders),
    .total = &SQL_queue_history_total,
    .owner = &SQL_queue_item_known,
};

const struct err *
getQueueItemHistory(struct req *r)
{
	const struct getQueueItemHistory_query *in = r->query;

	return reply_list_of(
	    r, &event_list, r->path_params.queue_item_id, &PAGE_IN(in, GETQUEUEITEMHISTORY_Q));
}
