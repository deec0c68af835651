/* What is done with queue items, one by one and many at once. Contract:
 * schema/api/queue_actions.yaml; statements: queue.sql. */
#include "gen/routes.h"
#include "queue.h"
#include "reply.h"

const struct err *
queue_act(struct req *r, const char *action, struct str outcome)
{
	struct uuid id = r->path_params.queue_item_id;
	struct query *q = query(r, &SQL_queue_act);

	bind_uuid(q, id);
	bind_str(q, str_from(action));
	bind_str(q, outcome);
	return reply_one(r, queue_item(r, id), 200);
}

const struct err *
holdQueueItem(struct req *r)
{
	return queue_act(r, "hold", STR_NONE);
}

const struct err *
releaseQueueItem(struct req *r)
{
	return queue_act(r, "release", STR_NONE);
}

const struct err *
cancelQueueItem(struct req *r)
{
	return queue_act(r, "cancel", STR_NONE);
}

const struct err *
retryQueueItem(struct req *r)
{
	return queue_act(r, "retry", STR_NONE);
}

const struct err *
completeQueueItem(struct req *r)
{
	const struct completeQueueItem_body *in = r->in;

	return queue_act(r, "complete", in->outcome);
}

const struct err *
resolveQueueItem(struct req *r)
{
	const struct resolveQueueItem_body *in = r->in;

	return queue_act(r, "resolve", in->outcome);
}

const struct err *
duplicateQueueItem(struct req *r)
{
	struct uuid id = uuid_v7();
	struct query *q = query(r, &SQL_queue_duplicate);

	bind_uuid(q, r->path_params.queue_item_id);
	bind_uuid(q, id);
	return reply_one(r, queue_item(r, id), 201);
}

const struct err *
reorderQueue(struct req *r)
{
	const struct reorderQueue_body *in = r->in;
	struct query *q = query(r, &SQL_queue_reorder);

	bind_ids(q, &in->order);
	if (FIELD_SET(in, REORDERQUEUE_B_ORDER_VERSION))
		bind_i64(q, in->order_version);
	else
		bind_null(q);
	return reply_one(r, q, 200);
}

static void
write_outcome(struct buf *b, const struct query *q, int row)
{
	struct str failure = rows_get(q, row, "failure");
	const struct err *e = failure.p ? err_by_sqlstate(failure.p, NULL) : NULL;

	if (failure.p && !e)
		e = &err_internal_error;
	buf_str(b, row ? STR(",{\"queue_item_id\":") : STR("{\"queue_item_id\":"));
	buf_json_str(b, rows_get(q, row, "queue_item_id"));
	if (e) {
		buf_fmt(b, ",\"error\":{\"code\":\"%s\",\"message\":", e->code);
		buf_json_str(b, str_from(e->title));
		buf_str(b, STR("}}"));
	} else {
		buf_str(b, STR(",\"error\":null}"));
	}
}

const struct err *
bulkUpdateQueue(struct req *r)
{
	const struct bulkUpdateQueue_body *in = r->in;
	struct query *q = query(r, &SQL_queue_bulk);
	const struct err *e;
	struct buf *b;

	bind_ids(q, &in->ids);
	bind_body(q, r);
	e = query_run(r);
	if (e || r->replayed)
		return e;
	b = reply_json(r, 200);
	buf_str(b, STR("{\"data\":["));
	for (int i = 0; i < rows_count(q); i++)
		write_outcome(b, q, i);
	buf_str(b, STR("]}"));
	return NULL;
}
