-- Deliveries: one event for one webhook.

-- fragment: delivery_columns
	d.id, d.webhook_id, d.event_id, d.event_type, d.sequence, d.status, d.retrying, d.attempts, d.max_attempts, d.next_attempt_at,
		d.last_status, d.last_error, d.replay_of, d.test, d.created_at, d.finished_at
-- end

-- CASE and not OR, nor COALESCE: behind row level security the planner takes the latter for leaky, and only with a range does one plan
-- for all filters go by the index that has the order.
-- fragment: delivery_filters
		AND d.created_at >= CASE WHEN $6 IS NULL THEN '-infinity' ELSE $6 END
		AND d.created_at < CASE WHEN $7 IS NULL THEN 'infinity' ELSE $7 END
		AND ($2 IS NULL OR d.status = ANY ($2))
		AND ($3 IS NULL OR d.retrying = $3)
		AND ($4 IS NULL OR app.event_wanted($4, d.event_type))
		AND ($5 IS NULL OR d.event_id = $5)
-- end

-- name: webhook_deliveries :page
-- params: uuid, text[], bool, text[], uuid, timestamptz, timestamptz
-- orders: created_at d.created_at timestamptz
SELECT {key} AS _key,
-- include: delivery_columns
	FROM app.webhook_delivery_rows AS d WHERE d._org_id = app.org() AND $1 IS NULL
-- include: delivery_filters
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- The same of one webhook, which has an index of its own.
-- name: webhook_deliveries_of :page
-- params: uuid, text[], bool, text[], uuid, timestamptz, timestamptz
-- orders: created_at d.created_at timestamptz
SELECT {key} AS _key,
-- include: delivery_columns
	FROM app.webhook_delivery_rows AS d WHERE d._org_id = app.org() AND d.webhook_id = $1
-- include: delivery_filters
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: webhook_deliveries_total :one
-- params: uuid, text[], bool, text[], uuid, timestamptz, timestamptz
SELECT count(*) AS total
	FROM app.webhook_delivery_rows AS d WHERE d._org_id = app.org() AND ($1 IS NULL OR d.webhook_id = $1)
-- include: delivery_filters
;

-- name: webhook_delivery_get :one
-- params: uuid
SELECT
-- include: delivery_columns
	FROM app.webhook_delivery_rows AS d WHERE d._org_id = app.org() AND d.id = $1;

-- The payload as text keeps its members' order. A test has its own; others have their event's, for who may see it.
-- name: webhook_delivery_detail :one
-- params: uuid
SELECT
-- include: delivery_columns
		, coalesce((SELECT jsonb_agg(jsonb_build_object('attempt', a.attempt, 'at', app.rfc3339(a.at), 'latency_ms', a.latency_ms,
				'status', a.status, 'error', a.error, 'response_head', a.response_head, 'signatures', a.signature_count)
				ORDER BY a.attempt)
			FROM app.webhook_attempts AS a WHERE a.org_id = app.org() AND a.delivery_id = d.id), '[]') AS attempt_log,
		coalesce(d._payload, (SELECT app.event_payload(e.id, e.type, e.created_at, e.org_id, e.sequence, e.data) FROM app.events AS e
			WHERE e.org_id = app.org() AND e.id = d.event_id AND e.capability = ANY (app.my_capabilities())))::json AS payload
	FROM app.webhook_delivery_rows AS d WHERE d._org_id = app.org() AND d.id = $1;

-- name: webhook_delivery_replay :one
-- params: uuid, uuid
SELECT r.id FROM sec.webhook_replay($1, $2) AS r (id) WHERE r.id IS NOT NULL;
