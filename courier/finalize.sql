-- Uploads that are put together.

-- name: finalize_get :one
-- params: uuid
SELECT f.status = 'pending_upload' AND u.file_id IS NOT NULL AS waits, f.blob_id IS NOT NULL AS stored, u.size_bytes,
		u.part_bytes, encode(u.sha256, 'hex') AS sha256, coalesce(u.location, b.location) = 's3' AS remote
	FROM app.files AS f LEFT JOIN app.uploads AS u ON u.org_id = f.org_id AND u.file_id = f.id
		LEFT JOIN app.blobs AS b ON b.org_id = f.org_id AND b.id = f.blob_id
	WHERE f.org_id = app.org() AND f.id = $1;

-- name: finalize_commit :one
-- params: uuid, uuid, bytea, int8, text, bool
SELECT k.kept, $6 AND k.kept = $2 AND app.queue_blob_move(k.kept) AS moves
	FROM (SELECT app.commit_file($1, $2, $3, $4, $5) AS kept OFFSET 0) AS k;

-- name: finalize_reopen :one
-- params: uuid
WITH opened AS (
	UPDATE app.uploads AS u SET state = 'open'
		WHERE u.org_id = app.org() AND u.file_id = $1 AND u.state = 'completing'
		RETURNING u.file_id, u.location, u.expires_at)
INSERT INTO app.jobs (kind, params, resource_type, resource_id, run_after)
	SELECT 'file.expire', jsonb_build_object('file_id', o.file_id, 'location', o.location), 'file', o.file_id, o.expires_at
	FROM opened AS o RETURNING id;
