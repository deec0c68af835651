-- What stored files say of themselves.

-- The file, which is being analysed from now on; none when there is nothing (more) to find out.
-- name: analyze_begin :one
-- params: uuid
WITH begun AS (
	UPDATE app.files AS f SET status = 'analyzing' WHERE f.org_id = app.org() AND f.id = $1 AND f.status = 'uploaded'
)
SELECT f.filename, f.size_bytes, b.id AS blob_id, b.location
	FROM app.files AS f JOIN app.blobs AS b ON b.org_id = f.org_id AND b.id = f.blob_id
	WHERE f.org_id = app.org() AND f.id = $1 AND f.status IN ('uploaded', 'analyzing');

-- name: analyze_store :one
-- params: uuid, jsonb, bool
SELECT array_to_string(app.store_scan($1, $2, $3), ',') AS spare;

-- The file is as usable as any that cannot be read.
-- name: analyze_give_up :many
-- params: uuid
SELECT app.store_scan(f.id, jsonb_build_object('kind', f.kind, 'metadata', NULL, 'keys', '[]'::jsonb, 'thumbnails', '[]'::jsonb,
		'analysis', '{"state": "unparsable", "reason": {"code": "unavailable", "message": "The file could not be read."}}'::jsonb),
		false) AS done
	FROM app.files AS f WHERE f.org_id = app.org() AND f.id = $1;
