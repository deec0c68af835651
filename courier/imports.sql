-- Imports from URLs.

-- How many bytes still fit; no row when the file does not wait for its bytes any more.
-- name: import_begin :one
-- params: uuid
SELECT o.storage_quota_bytes - coalesce(u.stored_bytes + u.reserved_bytes, 0) AS left_bytes
	FROM app.files AS f JOIN app.organizations AS o ON o.org_id = f.org_id
		LEFT JOIN app.storage_usage AS u ON u.org_id = f.org_id
	WHERE f.org_id = app.org() AND f.id = $1 AND f.status = 'pending_upload';

-- $2: the name that the server gave, if it counts; $3: the client said what type it is.
-- name: import_name :exec
-- params: uuid, text, bool
UPDATE app.files AS f SET filename = coalesce($2, f.filename), kind = app.file_kind(coalesce($2, f.filename)),
		content_type = CASE WHEN $3 THEN f.content_type
			ELSE app.file_content_type(app.file_kind(coalesce($2, f.filename))) END
	WHERE f.org_id = app.org() AND f.id = $1 AND f.status = 'pending_upload' AND $2 IS NOT NULL;

-- The object goes again when the organisation has the content already, or the file is gone.
-- name: import_commit :exec
-- params: uuid, uuid, bytea, int8
SELECT app.queue_blob_delete($2, 'local', '0 s') FROM app.commit_file($1, $2, $3, $4, 'local') AS k (kept)
	WHERE k.kept IS DISTINCT FROM $2;

-- A new object shall be in the object store.
-- name: import_move :exec
-- params: uuid
SELECT app.queue_blob_move(b.id) FROM app.blobs AS b WHERE b.org_id = app.org() AND b.id = $1;

-- name: import_failed :exec
-- params: uuid, text, text
UPDATE app.files AS f SET status = 'failed', status_reason = jsonb_build_object('code', $2, 'message', $3)
	WHERE f.org_id = app.org() AND f.id = $1 AND f.status = 'pending_upload';
