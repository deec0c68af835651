-- Operations: the jobs that clients see.

-- fragment: operation_columns
	j.id, j.kind, j.state AS status, j.progress || jsonb_build_object('percent', CASE WHEN (j.progress ->> 'total')::bigint > 0
			THEN least(round(100.0 * (j.progress ->> 'done')::bigint / (j.progress ->> 'total')::bigint, 1), 100) END) AS progress,
		j.result, j.error, CASE WHEN j.resource_id IS NOT NULL
			THEN jsonb_build_object('type', j.resource_type, 'id', j.resource_id) END AS resource,
		j.attempts, j.created_at, j.started_at, j.finished_at, '"' || j.version || '"' AS _etag
	FROM app.jobs AS j WHERE j.org_id = app.org() AND j.visible
-- end

-- fragment: operation_filters
		AND ($1 IS NULL OR j.state = ANY ($1)) AND ($2 IS NULL OR j.kind = $2) AND ($3 IS NULL OR j.resource_id = $3)
-- end

-- name: operations :page
-- params: text[], text, uuid
-- orders: created_at j.created_at timestamptz
SELECT {key} AS _key,
-- include: operation_columns
-- include: operation_filters
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: operations_total :one
-- params: text[], text, uuid
SELECT count(*) AS total FROM app.jobs AS j WHERE j.org_id = app.org() AND j.visible
-- include: operation_filters
;

-- name: operation_get :one
-- params: uuid
SELECT
-- include: operation_columns
		AND j.id = $1;

-- name: operation_cancel :exec
-- params: uuid
SELECT sec.job_cancel($1);
