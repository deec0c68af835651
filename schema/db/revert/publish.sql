-- Revert soloprint:publish from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DELETE FROM sec.timers WHERE name = 'events_prune';
CREATE OR REPLACE FUNCTION sec.courier_leave(courier uuid) RETURNS void
	LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		DELETE FROM sec.couriers AS c WHERE c.id = courier_leave.courier;
	END;
DROP FUNCTION sec.endpoint_wake(uuid, int);
DROP FUNCTION sec.stream_printers(boolean, uuid);
DROP TABLE sec.stream_lateness;
DROP FUNCTION sec.events_prune(uuid, int);
DROP FUNCTION sec.deliveries_release(uuid, uuid[]);
DROP FUNCTION sec.deliveries_finish(uuid, jsonb);
DROP FUNCTION sec.finish_message(sec.delivery_index, jsonb);
DROP FUNCTION sec.finish_delivery(sec.delivery_index, jsonb);
DROP FUNCTION sec.note_webhook(app.webhooks, boolean, boolean, text);
DROP FUNCTION sec.mail_disabled(app.webhooks, text, timestamptz);
DROP FUNCTION sec.message_content(app.notification_messages, text);
DROP FUNCTION sec.deliveries_claim(uuid, interval, int);
DROP FUNCTION sec.give_up_deliveries(uuid, uuid, boolean);
DROP FUNCTION app.retry_wait(int, int, int);
DROP FUNCTION sec.stream_enter(uuid, uuid, inet, text);
DROP FUNCTION sec.stream_open(uuid, uuid, timestamptz, bigint, int);
DROP FUNCTION sec.stream_done(uuid, bigint[]);
DROP FUNCTION sec.stream_work(uuid, int);
DROP FUNCTION sec.end_expired_keys();
DROP FUNCTION sec.publish(uuid, interval, int);
DROP FUNCTION sec.publish_org(uuid, bigint[]);
DROP FUNCTION app.event_item(app.outbox);
DROP FUNCTION app.event_printer(app.outbox);

COMMIT;
