-- Files by name, for slicers.

-- name: octoprint_file :one
-- params: text
SELECT f.id AS file_id, f.filename, f.kind, f.size_bytes, extract(epoch FROM f.uploaded_at)::bigint AS date,
		encode(f.sha256, 'hex') AS sha256
	FROM app.files AS f
	WHERE f.org_id = app.org() AND f.filename = $1 AND f.deleted_at IS NULL AND f.blob_id IS NOT NULL
	ORDER BY f.created_at DESC, f.id DESC LIMIT 1;

-- A plate that the file does not have is left out: the slicer has said which one it showed, not which ones there are.
-- name: octoprint_queue :one
-- params: uuid, uuid, int4
SELECT sec.queue_create($1, jsonb_strip_nulls(jsonb_build_object('file_id', $2, 'plate', CASE WHEN NOT EXISTS (
	SELECT FROM app.queue_file_faults($2, $3, '')) THEN $3 END))) AS queue_item_id;
