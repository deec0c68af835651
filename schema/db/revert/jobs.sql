-- Revert soloprint:jobs from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION sec.jobs_prune(uuid, interval, int);
DROP FUNCTION sec.courier_health();
DROP FUNCTION sec.courier_leave(uuid);
DROP FUNCTION sec.courier_beat(uuid, text);
DROP FUNCTION sec.timer_claim(text[]);
DROP FUNCTION sec.job_cancel(uuid);
DROP FUNCTION sec.job_finish(uuid, uuid, bigint, text, jsonb, jsonb, interval);
DROP FUNCTION sec.job_beat(uuid, uuid, uuid, bigint, interval, jsonb);
DROP FUNCTION sec.job_enter(uuid, uuid, uuid, bigint);
DROP FUNCTION sec.job_claim(uuid, interval, text[], uuid);
DROP FUNCTION sec.job_pick(text[], uuid);
DROP TABLE app.jobs;
DROP FUNCTION app.guard_job_state();
DROP FUNCTION sec.index_job();
DROP TABLE sec.timers;
DROP TABLE sec.couriers;
DROP TABLE sec.job_index;

CREATE OR REPLACE FUNCTION sec.row_changes(was jsonb, is_now jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE
	RETURN (
		SELECT coalesce(jsonb_object_agg(k, CASE WHEN was IS NULL THEN is_now -> k WHEN is_now IS NULL THEN was -> k
			ELSE jsonb_build_object('from', was -> k, 'to', is_now -> k) END), '{}')
		FROM jsonb_object_keys(coalesce(is_now, was)) AS k
		WHERE k <> ALL ('{org_id,id,version,created_at,updated_at,last_used_at,last_used_ip,key_hash,secret_sealed,has_secret,features,groups}'::text[])
		AND coalesce(was -> k, 'null') <> coalesce(is_now -> k, 'null')
	) || CASE WHEN was -> 'secret_sealed' IS DISTINCT FROM is_now -> 'secret_sealed'
		AND coalesce(was -> 'secret_sealed', is_now -> 'secret_sealed') IS NOT NULL
		AND NOT (was IS NULL AND is_now -> 'secret_sealed' = 'null')
		THEN '{"secret": "changed"}'::jsonb ELSE '{}'::jsonb END;

COMMIT;
