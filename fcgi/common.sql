-- What every request needs.

-- name: begin_request :one
-- params: bytea, text, text, inet, text
SELECT * FROM sec.begin_request($1, $2, $3, $4, $5);

-- name: idem_claim :one
-- params: text, text, bytea
SELECT app.idem_claim($1, $2, $3);

-- name: idem_store :one
-- params: text, text, int, jsonb, bytea, bool
SELECT app.idem_store($1, $2, $3, $4, $5, $6);

-- name: idem_fetch :one
-- params: text, text
SELECT status, headers, encode(body, 'hex') AS body_hex, sealed FROM app.idem_fetch($1, $2);

-- name: usage_add :one
-- params: uuid, uuid, text, int8, inet
SELECT app.key_used($1, $2, $3, $4, $5);

-- name: signed_enter :one
-- params: uuid, inet, text
SELECT app.enter_signed($1, $2, $3);

-- name: stream_enter :one
-- params: uuid, uuid, inet, text
SELECT sec.stream_enter($1, $2, $3, $4);
