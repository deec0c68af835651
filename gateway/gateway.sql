-- Leases. Time is the database's, so that gateways need not agree on theirs.

-- name: gw_beat :exec
-- params: uuid, text, int4, int4
INSERT INTO sec.gateways AS g (id, name, started_at, heartbeat_at, sessions, room) VALUES ($1, $2, now(), now(), $3, $4)
	ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), sessions = excluded.sessions;

-- A gateway of our name that is known to be dead: what it held is free.
-- name: gw_inherit :exec
-- params: uuid, text
WITH dead AS (
	DELETE FROM sec.gateways AS g WHERE g.id <> $1 AND (g.name = $2 OR g.heartbeat_at < now() - '1 hour'::interval)
		RETURNING g.id, g.name
)
UPDATE sec.printer_index AS i SET gateway_id = NULL, expires_at = NULL
	FROM dead WHERE i.gateway_id = dead.id AND dead.name = $2;

-- name: gw_renew :many
-- params: uuid, interval
UPDATE sec.printer_index AS i SET expires_at = now() + $2 WHERE i.gateway_id = $1
	RETURNING i.printer_id, i.org_id, i.fencing, i.config_version,
		coalesce((extract(epoch FROM i.refresh_requested_at) * 1000)::bigint, 0) AS refresh_ms;

