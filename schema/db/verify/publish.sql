-- Verify soloprint:publish on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 FROM sec.stream_lateness WHERE false;
SELECT 'app.event_printer(app.outbox)'::regprocedure,
	'app.event_item(app.outbox)'::regprocedure,
	'sec.publish_org(uuid, bigint[])'::regprocedure,
	'sec.publish(uuid, interval, int)'::regprocedure,
	'sec.end_expired_keys()'::regprocedure,
	'sec.stream_work(uuid, int)'::regprocedure,
	'sec.stream_done(uuid, bigint[])'::regprocedure,
	'sec.stream_open(uuid, uuid, timestamptz, bigint, int)'::regprocedure,
	'sec.stream_printers(boolean, uuid)'::regprocedure,
	'sec.stream_enter(uuid, uuid, inet, text)'::regprocedure,
	'app.retry_wait(int, int, int)'::regprocedure,
	'sec.give_up_deliveries(uuid, uuid, boolean)'::regprocedure,
	'sec.endpoint_wake(uuid, int)'::regprocedure,
	'sec.deliveries_claim(uuid, interval, int)'::regprocedure,
	'sec.message_content(app.notification_messages, text)'::regprocedure,
	'sec.mail_disabled(app.webhooks, text, timestamptz)'::regprocedure,
	'sec.note_webhook(app.webhooks, boolean, boolean, text)'::regprocedure,
	'sec.finish_delivery(sec.delivery_index, jsonb)'::regprocedure,
	'sec.finish_message(sec.delivery_index, jsonb)'::regprocedure,
	'sec.deliveries_finish(uuid, jsonb)'::regprocedure,
	'sec.deliveries_release(uuid, uuid[])'::regprocedure,
	'sec.events_prune(uuid, int)'::regprocedure;

ROLLBACK;
