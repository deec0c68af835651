-- Commands for printers.

-- What the printer's own settings forbid.
-- name: command_faults :many
-- params: uuid, jsonb, jsonb
SELECT f.pointer, f.code, f.message FROM app.command_faults($1, $2, $3) AS f;

-- name: command_create :one
-- params: uuid, jsonb, jsonb, int4, bool
SELECT sec.task_create($1, 'printer.command', $2, make_interval(secs => $4), $5) AS operation_id, 'queued' AS status
	WHERE NOT EXISTS (SELECT FROM app.command_faults($1, $2, $3));

-- name: command_create_many :many
-- params: uuid[], jsonb, jsonb, int4, bool
SELECT c.printer_id, c.operation_id, c.failure, c.faults::text AS faults
	FROM app.command_many($1, $2, $3, make_interval(secs => $4), $5) AS c ORDER BY c.n;