-- How many living gateways there are, and how many printers each should have that has room for them: those with little
-- room are filled, the rest is divided evenly.
-- name: gw_share :one
-- params: interval
WITH alive AS (
	SELECT g.room, count(*) OVER () - row_number() OVER w + 1 AS others,
			coalesce(sum(g.room) OVER (w ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS taken
		FROM sec.gateways AS g WHERE g.heartbeat_at > now() - $1 WINDOW w AS (ORDER BY g.room, g.id)
), level AS (
	SELECT a.room, a.others, ceil((p.n - a.taken) / a.others)::bigint AS n
		FROM alive AS a CROSS JOIN (SELECT count(*) AS n FROM sec.printer_index) AS p
)
SELECT (SELECT count(*) FROM alive) AS gateways,
	coalesce((SELECT v.n FROM level AS v WHERE v.n <= v.room ORDER BY v.others DESC LIMIT 1), (SELECT max(a.room) FROM alive AS a), 0) AS share;

-- Free printers first, then those of gateways that have not shown a heartbeat for the length of a lease (or are not known
-- any more). Nobody's printers are walked that are held by a living one: holders are found by stepping through the index.
-- name: gw_claim :many
-- params: uuid, interval, int4
WITH RECURSIVE holders (id) AS (
	(SELECT i.gateway_id FROM sec.printer_index AS i WHERE i.gateway_id > '00000000-0000-0000-0000-000000000000'
		ORDER BY i.gateway_id LIMIT 1)
	UNION ALL
	SELECT (SELECT i.gateway_id FROM sec.printer_index AS i WHERE i.gateway_id > h.id ORDER BY i.gateway_id LIMIT 1)
		FROM holders AS h WHERE h.id IS NOT NULL
), dead AS MATERIALIZED (
	SELECT h.id FROM holders AS h WHERE h.id IS NOT NULL
		AND NOT EXISTS (SELECT FROM sec.gateways AS g WHERE g.id = h.id AND g.heartbeat_at > now() - $2)
), free AS MATERIALIZED (
	SELECT i.printer_id FROM sec.printer_index AS i WHERE i.gateway_id IS NULL
		ORDER BY i.printer_id LIMIT $3 FOR UPDATE SKIP LOCKED
), left_behind AS MATERIALIZED (
	SELECT l.printer_id FROM dead CROSS JOIN LATERAL (SELECT i.printer_id FROM sec.printer_index AS i
		WHERE i.gateway_id = dead.id AND (i.expires_at IS NULL OR i.expires_at < now())
		LIMIT $3 FOR UPDATE SKIP LOCKED) AS l
), chosen AS (
	SELECT f.printer_id FROM free AS f UNION ALL SELECT l.printer_id FROM left_behind AS l LIMIT $3
)
UPDATE sec.printer_index AS i SET gateway_id = $1, fencing = i.fencing + 1, expires_at = now() + $2
	FROM chosen WHERE i.printer_id = chosen.printer_id
	RETURNING i.printer_id, i.org_id, i.fencing, i.config_version,
		coalesce((extract(epoch FROM i.refresh_requested_at) * 1000)::bigint, 0) AS refresh_ms;

-- name: gw_release :exec
-- params: uuid, uuid[]
UPDATE sec.printer_index AS i SET gateway_id = NULL, expires_at = NULL
	WHERE i.gateway_id = $1 AND i.printer_id = ANY ($2);

-- name: gw_release_all :exec
-- params: uuid
UPDATE sec.printer_index AS i SET gateway_id = NULL, expires_at = NULL WHERE i.gateway_id = $1;

-- name: gw_leave :exec
-- params: uuid
DELETE FROM sec.gateways AS g WHERE g.id = $1 OR g.heartbeat_at < now() - '1 hour'::interval;

-- Work and results, one organisation at a time.

-- name: gw_org :one
-- params: text, text
SELECT set_config('app.org_id', $1, true), set_config('synchronous_commit', $2, true);

-- name: gw_load :many
-- params: uuid, uuid[]
SELECT p.id, p.name, p.protocol, p.model, p.host, p.port, p.serial, encode(p.secret_sealed, 'hex') AS secret,
		p.enabled::int AS enabled, p.version, s.state, s.told_state, s.connection ->> 'state' AS connection,
		s.connection ->> 'reason' AS reason,
		coalesce((extract(epoch FROM (s.connection ->> 'since')::timestamptz) * 1000)::bigint, 0) AS since_ms,
		s.job ->> 'outcome' AS outcome, coalesce((s.job ->> 'progress')::numeric::int, 0) AS progress,
		coalesce((extract(epoch FROM (s.job ->> 'started_at')::timestamptz) * 1000)::bigint, 0) AS started_ms,
		(SELECT string_agg(e.v ->> 'code', ' ') FROM jsonb_array_elements(s.errors) AS e (v)) AS errors,
		s.print_id, x.name AS print_name,
		coalesce((extract(epoch FROM x.started_at) * 1000)::bigint, 0) AS print_started_ms
	FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
		LEFT JOIN app.prints AS x ON x.org_id = s.org_id AND x.id = s.print_id
	WHERE p.org_id = $1 AND p.id = ANY ($2) AND p.deleted_at IS NULL;

-- Rows are written only where this gateway still holds the lease under the same fencing token; the lock keeps it so
-- until the commit. `mask` says which columns a row brings (enum record_section). Returns what was written.
-- name: gw_write :many
-- params: uuid, uuid, jsonb
WITH u AS MATERIALIZED (
	SELECT r.* FROM jsonb_to_recordset($3) AS r (id uuid, fencing bigint, mask int, seen bigint, state text,
		connection jsonb, job jsonb, temperatures jsonb, fans jsonb, speed jsonb, lights jsonb, ams jsonb,
		errors jsonb, wifi jsonb, firmware jsonb, extra jsonb, link jsonb, print uuid, prints jsonb, events jsonb)
), own AS MATERIALIZED (
	SELECT i.printer_id FROM sec.printer_index AS i JOIN u ON i.printer_id = u.id AND i.fencing = u.fencing
		WHERE i.gateway_id = $2 AND i.org_id = $1
		FOR SHARE OF i
), written AS (
	UPDATE app.printer_status AS s SET
			state = CASE WHEN u.mask & 1 <> 0 THEN u.state ELSE s.state END,
			connection = CASE WHEN u.mask & 2 <> 0 THEN u.connection ELSE s.connection END,
			job = CASE WHEN u.mask & 4 <> 0 THEN u.job ELSE s.job END,
			temperatures = CASE WHEN u.mask & 8 <> 0 THEN u.temperatures ELSE s.temperatures END,
			fans = CASE WHEN u.mask & 16 <> 0 THEN u.fans ELSE s.fans END,
			speed = CASE WHEN u.mask & 32 <> 0 THEN u.speed ELSE s.speed END,
			lights = CASE WHEN u.mask & 64 <> 0 THEN u.lights ELSE s.lights END,
			ams = CASE WHEN u.mask & 128 <> 0 THEN u.ams ELSE s.ams END,
			errors = CASE WHEN u.mask & 256 <> 0 THEN u.errors ELSE s.errors END,
			wifi = CASE WHEN u.mask & 512 <> 0 THEN u.wifi ELSE s.wifi END,
			firmware = CASE WHEN u.mask & 1024 <> 0 THEN u.firmware ELSE s.firmware END,
			extra = CASE WHEN u.mask & 2048 <> 0 THEN u.extra ELSE s.extra END,
			link = CASE WHEN u.mask & 8192 <> 0 THEN u.link ELSE s.link END,
			print_id = CASE WHEN u.mask & 16384 <> 0 THEN u.print ELSE s.print_id END,
			told_state = coalesce((SELECT e.v -> 'data' ->> 'to' FROM jsonb_array_elements(u.events) WITH ORDINALITY AS e (v, n)
				WHERE e.v ->> 'type' = 'printer.state_changed' ORDER BY e.n DESC LIMIT 1), s.told_state),
			last_seen_at = coalesce(to_timestamp(u.seen / 1000.0), s.last_seen_at),
			updated_at = app.now(), version = s.version + 1
		FROM u JOIN own ON own.printer_id = u.id
		WHERE s.org_id = $1 AND s.printer_id = u.id
		RETURNING s.printer_id
), told AS (
	INSERT INTO app.outbox (org_id, id, type, capability, data, resource_type, resource_id)
		SELECT $1, (e.v ->> 'id')::uuid, e.v ->> 'type', 'operations.read', e.v -> 'data', 'printer', u.id
			FROM u JOIN own ON own.printer_id = u.id
			CROSS JOIN LATERAL jsonb_array_elements(u.events) WITH ORDINALITY AS e (v, n)
			ORDER BY u.id, e.n
		ON CONFLICT DO NOTHING
), printed AS (
	INSERT INTO app.prints AS x (org_id, id, printer_id, state, source, name, filename, file_id, operation_id, progress,
			started_at, ended_at)
		SELECT $1, p.id, u.id, p.state, CASE WHEN p.operation IS NULL THEN 'printer' ELSE 'send' END, p.name, p.filename,
				p.file, p.operation, p.progress, to_timestamp(p.started / 1000.0), to_timestamp(p.ended / 1000.0)
			FROM u JOIN own ON own.printer_id = u.id
			CROSS JOIN LATERAL jsonb_to_recordset(u.prints) AS p (id uuid, state text, operation uuid, file uuid,
				name text, filename text, progress real, started bigint, ended bigint)
			WHERE u.mask & 16384 <> 0
		ON CONFLICT (org_id, id) DO UPDATE SET state = excluded.state, name = coalesce(excluded.name, x.name),
			filename = coalesce(excluded.filename, x.filename), progress = coalesce(excluded.progress, x.progress),
			ended_at = excluded.ended_at, updated_at = app.now()
			WHERE x.state = 'running'
)
SELECT own.printer_id FROM own;

-- Cameras.

-- name: gw_cameras :many
-- params: uuid[]
SELECT c.printer_id, c.id, c.fps, (extract(epoch FROM c.ends_at - app.now()) * 1000)::bigint AS left_ms
	FROM sec.camera_channels AS c
	WHERE c.printer_id = ANY ($1) AND c.ends_at > app.now() - '1 min'::interval
	ORDER BY c.printer_id, c.id DESC;

-- name: gw_camera_news :exec
-- params: uuid, jsonb
INSERT INTO sec.printer_cameras AS c (printer_id, source, trouble, message, trouble_at)
	SELECT u.id, u.source, u.trouble, u.message, CASE WHEN u.trouble IS NOT NULL THEN app.now() END
		FROM jsonb_to_recordset($2) AS u (id uuid, source text, trouble text, message text)
		JOIN sec.printer_index AS i ON i.printer_id = u.id
		WHERE i.gateway_id = $1
	ON CONFLICT (printer_id) DO UPDATE SET source = coalesce(excluded.source, c.source), trouble = excluded.trouble,
		message = excluded.message, trouble_at = excluded.trouble_at;
