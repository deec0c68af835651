-- Verify soloprint:jobs on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, id, kind, state, visible, priority, params, progress, result, error, resource_type, resource_id, attempts,
	max_attempts, run_after, cancel_requested_at, created_by, created_at, started_at, finished_at, updated_at, version
	FROM app.jobs WHERE false;
SELECT job_id, org_id, kind, priority, run_after, ready, courier_id, fencing, expires_at FROM sec.job_index WHERE false;
SELECT id, name, started_at, heartbeat_at FROM sec.couriers WHERE false;
SELECT name, every, next_at FROM sec.timers WHERE false;
SELECT 1 / (NOT has_column_privilege('soloprint_api', 'app.jobs', 'params', 'SELECT'))::int;
SELECT 1 / has_function_privilege('soloprint_courier', f, 'EXECUTE')::int FROM unnest(ARRAY[
	'sec.job_claim(uuid, interval, text[], uuid)', 'sec.job_enter(uuid, uuid, uuid, bigint)',
	'sec.job_beat(uuid, uuid, uuid, bigint, interval, jsonb)',
	'sec.job_finish(uuid, uuid, bigint, text, jsonb, jsonb, interval)', 'sec.timer_claim(text[])',
	'sec.courier_beat(uuid, text)', 'sec.courier_leave(uuid)', 'sec.jobs_prune(uuid, interval, int)']) AS f;
SELECT 1 / has_function_privilege('soloprint_api', f, 'EXECUTE')::int
	FROM unnest(ARRAY['sec.job_cancel(uuid)', 'sec.courier_health()']) AS f;

ROLLBACK;
