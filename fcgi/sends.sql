-- Files for printers.

-- What is wrong with the request, by its members.
-- name: send_faults :many
-- params: uuid, jsonb
SELECT f.pointer, f.code, f.message FROM app.send_faults($1, $2) AS f;

-- It waits for its turn, at most so long.
-- name: send_create :one
-- params: uuid, jsonb, uuid, int4
SELECT sec.task_create($1, 'printer.send', jsonb_build_object('plate', app.first_plate($3), 'start', true) || $2,
		make_interval(secs => $4), false) AS operation_id, 'queued' AS status
	WHERE NOT EXISTS (SELECT FROM app.send_faults($1, $2));
