-- What `soloprintctl storage` asks. Rows of organisations are read one organisation after the other; what goes over all of
-- them comes from indexes without content.

-- name: storage_orgs :many
SELECT i.org_id, i.slug FROM sec.org_index AS i ORDER BY i.slug;

-- name: storage_enter :exec
-- params: uuid
SELECT pg_catalog.set_config('app.org_id', $1::text, true);

-- name: storage_totals :many
SELECT b.location, count(*) AS blobs, sum(b.size_bytes)::bigint AS bytes FROM app.blobs AS b WHERE b.org_id = app.org()
	GROUP BY b.location;

-- name: storage_jobs :one
SELECT count(*) FILTER (WHERE j.kind = 'blob.move') AS moves, count(*) FILTER (WHERE j.kind = 'blob.delete') AS removals
	FROM sec.job_index AS j;

-- name: storage_clock :one
SELECT extract(epoch FROM app.now())::bigint AS now_s;

-- name: storage_blobs :many
-- params: uuid
SELECT b.id, encode(b.sha256, 'hex') AS sha256, b.size_bytes, b.location,
		(SELECT count(*) FROM app.files AS f WHERE f.org_id = b.org_id AND f.blob_id = b.id) AS files
	FROM app.blobs AS b WHERE b.org_id = app.org() AND b.id > $1 ORDER BY b.id LIMIT 500;

-- name: storage_where :one
-- params: uuid
SELECT i.location FROM sec.blob_index AS i WHERE i.blob_id = $1;

-- name: storage_relocate :exec
-- params: uuid, text
UPDATE app.blobs AS b SET location = $2 WHERE b.org_id = app.org() AND b.id = $1;

-- name: storage_known :many
-- params: uuid[]
SELECT i.blob_id, i.org_id, i.location, i.since < app.now() - interval '2 hours' AS long_since
	FROM sec.blob_index AS i WHERE i.blob_id = ANY ($1);

-- name: storage_unqueue :exec
-- params: text
UPDATE app.jobs AS j SET cancel_requested_at = app.now()
	WHERE j.org_id = app.org() AND j.kind = 'blob.move' AND j.state IN ('queued', 'running') AND j.params ->> 'to' <> $1
	AND j.cancel_requested_at IS NULL;

-- name: storage_queue :one
-- params: text, uuid
WITH page AS (SELECT b.id FROM app.blobs AS b WHERE b.org_id = app.org() AND b.location <> $1 AND b.id > $2
		ORDER BY b.id LIMIT 500)
SELECT count(*) FILTER (WHERE app.queue_blob_move(p.id, $1)) AS queued, (array_agg(p.id ORDER BY p.id DESC))[1] AS last
	FROM page AS p;

-- name: storage_left :one
-- params: text
SELECT (SELECT count(*) FROM sec.blob_index AS i WHERE i.location <> $1) AS elsewhere,
	(SELECT count(*) FROM sec.job_index AS j WHERE j.kind = 'blob.move') AS moves,
	(SELECT count(*) FROM sec.job_index AS j WHERE j.kind = 'blob.move' AND j.courier_id IS NULL
		AND j.run_after > app.now()) AS later;

-- name: storage_remove :exec
-- params: uuid, text
SELECT app.queue_blob_delete($1, $2, '0');
