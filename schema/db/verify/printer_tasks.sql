-- Verify soloprint:printer_tasks on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT job_id, org_id, printer_id, kind, seq, number, urgent, expires_at, phase, gateway_id, fencing
	FROM sec.printer_tasks WHERE false;
SELECT org_id, id, printer_id, state, source, name, filename, file_id, operation_id, progress, started_at, ended_at
	FROM app.prints WHERE false;
SELECT link, print_id FROM app.printer_status WHERE false;
SELECT 'sec.task_create(uuid, text, jsonb, interval, boolean)'::regprocedure,
	'sec.task_create_any(uuid, text, jsonb, interval)'::regprocedure,
	'sec.task_take(uuid, uuid[], uuid[])'::regprocedure, 'sec.task_take_any(uuid, int, interval)'::regprocedure,
	'sec.task_starting(uuid, uuid, bigint)'::regprocedure, 'sec.task_progress(uuid, uuid, bigint, jsonb)'::regprocedure,
	'sec.task_end(uuid, uuid, bigint, text, jsonb, jsonb)'::regprocedure, 'sec.tasks_expire()'::regprocedure;

ROLLBACK;
