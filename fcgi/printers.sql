-- Printers. A row is what app.printer_rows says it is.

-- fragment: printers_filtered
	FROM app.printer_rows AS v
	WHERE v._org_id = app.org()
		AND ($1 IS NULL OR v.name ILIKE $1 OR v.model ILIKE $1 OR v.serial ILIKE $1 OR v.location ILIKE $1)
		AND ($2 IS NULL OR v._state = ANY ($2))
		AND ($3 IS NULL OR v._tags @> $3)
		AND ($4 IS NULL OR EXISTS (SELECT FROM app.printer_group_members AS m
			WHERE m.org_id = app.org() AND m.printer_id = v.id AND m.group_id = ANY ($4)))
		AND ($5 IS NULL OR v.model = $5)
-- end

-- name: printers :page
-- params: text, text[], text[], uuid[], text
-- orders: name v.name, created_at v.created_at timestamptz, updated_at v.updated_at timestamptz
SELECT {key} AS _key, v.*
-- include: printers_filtered
		AND {after}
	ORDER BY {order} LIMIT {limit} OFFSET {offset};

-- name: printers_total :one
-- params: text, text[], text[], uuid[], text
SELECT count(*) AS total
-- include: printers_filtered
;

-- name: printer_get :one
-- params: uuid
SELECT v.* FROM app.printer_rows AS v WHERE v._org_id = app.org() AND v.id = $1;

-- name: printer_insert :one
-- params: uuid, jsonb, bytea
INSERT INTO app.printers (id, name, protocol, model, host, port, serial, secret_sealed, bed_volume, nozzles, enclosure,
		max_temperatures, gcode_allowlist, location, notes, tags, enabled, drain, maintenance, auto_dispatch)
	SELECT $1, b.name, b.protocol, b.model, b.host, b.port, b.serial, $3, nullif(b.bed_volume, 'null'),
		coalesce(b.nozzles, '[]'), b.enclosure, nullif(b.max_temperatures, 'null'), b.gcode_allowlist, b.location, b.notes,
		coalesce(b.tags, '{}'), coalesce(b.enabled, true), coalesce(b.drain, false), coalesce(b.maintenance, false),
		coalesce(b.auto_dispatch, true)
	FROM jsonb_to_record($2) AS b (name text, protocol text, model text, host text, port int, serial text,
		bed_volume jsonb, nozzles jsonb, enclosure boolean, max_temperatures jsonb, gcode_allowlist text[], location text, notes text,
		tags text[], enabled boolean, drain boolean, maintenance boolean, auto_dispatch boolean)
	RETURNING id;

-- name: printer_update :one
-- params: uuid, jsonb, int[]
UPDATE app.printers AS p SET
		name = CASE WHEN $2 ? 'name' THEN b.name ELSE p.name END,
		protocol = CASE WHEN $2 ? 'protocol' THEN b.protocol ELSE p.protocol END,
		model = CASE WHEN $2 ? 'model' THEN b.model ELSE p.model END,
		host = CASE WHEN $2 ? 'host' THEN b.host ELSE p.host END,
		port = CASE WHEN $2 ? 'port' THEN b.port ELSE p.port END,
		serial = CASE WHEN $2 ? 'serial' THEN b.serial ELSE p.serial END,
		bed_volume = CASE WHEN $2 ? 'bed_volume' THEN nullif(b.bed_volume, 'null') ELSE p.bed_volume END,
		nozzles = CASE WHEN $2 ? 'nozzles' THEN b.nozzles ELSE p.nozzles END,
		enclosure = CASE WHEN $2 ? 'enclosure' THEN b.enclosure ELSE p.enclosure END,
		max_temperatures = CASE WHEN $2 ? 'max_temperatures' THEN nullif(b.max_temperatures, 'null')
			ELSE p.max_temperatures END,
		gcode_allowlist = CASE WHEN $2 ? 'gcode_allowlist' THEN b.gcode_allowlist ELSE p.gcode_allowlist END,
		location = CASE WHEN $2 ? 'location' THEN b.location ELSE p.location END,
		notes = CASE WHEN $2 ? 'notes' THEN b.notes ELSE p.notes END,
		tags = CASE WHEN $2 ? 'tags' THEN b.tags ELSE p.tags END,
		enabled = CASE WHEN $2 ? 'enabled' THEN b.enabled ELSE p.enabled END,
		drain = CASE WHEN $2 ? 'drain' THEN b.drain ELSE p.drain END,
		maintenance = CASE WHEN $2 ? 'maintenance' THEN b.maintenance ELSE p.maintenance END,
		auto_dispatch = CASE WHEN $2 ? 'auto_dispatch' THEN b.auto_dispatch ELSE p.auto_dispatch END
	FROM jsonb_to_record($2) AS b (name text, protocol text, model text, host text, port int, serial text,
			bed_volume jsonb, nozzles jsonb, enclosure boolean, max_temperatures jsonb, gcode_allowlist text[], location text, notes text,
			tags text[], enabled boolean, drain boolean, maintenance boolean, auto_dispatch boolean),
		(SELECT x.id, app.check_version(x.version, $3) AS current FROM app.printers AS x
			WHERE x.org_id = app.org() AND x.id = $1 AND x.deleted_at IS NULL FOR NO KEY UPDATE) AS t
	WHERE p.org_id = app.org() AND p.id = t.id AND t.current
	RETURNING p.id;

-- name: printer_set_secret :one
-- params: uuid, bytea
UPDATE app.printers SET secret_sealed = $2 WHERE org_id = app.org() AND id = $1 AND deleted_at IS NULL RETURNING id;

-- name: printer_delete :one
-- params: uuid, int[]
UPDATE app.printers AS p SET deleted_at = app.now()
	FROM (SELECT x.id, app.check_version(x.version, $2) AS current FROM app.printers AS x
		WHERE x.org_id = app.org() AND x.id = $1 AND x.deleted_at IS NULL FOR NO KEY UPDATE) AS t
	WHERE p.org_id = app.org() AND p.id = t.id AND t.current
	RETURNING p.id;

-- name: printer_groups_clear :many
-- params: uuid, uuid[]
DELETE FROM app.printer_group_members
	WHERE org_id = app.org() AND printer_id = $1 AND group_id <> ALL ($2) RETURNING group_id;

-- name: printer_groups_join :many
-- params: uuid, uuid[]
INSERT INTO app.printer_group_members (org_id, group_id, printer_id)
	SELECT app.org(), g, $1 FROM unnest($2) AS g
	WHERE EXISTS (SELECT FROM app.printers AS p WHERE p.org_id = app.org() AND p.id = $1)
	ON CONFLICT DO NOTHING RETURNING group_id;

-- name: printer_status_get :one
-- params: uuid
SELECT s.printer_id, s.state, s.connection, s.job, s.temperatures, s.fans, s.speed, coalesce(s.lights, '[]') AS lights,
		s.ams, s.errors, s.wifi, s.firmware, s.last_seen_at, s.updated_at,
		app.status_stale(s.connection, s.last_seen_at) AS stale, s.version,
		'"c' || p.version || '.s' || s.version || '"' AS _etag
	FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
	WHERE p.org_id = app.org() AND p.id = $1 AND p.deleted_at IS NULL;

-- name: printer_refresh :one
-- params: uuid
SELECT 'refresh_requested' AS status, sec.request_refresh($1) AS _done;
