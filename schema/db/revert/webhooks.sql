-- Revert soloprint:webhooks from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP VIEW app.webhook_delivery_rows;
DROP VIEW app.webhook_rows;
CREATE OR REPLACE FUNCTION sec.row_changes(was jsonb, is_now jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE
	RETURN (
		SELECT coalesce(jsonb_object_agg(k, CASE WHEN was IS NULL THEN is_now -> k WHEN is_now IS NULL THEN was -> k
			ELSE jsonb_build_object('from', was -> k, 'to', is_now -> k) END), '{}')
		FROM jsonb_object_keys(coalesce(is_now, was)) AS k
		WHERE k <> ALL ('{org_id,id,version,created_at,updated_at,last_used_at,last_used_ip,key_hash,secret_sealed,has_secret,features,groups,metadata,thumbnails,analysis,blob_id,settings,stem,file_names,words,trigrams,document}'::text[])
		AND coalesce(was -> k, 'null') <> coalesce(is_now -> k, 'null')
	) || CASE WHEN was -> 'secret_sealed' IS DISTINCT FROM is_now -> 'secret_sealed'
		AND coalesce(was -> 'secret_sealed', is_now -> 'secret_sealed') IS NOT NULL
		AND NOT (was IS NULL AND is_now -> 'secret_sealed' = 'null')
		THEN '{"secret": "changed"}'::jsonb ELSE '{}'::jsonb END;
DROP FUNCTION sec.own_webhook(uuid);
DROP FUNCTION sec.events_kept_after();
DROP FUNCTION sec.wake_endpoints(uuid, uuid[], timestamptz);
DROP FUNCTION sec.has_rights(text[], uuid[]);
DROP TABLE app.webhook_attempts;
DROP TABLE app.webhook_deliveries;
DROP TABLE app.webhook_secrets;
DROP TABLE app.webhook_status;
DROP TABLE app.webhooks;
DROP TABLE sec.delivery_index;
DROP TABLE sec.endpoint_queue;
DROP FUNCTION sec.webhook_recover(uuid, timestamptz);
DROP FUNCTION sec.webhook_replay(uuid, uuid);
DROP FUNCTION sec.webhook_test(uuid, uuid, text);
DROP FUNCTION sec.webhook_rotate(uuid, uuid, bytea, text, interval);
DROP FUNCTION sec.follow_webhook();
DROP FUNCTION sec.limit_webhooks();
DROP FUNCTION app.settle_webhook();
DROP FUNCTION sec.index_deliveries();
DROP FUNCTION app.guard_delivery_state();
DROP FUNCTION app.subscription_faults(text, text[], jsonb);
DROP FUNCTION app.are_filters(jsonb);
DROP FUNCTION app.printer_passes(uuid[], jsonb, uuid);
DROP FUNCTION sec.guard_rights();

COMMIT;
