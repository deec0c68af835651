-- What is wrong with a printer's connection, and what there is to connect to.

-- name: diagnostics_stub :one
SELECT 1 AS one;

-- The clear secret never comes here.
-- name: test_connection_create :one
-- params: uuid, jsonb, bytea, int4
SELECT sec.task_create_any($1, 'printer.test', $2 || CASE WHEN $3 IS NULL THEN '{}'
			ELSE jsonb_build_object('secret_sealed', encode($3, 'hex')) END,
		make_interval(secs => $4)) AS operation_id, 'queued' AS status;

-- name: discover_create :one
-- params: uuid, int4, int4
SELECT sec.task_create_any($1, 'printer.discover', jsonb_build_object('seconds', $2), make_interval(secs => $3))
	AS operation_id, 'queued' AS status;
