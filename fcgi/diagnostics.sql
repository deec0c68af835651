-- What is wrong with a printer's connection, and what there is to connect to.

-- name: diagnostics :one
-- params: uuid
SELECT p.id AS printer_id, p.protocol, p.model, p.features AS capabilities,
		s.connection || jsonb_build_object('remedy', app.connection_remedy(s.connection ->> 'reason')) AS connection, s.last_seen_at,
		app.status_stale(s.connection, s.last_seen_at) AS stale, s.link -> 'round_trip_ms' AS round_trip_ms,
		s.link -> 'reports_per_min' AS report_rate_per_min, s.firmware ->> 'version' AS firmware_version,
		app.printer_checks(p.id) AS checks,
		(SELECT coalesce(jsonb_agg(jsonb_build_object('at', app.rfc3339(h.at), 'state', h.detail -> 'state',
				'reason', h.detail -> 'reason') ORDER BY h.at DESC, h.id DESC), '[]')
			FROM (SELECT x.at, x.id, x.detail FROM app.printer_history AS x WHERE x.org_id = app.org()
				AND x.printer_id = p.id AND x.kind = 'connection' ORDER BY x.at DESC, x.id DESC LIMIT 50) AS h) AS connection_history,
		(SELECT coalesce(jsonb_agg(jsonb_build_object('at', app.rfc3339(h.at), 'code', h.detail -> 'code',
				'severity', h.detail -> 'severity', 'message', e.e -> 'message', 'active', e.e IS NOT NULL)
				ORDER BY h.at DESC, h.id DESC), '[]')
			FROM (SELECT x.at, x.id, x.detail FROM app.printer_history AS x WHERE x.org_id = app.org()
				AND x.printer_id = p.id AND x.kind = 'error' AND x.detail -> 'active' IS DISTINCT FROM 'false'
				ORDER BY x.at DESC, x.id DESC LIMIT 20) AS h
			LEFT JOIN LATERAL (SELECT y.e FROM jsonb_array_elements(s.errors) AS y (e)
				WHERE y.e -> 'code' = h.detail -> 'code' LIMIT 1) AS e ON true) AS errors
	FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
	WHERE p.org_id = app.org() AND p.id = $1 AND p.deleted_at IS NULL;

-- The clear secret never comes here.
-- name: test_connection_create :one
-- params: uuid, jsonb, bytea, int4
SELECT sec.task_create_any($1, 'printer.test', $2 || CASE WHEN $3 IS NULL THEN '{}'
			ELSE jsonb_build_object('secret', encode($3, 'hex')) END,
		make_interval(secs => $4)) AS operation_id, 'queued' AS status;

-- name: discover_create :one
-- params: uuid, int4, int4
SELECT sec.task_create_any($1, 'printer.discover', jsonb_build_object('seconds', $2), make_interval(secs => $3))
	AS operation_id, 'queued' AS status;
