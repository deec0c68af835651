-- Downloads: what a file's bytes are and where.

-- name: download_get :one
-- params: uuid
SELECT f.filename, f.content_type, f.size_bytes, encode(f.sha256, 'hex') AS sha256, f.status, b.id AS blob_id,
		b.location = 's3' AS remote, f.deleted_at IS NOT NULL AS trashed
	FROM app.files AS f LEFT JOIN app.blobs AS b ON b.org_id = f.org_id AND b.id = f.blob_id
	WHERE f.org_id = app.org() AND f.id = $1;

-- name: thumbnail_get :one
-- params: uuid, int
SELECT b.id AS blob_id, b.location = 's3' AS remote, t.content_type
	FROM app.file_thumbnails AS t JOIN app.blobs AS b ON b.org_id = t.org_id AND b.id = t.blob_id
	WHERE t.org_id = app.org() AND t.file_id = $1 AND t.n = $2;
