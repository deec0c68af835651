-- What goes when its time is over.

-- name: upload_expire :one
-- params: uuid
SELECT app.expire_upload($1) AS kept;

-- name: file_purge_due :one
-- params: uuid
SELECT sec.purge_file($1, true) AS gone;
