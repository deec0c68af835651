-- Cameras: who wants to look.

-- name: camera_request :one
-- params: uuid, int
SELECT c.trouble, c.message, c.channel FROM sec.request_camera($1, $2) AS c;

-- name: camera_state :one
-- params: uuid
SELECT c.trouble, c.message FROM sec.camera_state($1) AS c;

-- name: camera_stop :one
-- params: uuid
SELECT 'stop_requested' AS status, sec.stop_camera($1) AS _done;
