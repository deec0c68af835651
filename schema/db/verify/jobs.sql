-- Verify soloprint:jobs on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, id, kind, state, visible, priority, params, progress, result, error, resource_type, resource_id, attempts,
	max_attempts, run_after, cancel_requested_at, created_by, created_at, started_at, finished_at, updated_at
	FROM app.jobs WHERE false;
SELECT job_id, org_id, kind, priority, run_after, courier_id, fencing, expires_at FROM sec.job_index WHERE false;
SELECT name, every, next_at FROM sec.timers WHERE false;
SELECT 1 / (NOT has_column_privilege('soloprint_api', 'app.jobs', 'params', 'SELECT'))::int;

ROLLBACK;
