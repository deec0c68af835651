-- Events on their way out. What these functions do: schema/db/deploy/publish.sql.

-- name: publish :one
-- params: uuid, interval, int4
SELECT p.leads, p.published, p.failure FROM sec.publish($1, $2, $3) AS p;

-- name: stream_work :many
-- params: uuid, int4
SELECT w.n, w.kind, w.channels, w.payload FROM sec.stream_work($1, $2) AS w;

-- name: stream_done :exec
-- params: uuid, int8[]
SELECT sec.stream_done($1, $2);

-- name: deliveries_claim :many
-- params: uuid, interval, int4
SELECT d.kind, d.id, d.org_id, d.endpoint_id, d.fencing, d.channel, d.url, d.body, d.event_id, d.secrets, d.headers_sealed, d.target_sealed,
		to_json(d.recipients) AS recipients, d.content
	FROM sec.deliveries_claim($1, $2, $3) AS d;

-- name: deliveries_finish :exec
-- params: uuid, jsonb
SELECT sec.deliveries_finish($1, $2);

-- name: deliveries_release :exec
-- params: uuid, uuid[]
SELECT sec.deliveries_release($1, $2);

-- name: events_prune :one
-- params: uuid, int4
SELECT next, events, deliveries, messages FROM sec.events_prune($1, $2);
