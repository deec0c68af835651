-- Verify soloprint:webhooks on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 FROM app.webhook_delivery_rows WHERE false;
SELECT 1 FROM app.webhook_rows WHERE false;
SELECT 1 FROM app.webhook_attempts WHERE false;
SELECT 1 FROM app.webhook_deliveries WHERE false;
SELECT 1 FROM app.webhook_secrets WHERE false;
SELECT 1 FROM app.webhook_status WHERE false;
SELECT 1 FROM app.webhooks WHERE false;
SELECT 1 FROM sec.delivery_index WHERE false;
SELECT 1 FROM sec.endpoint_queue WHERE false;
SELECT 'sec.has_rights(text[], uuid[])'::regprocedure,
	'sec.guard_rights()'::regprocedure,
	'app.printer_passes(uuid[], jsonb, uuid)'::regprocedure,
	'app.are_filters(jsonb)'::regprocedure,
	'app.subscription_faults(text, text[], jsonb)'::regprocedure,
	'app.guard_delivery_state()'::regprocedure,
	'sec.wake_endpoints(uuid, uuid[], timestamptz)'::regprocedure,
	'sec.index_deliveries()'::regprocedure,
	'app.settle_webhook()'::regprocedure,
	'sec.limit_webhooks()'::regprocedure,
	'sec.follow_webhook()'::regprocedure,
	'sec.own_webhook(uuid)'::regprocedure,
	'sec.webhook_rotate(uuid, uuid, bytea, text, interval)'::regprocedure,
	'sec.webhook_test(uuid, uuid, text)'::regprocedure,
	'sec.webhook_replay(uuid, uuid)'::regprocedure,
	'sec.webhook_recover(uuid, timestamptz)'::regprocedure,
	'sec.events_kept_after()'::regprocedure;

ROLLBACK;
