-- The log of events, and their types.

-- fragment: event_filters
	FROM app.events AS e
	WHERE e.org_id = app.org() AND e.capability = ANY (app.my_capabilities())
		AND ($1 IS NULL OR e.sequence > $1)
		AND ($2 IS NULL OR app.event_wanted($2, e.type))
		AND ($3 IS NULL OR e.printer_id = $3)
		AND ($4 IS NULL OR e.item_id = $4)
		AND ($5 IS NULL OR e.created_at >= $5)
		AND ($6 IS NULL OR e.created_at < $6)
-- end

-- name: events :page
-- params: int8, text[], uuid, uuid, timestamptz, timestamptz
-- orders: sequence e.sequence int8
SELECT {key} AS _key, e.id, e.type, e.created_at AS timestamp, e.org_id AS organization_id, e.sequence, e.data
-- include: event_filters
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: events_total :one
-- params: int8, text[], uuid, uuid, timestamptz, timestamptz
SELECT count(*) AS total
-- include: event_filters
;

-- name: events_must_be_kept :many
-- params: int8
SELECT app.raise('SLP72', 'some of these events are kept no longer') AS _raised WHERE $1 < sec.events_kept_after();

-- name: event_types :many
SELECT t.type, t.title, t.description, t.capability, t.severity, t.available, t.capability = ANY (app.my_capabilities()) AS permitted,
		t.example
	FROM app.event_types AS t ORDER BY t.type;
