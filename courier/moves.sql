-- Objects and where they are. What these functions do: schema/db/deploy/files.sql.

-- name: blob_get :one
-- params: uuid
SELECT b.location, encode(b.sha256, 'hex') AS sha256, b.size_bytes, app.now()::text AS seen_at FROM app.blobs AS b
	WHERE b.org_id = app.org() AND b.id = $1;

-- name: blob_moved :one
-- params: uuid, text, timestamptz
SELECT app.blob_moved($1, $2, $3) AS how;
