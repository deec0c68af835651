-- Uploads: a file is announced, its parts arrive, it is put together.

-- name: upload_register :one
-- params: uuid, jsonb
INSERT INTO app.files (id, filename, kind, content_type, size_bytes)
	SELECT $1, b.filename, app.file_kind(b.filename), coalesce(b.content_type, app.file_content_type(app.file_kind(b.filename))),
		b.size_bytes
	FROM jsonb_to_record($2) AS b (filename text, content_type text, size_bytes bigint) RETURNING id;

-- name: upload_open :one
-- params: uuid, jsonb, int8, text, int8
INSERT INTO app.uploads (file_id, size_bytes, part_bytes, sha256, location, expires_at)
	SELECT $1, b.size_bytes, $3, decode(b.sha256, 'hex'), $4, date_trunc('second', app.now()) + make_interval(secs => $5)
	FROM jsonb_to_record($2) AS b (size_bytes bigint, sha256 text)
	RETURNING app.rfc3339(expires_at) AS expires_at, extract(epoch FROM expires_at)::bigint AS expires_s;

-- name: upload_expiry :one
-- params: uuid
INSERT INTO app.jobs (kind, params, resource_type, resource_id, run_after)
	SELECT 'file.expire', jsonb_build_object('file_id', u.file_id, 'location', u.location), 'file', u.file_id, u.expires_at
	FROM app.uploads AS u WHERE u.org_id = app.org() AND u.file_id = $1 RETURNING id;

-- name: upload_get :one
-- params: uuid
SELECT f.status, f.blob_id IS NOT NULL AS stored, f.deleted_at IS NOT NULL AS trashed, u.file_id IS NOT NULL AS open,
		u.state = 'completing' AS completing, u.size_bytes, u.part_bytes, encode(u.sha256, 'hex') AS sha256,
		u.location = 's3' AS remote, u.expires_at <= app.now() AS expired
	FROM app.files AS f LEFT JOIN app.uploads AS u ON u.org_id = f.org_id AND u.file_id = f.id
	WHERE f.org_id = app.org() AND f.id = $1;

-- name: upload_commit :one
-- params: uuid, uuid, bytea, int8, bool
SELECT k.kept, $5 AND k.kept = $2 AND app.queue_blob_move(k.kept) AS moves
	FROM (SELECT app.commit_file($1, $2, $3, $4, 'local') AS kept OFFSET 0) AS k;

-- name: finalize_start :one
-- params: uuid, uuid
WITH claimed AS (
	UPDATE app.uploads AS u SET state = 'completing'
		WHERE u.org_id = app.org() AND u.file_id = $1 AND u.state = 'open' RETURNING u.file_id)
INSERT INTO app.jobs (id, kind, visible, params, resource_type, resource_id)
	SELECT $2, 'file.finalize', true, jsonb_build_object('file_id', c.file_id), 'file', c.file_id FROM claimed AS c
	RETURNING id;

-- name: finalize_find :one
-- params: uuid
SELECT j.id AS operation_id, j.state AS status, j.resource_id AS file_id FROM app.jobs AS j
	WHERE j.org_id = app.org() AND j.kind = 'file.finalize' AND j.resource_id = $1 ORDER BY j.id DESC LIMIT 1;
