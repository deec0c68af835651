/* The log of events, and their types. Contract: schema/api/events.yaml; statements: event_log.sql.
 */
#include "db/rows_json.h"
#include "gen/routes.h"
#include "page.h"
#include "reply.h"

static void
bind_after(struct query *q, const struct listEvents_query *in)
{
	if (FIELD_SET(in, LISTEVENTS_Q_AFTER))
		bind_i64(q, in->after);
	else
		bind_null(q);
}

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listEvents_query *in = query_in;

	bind_after(q, in);
	bind_list(q, &in->types);
	bind_uuid_if(q, FIELD_SET(in, LISTEVENTS_Q_PRINTER_ID), in->printer_id);
	bind_uuid_if(q, FIELD_SET(in, LISTEVENTS_Q_QUEUE_ITEM_ID), in->queue_item_id);
	bind_str(q, in->created_after);
	bind_str(q, in->created_before);
}

static const struct sql_order orders[] = {
    {STR_INIT("sequence"), &SQL_events_forward},
    {STR_INIT("-sequence"), &SQL_events_back},
};

static const struct list event_list = {
    LIST_ORDERS(orders),
    .total = &SQL_events_total,
    .bind_filters = bind_filters,
};

/* Whoever says what came last reads on from there; others look back. */
const struct err *
listEvents(struct req *r)
{
	const struct listEvents_query *in = r->query;
	struct page_in page = {
	    .limit = in->limit,
	    .offset = in->offset,
	    .skip = in->skip,
	    .has_offset = FIELD_SET(in, LISTEVENTS_Q_OFFSET),
	    .has_skip = FIELD_SET(in, LISTEVENTS_Q_SKIP),
	    .cursor = in->cursor,
	    .sort = FIELD_SET(in, LISTEVENTS_Q_AFTER) ? STR("sequence") : STR("-sequence"),
	};
	struct query *kept = query(r, &SQL_events_must_be_kept);

	bind_after(kept, in);
	return reply_list(r, &event_list, &page);
}

const struct err *
listEventTypes(struct req *r)
{
	struct query *q = query(r, &SQL_event_types);
	const struct err *e = query_run(r);
	struct buf *b;

	if (e)
		return e;
	b = reply_json(r, 200);
	buf_str(b, STR("{\"data\":"));
	rows_json_array(b, q, rows_count(q));
	buf_char(b, '}');
	return NULL;
}
