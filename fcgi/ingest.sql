-- Files that arrive whole.

-- May so many bytes come in?
-- name: ingest_admit :one
-- params: int8
SELECT app.need_storage($1) AS admitted;

-- The file with this content, as an answer; $2: the id that a new one has got.
-- name: ingest_known :one
-- params: bytea, uuid
SELECT f.id AS file_id, f.model_id, f.id <> $2 AS duplicate, f.revision, f.filename, f.kind, f.size_bytes,
		encode(f.sha256, 'hex') AS sha256, f.status, f.analysis
	FROM app.files AS f WHERE f.org_id = app.org() AND f.id = app.known_file($1);

-- name: ingest_store :one
-- params: uuid, uuid, bytea, int8, jsonb, jsonb, bool
SELECT i.file_id, i.created, array_to_string(i.spare, ',') AS spare
	FROM app.ingest_file($1, $2, $3, $4, $5, $6, $7) AS i;
