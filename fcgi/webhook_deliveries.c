/* Deliveries of webhooks. Contract: schema/api/webhook_deliveries.yaml; statements:
 * webhook_deliveries.sql. */
#include "gen/routes.h"
#include "page.h"
#include "reply.h"

static void
bind_filters(struct query *q, const void *query_in)
{
	const struct listWebhookDeliveries_query *in = query_in;

	bind_uuid_if(q, FIELD_SET(in, LISTWEBHOOKDELIVERIES_Q_WEBHOOK_ID), in->webhook_id);
	bind_list(q, &in->status);
	if (FIELD_SET(in, LISTWEBHOOKDELIVERIES_Q_RETRYING))
		bind_bool(q, in->retrying);
	else
		bind_null(q);
	bind_list(q, &in->event_type);
	bind_uuid_if(q, FIELD_SET(in, LISTWEBHOOKDELIVERIES_Q_EVENT_ID), in->event_id);
	bind_str(q, in->created_after);
	bind_str(q, in->created_before);
}

static const struct list delivery_list = {
    LIST_ORDERS(webhook_deliveries_orders),
    .total = &SQL_webhook_deliveries_total,
    .bind_filters = bind_filters,
};

static const struct list delivery_list_of_webhook = {
    LIST_ORDERS(webhook_deliveries_of_orders),
    .total = &SQL_webhook_deliveries_total,
    .bind_filters = bind_filters,
};

const struct err *
listWebhookDeliveries(struct req *r)
{
	const struct listWebhookDeliveries_query *in = r->query;
	bool one = FIELD_SET(in, LISTWEBHOOKDELIVERIES_Q_WEBHOOK_ID);

	return reply_list(r, one ? &delivery_list_of_webhook : &delivery_list,
	    &PAGE_IN(in, LISTWEBHOOKDELIVERIES_Q));
}

const struct err *
getWebhookDelivery(struct req *r)
{
	struct query *q = query(r, &SQL_webhook_delivery_detail);

	bind_uuid(q, r->path_params.webhook_delivery_id);
	return reply_one(r, q, 200);
}

const struct err *
replayWebhookDelivery(struct req *r)
{
	struct uuid id = uuid_v7();
	struct query *q = query(r, &SQL_webhook_delivery_replay);

	bind_uuid(q, r->path_params.webhook_delivery_id);
	bind_uuid(q, id);
	q = query(r, &SQL_webhook_delivery_get);
	bind_uuid(q, id);
	return reply_one(r, q, 201);
}
