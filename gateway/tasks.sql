-- What printers, and the gateway itself, are asked to do. The functions speak for each task's organisation.

-- name: gw_tasks_waiting :many
-- params: uuid
SELECT DISTINCT i.printer_id FROM sec.printer_index AS i JOIN sec.printer_tasks AS t ON t.printer_id = i.printer_id
	WHERE i.gateway_id = $1;

-- name: gw_task_take :many
-- params: uuid, uuid[], uuid[]
SELECT * FROM sec.task_take($1, $2, $3);

-- name: gw_task_take_any :many
-- params: uuid, int4, interval
SELECT * FROM sec.task_take_any($1, $2, $3);

-- name: gw_task_starting :one
-- params: uuid, uuid, int8
SELECT sec.task_starting($1, $2, $3)::int AS may;

-- name: gw_task_progress :exec
-- params: uuid, uuid, int8, jsonb
SELECT sec.task_progress($1, $2, $3, $4);

-- name: gw_task_end :one
-- params: uuid, uuid, int8, text, jsonb, jsonb
SELECT sec.task_end($1, $2, $3, $4, $5, $6)::int AS held;

-- name: gw_tasks_expire :one
SELECT sec.tasks_expire() AS expired;
