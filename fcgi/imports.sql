-- Files that the courier fetches.

-- name: imports_must_be_few :many
-- params: int4
SELECT app.raise('SLP49', 'too many imports wait') AS _raised
	WHERE (SELECT count(*) FROM (SELECT FROM app.jobs AS j
		WHERE j.org_id = app.org() AND j.kind = 'file.import' AND j.finished_at IS NULL LIMIT $1) AS open) >= $1;

-- name: import_needs_room :many
SELECT app.need_storage(1);

-- name: import_file :one
-- params: uuid, text, text, text[], text, uuid
INSERT INTO app.files (id, filename, kind, content_type, tags, notes, model_id, status, source)
	SELECT $1, $2, k.kind, coalesce($3, app.file_content_type(k.kind)), coalesce($4, '{}'), $5, $6, 'pending_upload', 'url'
	FROM app.file_kind($2) AS k (kind) RETURNING id;

-- The URL is in the job alone, where only the courier can read it.
-- name: import_job :one
-- params: uuid, uuid, text, text, text, bool, bool, int4
INSERT INTO app.jobs (id, kind, visible, params, resource_type, resource_id, max_attempts)
	VALUES ($1, 'file.import', true, jsonb_build_object('url', $3, 'host', $4, 'sha256', $5, 'named', $6, 'typed', $7),
		'file', $2, $8)
	RETURNING id AS operation_id, state AS status, resource_id AS file_id;
