-- Jobs, leases, timers. What these functions do and raise: schema/db/deploy/jobs.sql.

-- name: job_claim :one
-- params: uuid, interval, text[], uuid
SELECT org_id, id, kind, fencing, attempt, max_attempts, params, resource_id, created_by, cancelled
	FROM sec.job_claim($1, $2, $3, $4);

-- name: job_enter :exec
-- params: uuid, uuid, uuid, int8
SELECT sec.job_enter($1, $2, $3, $4);

-- name: job_beat :one
-- params: uuid, uuid, uuid, int8, interval, jsonb
SELECT held, cancelled FROM sec.job_beat($1, $2, $3, $4, $5, $6);

-- name: job_finish :exec
-- params: uuid, uuid, int8, text, jsonb, jsonb, interval
SELECT sec.job_finish($1, $2, $3, $4, $5, $6, $7);

-- name: timer_claim :one
-- params: text[]
SELECT sec.timer_claim($1) AS name;

-- name: courier_beat :exec
-- params: uuid, text
SELECT sec.courier_beat($1, $2);

-- name: courier_leave :exec
-- params: uuid
SELECT sec.courier_leave($1);

-- name: jobs_prune :one
-- params: uuid, interval, int4
SELECT next, jobs, keys FROM sec.jobs_prune($1, $2, $3);

-- name: queue_tick :one
-- params: uuid
SELECT next, sent, failure FROM sec.queue_tick($1);

-- name: tasks_expire :one
SELECT sec.tasks_expire() AS n;

-- name: printer_history_months :one
-- params: interval
SELECT made, dropped FROM sec.printer_history_months($1);
