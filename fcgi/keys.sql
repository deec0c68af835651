-- API keys. The key itself is never in the database; its SHA-256 goes in and never comes out.

-- fragment: key_columns
	k.id, k.name, k.prefix, k.kind, to_jsonb(k.capabilities) AS capabilities, to_jsonb(k.printer_ids) AS printer_ids,
		to_jsonb(k.cidrs) AS cidrs, k.rate_limits,
		jsonb_build_object('principal_id', k.owner_id, 'name', (SELECT p.display_name FROM app.principals AS p
			WHERE p.org_id = k.org_id AND p.id = k.owner_id)) AS owner,
		k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.rotated_from, k.replaced_by, s.status,
		'"' || k.version || '"' AS _etag
	FROM app.api_keys AS k, LATERAL (SELECT CASE WHEN k.revoked_at IS NOT NULL THEN 'revoked'
		WHEN k.expires_at <= app.now() THEN 'expired' WHEN k.replaced_by IS NOT NULL THEN 'rotating'
		ELSE 'active' END AS status) AS s
	WHERE k.org_id = app.org()
-- end

-- name: keys :page
-- params: text[]
-- orders: created_at k.created_at timestamptz, name k.name
SELECT {key} AS _key,
-- include: key_columns
		AND ($1 IS NULL OR s.status = ANY ($1))
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: keys_total :one
-- params: text[]
SELECT count(*) AS total FROM (SELECT
-- include: key_columns
		AND ($1 IS NULL OR s.status = ANY ($1))) AS found;

-- name: key_get :one
-- params: uuid
SELECT
-- include: key_columns
		AND k.id = $1;

-- name: printers_must_exist :many
-- params: uuid[]
SELECT app.raise('SLP25', 'no such printer') AS _raised FROM unnest($1) AS x
	WHERE NOT EXISTS (SELECT FROM app.printers AS p
		WHERE p.org_id = app.org() AND p.id = x AND p.deleted_at IS NULL);

-- name: expiry_must_come :many
-- params: timestamptz
SELECT app.raise('SLP26', 'expires_at has passed') AS _raised WHERE $1 <= app.now();

-- name: key_insert :one
-- params: uuid, text, bytea, jsonb
INSERT INTO app.api_keys (id, kind, name, prefix, key_hash, capabilities, printer_ids, cidrs, rate_limits, expires_at)
	SELECT $1, coalesce(b.kind, 'live'), b.name, $2, $3, b.capabilities, b.printer_ids,
		(SELECT array_agg(network(c::inet)) FROM unnest(b.cidrs) AS c),
		jsonb_strip_nulls(nullif(b.rate_limits, 'null')), b.expires_at
	FROM jsonb_to_record($4) AS b (kind text, name text, capabilities text[], printer_ids uuid[], cidrs text[],
		rate_limits jsonb, expires_at timestamptz)
	RETURNING id;

-- name: key_update :one
-- params: uuid, jsonb, int[]
UPDATE app.api_keys AS k SET
		name = CASE WHEN $2 ? 'name' THEN b.name ELSE k.name END,
		capabilities = CASE WHEN $2 ? 'capabilities' THEN b.capabilities ELSE k.capabilities END,
		printer_ids = CASE WHEN $2 ? 'printer_ids' THEN b.printer_ids ELSE k.printer_ids END,
		cidrs = CASE WHEN $2 ? 'cidrs' THEN (SELECT array_agg(network(c::inet)) FROM unnest(b.cidrs) AS c)
			ELSE k.cidrs END,
		rate_limits = CASE WHEN $2 ? 'rate_limits' THEN jsonb_strip_nulls(nullif(b.rate_limits, 'null'))
			ELSE k.rate_limits END,
		expires_at = CASE WHEN $2 ? 'expires_at' THEN b.expires_at ELSE k.expires_at END
	FROM jsonb_to_record($2) AS b (name text, capabilities text[], printer_ids uuid[], cidrs text[], rate_limits jsonb,
			expires_at timestamptz),
		(SELECT x.id, app.check_version(x.version, $3) AND (x.revoked_at IS NULL
				OR app.raise('SLP22', 'the key is revoked')) AS current
			FROM app.api_keys AS x WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE k.org_id = app.org() AND k.id = t.id AND t.current
	RETURNING k.id;

-- name: key_revoke :one
-- params: uuid, int[]
UPDATE app.api_keys AS k SET revoked_at = app.now()
	FROM (SELECT x.id, app.check_version(x.version, $2) AND (x.revoked_at IS NULL
				OR app.raise('SLP22', 'the key is revoked')) AS current
			FROM app.api_keys AS x WHERE x.org_id = app.org() AND x.id = $1 FOR UPDATE) AS t
	WHERE k.org_id = app.org() AND k.id = t.id AND t.current
	RETURNING k.id;

-- name: key_rotate_insert :one
-- params: uuid, uuid, text, bytea, text, bytea
INSERT INTO app.api_keys (id, kind, name, prefix, key_hash, capabilities, printer_ids, cidrs, rate_limits, expires_at,
		rotated_from)
	SELECT $2, x.kind, x.name, CASE x.kind WHEN 'dev' THEN $5 ELSE $3 END, CASE x.kind WHEN 'dev' THEN $6 ELSE $4 END,
		x.capabilities, x.printer_ids, x.cidrs, x.rate_limits,
		app.now() + (x.expires_at - x.created_at), x.id
	FROM app.api_keys AS x
	WHERE x.org_id = app.org() AND x.id = $1
		AND (x.revoked_at IS NULL OR app.raise('SLP22', 'the key is revoked'))
		AND (x.replaced_by IS NULL OR app.raise('SLP23', 'the key is rotated already'))
	FOR UPDATE
	RETURNING kind;

-- name: key_rotate_retire :one
-- params: uuid, uuid, int8
UPDATE app.api_keys AS k SET replaced_by = $2,
		expires_at = least(k.expires_at, app.now() + $3 * '1 second'::interval)
	WHERE k.org_id = app.org() AND k.id = $1 RETURNING k.id;

-- name: key_usage :many
-- params: uuid
SELECT u.operation, u.count, u.first_at, u.last_at FROM app.api_key_usage AS u
	WHERE u.org_id = app.org() AND u.key_id = $1 ORDER BY u.operation;
