-- The log of events, and their types.

-- fragment: event_filters
	FROM app.events AS e
	WHERE e.org_id = app.org() AND e.sequence > CASE WHEN $1 IS NULL THEN 0 ELSE $1 END
		AND e.capability = ANY ((SELECT app.my_capabilities())::text[])
		AND ($2 IS NULL OR app.event_wanted($2, e.type))
		AND ($3 IS NULL OR e.printer_id = $3)
		AND ($4 IS NULL OR e.item_id = $4)
		AND ($5 IS NULL OR e.created_at >= $5)
		AND ($6 IS NULL OR e.created_at < $6)
-- end

-- fragment: event_columns
SELECT e.sequence::text AS _key, e.id, e.type, e.created_at AS timestamp, e.org_id AS organization_id, e.sequence, e.data
-- end

-- A page in each direction, with the parameters of any list's, but ordered by what is unique by itself and has the index. CASE and not
-- COALESCE: behind row level security the planner takes the latter for leaky and would not look into the index with it.
-- name: events_forward :many
-- params: int8, text[], uuid, uuid, timestamptz, timestamptz, text, uuid, int8, int8
-- include: event_columns
-- include: event_filters
		AND e.sequence > CASE WHEN $8 IS NULL THEN 0 ELSE $7::int8 END
	ORDER BY e.sequence LIMIT $9 OFFSET $10;

-- name: events_back :many
-- params: int8, text[], uuid, uuid, timestamptz, timestamptz, text, uuid, int8, int8
-- include: event_columns
-- include: event_filters
		AND e.sequence < CASE WHEN $8 IS NULL THEN 9223372036854775807 ELSE $7::int8 END
	ORDER BY e.sequence DESC LIMIT $9 OFFSET $10;

-- name: events_total :one
-- params: int8, text[], uuid, uuid, timestamptz, timestamptz
SELECT count(*) AS total
-- include: event_filters
;

-- name: events_must_be_kept :many
-- params: int8
SELECT app.raise('SLP72', 'some of these events are kept no longer') AS _raised WHERE $1 < sec.events_kept_after();

-- name: event_types :many
SELECT t.type, t.title, t.description, t.capability, t.severity, t.available, t.capability = ANY ((SELECT app.my_capabilities())::text[]) AS permitted,
		t.example
	FROM app.event_types AS t ORDER BY t.type;
