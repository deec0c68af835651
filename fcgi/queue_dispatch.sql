-- Which printer takes which queue item.

-- name: queue_matches :page
-- params: uuid, text
-- orders: printer_name v.printer_name
-- id: v.printer_id
SELECT {key} AS _key, v._printer_id AS _id, v.*
	FROM app.queue_eligible_rows AS v
	WHERE v._org_id = app.org() AND v._item_id = $1 AND ($2 IS NULL OR v.state = $2)
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: queue_matches_total :one
-- params: uuid, text
SELECT count(*) AS total FROM app.queue_eligible_rows AS v
	WHERE v._org_id = app.org() AND v._item_id = $1 AND ($2 IS NULL OR v.state = $2);

-- name: printer_known :one
-- params: uuid
SELECT p.id FROM app.printers AS p WHERE p.org_id = app.org() AND p.id = $1 AND p.deleted_at IS NULL;

-- name: printer_matches :page
-- params: uuid, text
-- orders: position v._rank int8
-- id: v.queue_item_id
SELECT {key} AS _key, v._item_id AS _id, v.*
	FROM app.queue_eligible_rows AS v
	WHERE v._org_id = app.org() AND v._printer_id = $1 AND ($2 IS NULL OR v.state = $2)
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: printer_matches_total :one
-- params: uuid, text
SELECT count(*) AS total FROM app.queue_eligible_rows AS v
	WHERE v._org_id = app.org() AND v._printer_id = $1 AND ($2 IS NULL OR v.state = $2);

-- No row: no such item, or no such printer. details: it was refused, as the error shows it.
-- name: queue_assign :one
-- params: uuid, uuid, bool, bool
SELECT a.queue_item_id, CASE WHEN a.refused IS NOT NULL THEN jsonb_build_object('reasons', a.refused) END AS details
	FROM sec.queue_assign($1, $2, $3, $4) AS a;

-- No row: no such printer. details: there was nothing for it. The next statement finds by a setting which item it was.
-- name: dispatch_next :one
-- params: uuid
SELECT d.queue_item_id, d.counts AS details, set_config('app.dispatched', coalesce(d.queue_item_id::text, ''), true)
	FROM sec.dispatch_next($1) AS d;

-- name: dispatched_item :one
SELECT v.* FROM app.queue_rows AS v
	WHERE v._org_id = app.org() AND v.id = nullif(current_setting('app.dispatched', true), '')::uuid;

-- name: queue_dispatch :many
-- params: int4
SELECT d.queue_item_id, d.printer_id, d.operation_id, d.generation FROM sec.queue_dispatch($1) AS d;

-- name: queue_forecast :one
-- params: int4
SELECT f.items, f.printers, f.blockers, f.computed_at FROM app.queue_forecast($1) AS f;

-- name: queue_settings_get :one
SELECT s.* FROM app.queue_settings_row() AS s;

-- name: queue_settings_faults :many
-- params: jsonb
SELECT f.pointer, f.code, f.message FROM app.queue_settings_faults($1) AS f;

-- name: queue_settings_update :exec
-- params: jsonb, int[]
SELECT sec.queue_settings_update($1, $2) WHERE NOT EXISTS (SELECT FROM app.queue_settings_faults($1));

-- name: plate_clear :one
-- params: uuid
SELECT c.printer_id, c.plate_cleared, c.cleared_at FROM sec.clear_plate($1) AS c;
