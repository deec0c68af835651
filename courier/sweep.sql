-- What the sweep asks, in no organisation.

-- name: sweep_clock :one
SELECT extract(epoch FROM app.now())::bigint AS now_s;

-- name: sweep_blobs :many
-- params: uuid[], text
SELECT s.id FROM sec.sweep_blobs($1, $2) AS s (id);

-- name: sweep_upload :one
-- params: uuid
SELECT EXISTS (SELECT FROM sec.upload_index AS i WHERE i.file_id = $1) AS open;
