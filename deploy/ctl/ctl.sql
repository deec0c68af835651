-- Statements of soloprintctl.

-- name: ctl_begin :exec
BEGIN;

-- name: ctl_commit :exec
COMMIT;

-- name: ctl_enter_org :one
-- params: text
SELECT sec.enter_org($1) AS org_id;

-- name: ctl_role :exec
SET ROLE soloprint_owner;

-- name: bootstrap_is_superuser :one
SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user;

-- name: bootstrap_create_database :one
-- params: text
SELECT pg_catalog.format('CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L', $1, 'UTF8', 'C',
	'C.UTF-8') AS statement
	WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1);

-- name: org_create :one
-- params: text, text
SELECT o.org_id, o.principal_id AS owner_id, $1 AS name, $2 AS slug FROM sec.create_org($1, $2) AS o;

-- name: org_list :many
SELECT org_id, slug, name, state, date_trunc('second', created_at) AS created_at FROM sec.list_orgs();

-- name: key_insert :one
-- params: text, text, text, bytea, text[], uuid[], cidr[], jsonb, interval
INSERT INTO app.api_keys (owner_id, kind, name, prefix, key_hash, capabilities, printer_ids, cidrs, rate_limits,
		expires_at)
	SELECT p.id, $1, $2, $3, $4, $5, $6, $7, $8, app.now() + $9 FROM app.principals AS p
	WHERE p.org_id = app.org() AND p.role = 'owner' ORDER BY p.created_at LIMIT 1
	RETURNING id, name, kind, prefix, to_jsonb(capabilities) AS capabilities, to_jsonb(printer_ids) AS printer_ids,
		to_jsonb(cidrs) AS cidrs, rate_limits, expires_at;

-- name: key_list :many
SELECT id, name, kind, prefix, CASE WHEN revoked_at IS NOT NULL THEN 'revoked' WHEN expires_at <= app.now() THEN 'expired'
		WHEN replaced_by IS NOT NULL THEN 'rotating' ELSE 'active' END AS status,
		to_jsonb(capabilities) AS capabilities, to_jsonb(printer_ids) AS printer_ids, to_jsonb(cidrs) AS cidrs,
		rate_limits, date_trunc('second', created_at) AS created_at, date_trunc('second', expires_at) AS expires_at,
		last_used_at
	FROM app.api_keys WHERE org_id = app.org() ORDER BY created_at, id;

-- name: key_revoke :one
-- params: uuid
UPDATE app.api_keys SET revoked_at = app.now() WHERE org_id = app.org() AND id = $1 AND revoked_at IS NULL RETURNING id, name;

-- name: key_for_rotation :one
-- params: uuid
SELECT kind FROM app.api_keys WHERE org_id = app.org() AND id = $1 AND revoked_at IS NULL
	AND (expires_at IS NULL OR expires_at > app.now()) FOR UPDATE;

-- name: key_insert_successor :one
-- params: uuid, text, bytea
INSERT INTO app.api_keys (owner_id, kind, name, prefix, key_hash, capabilities, printer_ids, cidrs, rate_limits, expires_at,
		rotated_from)
	SELECT k.owner_id, k.kind, k.name, $2, $3, k.capabilities, k.printer_ids, k.cidrs, k.rate_limits,
		app.now() + (k.expires_at - k.created_at), k.id
	FROM app.api_keys AS k WHERE k.org_id = app.org() AND k.id = $1
	RETURNING id, name, kind, prefix, to_jsonb(capabilities) AS capabilities, to_jsonb(printer_ids) AS printer_ids,
		to_jsonb(cidrs) AS cidrs, rate_limits, expires_at, rotated_from;

-- name: key_retire :exec
-- params: uuid, uuid, interval
UPDATE app.api_keys SET replaced_by = $2, expires_at = least(expires_at, app.now() + $3)
	WHERE org_id = app.org() AND id = $1;

-- name: doctor_server :one
SELECT current_setting('server_version_num')::int AS version, current_setting('fsync') AS fsync,
	current_setting('full_page_writes') AS full_page_writes, current_setting('synchronous_commit') AS synchronous_commit,
	pg_is_in_recovery() AS in_recovery;

-- name: doctor_connections :one
SELECT current_setting('max_connections')::int AS most, (SELECT count(*)::int FROM pg_catalog.pg_stat_activity) AS now;

-- name: doctor_roles :many
SELECT w.name, CASE
		WHEN r.rolname IS NULL THEN 'is missing'
		WHEN r.rolsuper THEN 'is a superuser'
		WHEN r.rolbypassrls THEN 'bypasses row level security'
		WHEN r.rolcreaterole OR r.rolcreatedb OR r.rolreplication THEN 'has rights over the cluster'
		WHEN r.rolcanlogin <> w.login THEN CASE WHEN w.login THEN 'cannot log in' ELSE 'can log in' END
		WHEN w.service AND NOT coalesce(r.rolconfig @> '{statement_timeout=5s}', false) THEN 'has no statement timeout'
		WHEN w.service AND pg_has_role(w.name, 'soloprint_owner', 'MEMBER') THEN 'is a member of soloprint_owner'
	END AS fault
	FROM (VALUES ('soloprint_owner', false, false), ('soloprint_migrator', true, false), ('soloprint_api', true, true),
		('soloprint_auth', true, true), ('soloprint_gateway', true, true), ('soloprint_courier', true, true))
		AS w (name, login, service)
	LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = w.name ORDER BY w.name;

-- name: doctor_changes :many
SELECT change FROM sqitch.changes WHERE project = 'soloprint';

-- name: doctor_policies :many
SELECT c.relname AS name FROM pg_catalog.pg_class AS c
	WHERE c.relnamespace = 'app'::regnamespace AND c.relkind = 'r' AND c.relname NOT IN ('provider_models', 'event_types')
	AND NOT (c.relrowsecurity AND c.relforcerowsecurity) ORDER BY c.relname;

-- name: doctor_gateways :one
SELECT alive, sessions, extract(epoch FROM now() - last_heartbeat_at)::int AS age_s FROM sec.gateway_health();

-- name: doctor_room :one
SELECT printers, room FROM sec.gateway_room();

-- name: doctor_couriers :one
SELECT alive, running, waiting, extract(epoch FROM now() - last_heartbeat_at)::int AS age_s FROM sec.courier_health();
