-- The queue's items. A row is what app.queue_rows says it is.

-- fragment: queue_filtered
	FROM app.queue_items AS i
	WHERE i.org_id = app.org()
		AND ($1 IS NULL OR i.name ILIKE $1 OR i.notes ILIKE $1)
		AND ($2 IS NULL OR i.state = ANY ($2))
		AND ($3 IS NULL OR i.assigned_printer = $3)
		AND ($4 IS NULL OR EXISTS (SELECT FROM app.queue_item_files AS f
			WHERE f.org_id = app.org() AND f.item_id = i.id AND f.file_id = $4))
		AND ($5 IS NULL OR i.batch_id = $5)
		AND ($6 IS NULL OR i.requested_by = $6)
		AND ($7 IS NULL OR i.due_at < $7)
		AND ($8 IS NULL OR app.queue_eligibility(i) ->> 'state' = $8)
-- end

-- name: queue_items :page
-- params: text, text[], uuid, uuid, uuid, uuid, timestamptz, text
-- orders: position i.rank int8, created_at i.created_at timestamptz, due_at coalesce(i.due_at, 'infinity') timestamptz, updated_at i.updated_at timestamptz, name i.name
SELECT {key:p} AS _key, v.*
	FROM (SELECT i.*
-- include: queue_filtered
		AND {after}
		ORDER BY {order} LIMIT {limit} OFFSET {offset}) AS p
	JOIN app.queue_rows AS v ON v._org_id = p.org_id AND v.id = p.id
	ORDER BY {order:p};

-- name: queue_items_total :one
-- params: text, text[], uuid, uuid, uuid, uuid, timestamptz, text
SELECT count(*) AS total
-- include: queue_filtered
;

-- name: queue_item_get :one
-- params: uuid
SELECT v.* FROM app.queue_rows AS v WHERE v._org_id = app.org() AND v.id = $1;

-- name: queue_item_known :one
-- params: uuid
SELECT i.id FROM app.queue_items AS i WHERE i.org_id = app.org() AND i.id = $1;

-- What is wrong with a body, or with a patch of an item, by its members.
-- name: queue_faults :many
-- params: jsonb, uuid
SELECT f.pointer, f.code, f.message FROM app.queue_faults($1, $2) AS f;

-- name: queue_create :one
-- params: uuid, jsonb
SELECT sec.queue_create($1, $2) AS id WHERE NOT EXISTS (SELECT FROM app.queue_faults($2, NULL));

-- name: queue_update :one
-- params: uuid, jsonb, int[]
SELECT sec.queue_update($1, $2, $3) AS id WHERE NOT EXISTS (SELECT FROM app.queue_faults($2, $1));

-- name: queue_delete :one
-- params: uuid, int[]
SELECT d.id FROM sec.queue_delete($1, $2) AS d (id) WHERE d.id IS NOT NULL;

-- name: queue_history :page
-- params: uuid
-- orders: at h.at timestamptz
SELECT {key} AS _key, h.id, h.at, h.event, h.from_state, h.to_state, h.generation, h.printer_id, h.detail, h.principal_id
	FROM app.queue_item_history($1) AS h
	WHERE {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: queue_history_total :one
-- params: uuid
SELECT count(*) AS total FROM app.queue_item_history($1) AS h;

-- One step of an item, by the name that sec.queue_act has for it; some want an outcome.
-- name: queue_act :exec
-- params: uuid, text, text
SELECT sec.queue_act($1, $2, CASE WHEN $3 IS NULL THEN '{}' ELSE jsonb_build_object('outcome', $3) END);

-- name: queue_duplicate :exec
-- params: uuid, uuid
SELECT sec.queue_duplicate($1, $2);

-- name: queue_reorder :one
-- params: uuid[], int8
SELECT sec.queue_reorder($1, $2) AS order_version;

-- name: queue_bulk :many
-- params: uuid[], jsonb
SELECT b.queue_item_id, b.failure FROM sec.queue_bulk($1, $2 ->> 'action', $2 -> 'patch') AS b ORDER BY b.n;
