-- Files by name, for slicers.

-- name: octoprint_file :one
-- params: text
SELECT f.id AS file_id, f.filename, f.kind, f.size_bytes, extract(epoch FROM f.uploaded_at)::bigint AS date,
		encode(f.sha256, 'hex') AS sha256
	FROM app.files AS f
	WHERE f.org_id = app.org() AND f.filename = $1 AND f.deleted_at IS NULL AND f.blob_id IS NOT NULL
	ORDER BY f.created_at DESC, f.id DESC LIMIT 1;
