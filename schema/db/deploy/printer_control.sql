-- Deploy soloprint:printer_control to pg
-- requires: printer_tasks
-- What is refused of commands and sends before a gateway hears of them: lines of G-code that the printer's owner has not
-- allowed, temperatures above the printer's own, files that it cannot print. And what is said of connections that do not work.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- The commands that lines of G-code may be sent with, in any letter case. NULL: every one; empty: none.
ALTER TABLE app.printers ADD COLUMN gcode_allowlist text[] CHECK (cardinality(gcode_allowlist) <= 256);
GRANT SELECT (gcode_allowlist), INSERT (gcode_allowlist), UPDATE (gcode_allowlist) ON app.printers TO soloprint_api;

CREATE OR REPLACE VIEW app.printer_rows WITH (security_invoker = true) AS
	SELECT p.org_id AS _org_id, p.id, p.name, p.protocol, p.model, p.host, p.port, p.serial, p.has_secret, p.bed_volume,
		p.nozzles, p.enclosure, p.max_temperatures, p.location, p.notes, to_jsonb(p.tags) AS tags, p.tags AS _tags,
		p.groups, p.enabled, p.drain, p.maintenance, p.features AS capabilities, s.material_context,
		s.state AS "status.state", s.connection ->> 'state' AS "status.connection_state",
		s.job -> 'progress' AS "status.progress", s.job -> 'remaining_s' AS "status.remaining_s",
		s.job ->> 'file' AS "status.file", s.last_seen_at AS "status.last_seen_at",
		app.status_stale(s.connection, s.last_seen_at) AS "status.stale",
		s.state AS _state, p.version, p.created_at, p.updated_at,
		'"c' || p.version || '.s' || s.version || '"' AS _etag, to_jsonb(p.gcode_allowlist) AS gcode_allowlist
	FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
	WHERE p.deleted_at IS NULL;

-- What a printer's own settings forbid of a command, by members of its body. words: [{line, word}], the commands of its
-- lines of G-code. Nothing for a printer that is not there.
CREATE FUNCTION app.command_faults(printer uuid, command jsonb, words jsonb)
	RETURNS TABLE (pointer text, code text, message text)
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		SELECT '/lines/' || (w ->> 'line'), 'gcode_not_allowed', (w ->> 'word') || ' is not in the printer''s gcode_allowlist'
			FROM app.printers AS p, jsonb_array_elements(words) AS w
			WHERE p.org_id = app.org() AND p.id = printer AND p.deleted_at IS NULL AND p.gcode_allowlist IS NOT NULL
				AND NOT EXISTS (SELECT FROM unnest(p.gcode_allowlist) AS a WHERE upper(a) = upper(w ->> 'word'))
		UNION ALL SELECT '/' || t.name, 'too_large', 'this printer takes at most ' || (p.max_temperatures ->> t.name)
			FROM app.printers AS p, (VALUES ('nozzle_c'), ('bed_c'), ('chamber_c')) AS t (name)
			WHERE p.org_id = app.org() AND p.id = printer AND p.deleted_at IS NULL
				AND (command ->> t.name)::numeric > (p.max_temperatures ->> t.name)::numeric;
	END;

-- One command for many printers: what is wrong with one does not hold up the others. n counts them as they were given.
-- Locks are taken in the order of their ids, as everywhere.
CREATE FUNCTION app.command_many(printers uuid[], command jsonb, words jsonb, patience interval, urgent boolean)
	RETURNS TABLE (n bigint, printer_id uuid, operation_id uuid, failure text, faults jsonb)
	LANGUAGE plpgsql
	AS $$
BEGIN
	FOR n, printer_id IN SELECT u.n, u.id FROM unnest(printers) WITH ORDINALITY AS u (id, n) ORDER BY u.id LOOP
		operation_id := NULL;
		failure := NULL;
		faults := (SELECT jsonb_agg(to_jsonb(f)) FROM app.command_faults(command_many.printer_id, command, words) AS f);
		IF faults IS NULL THEN
			BEGIN
				operation_id := sec.task_create(command_many.printer_id, 'printer.command', command, patience, urgent);
			EXCEPTION WHEN SQLSTATE 'SLP10' OR SQLSTATE 'SLP20' OR SQLSTATE 'SLP50' OR SQLSTATE 'SLP51' OR SQLSTATE 'SLP52' THEN
				failure := SQLSTATE;
			END;
		END IF;
		RETURN NEXT;
	END LOOP;
END
$$;

CREATE FUNCTION app.prints_kind(protocol text, kind text) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (protocol, kind) IN (('bambu', 'gcode_3mf'), ('bambu', 'gcode'), ('moonraker', 'gcode'), ('octoprint', 'gcode'),
		('prusalink', 'gcode'), ('prusalink', 'bgcode'));

-- The same for a send, as the contract has it. Raises SLP25 no such file, SLP41 it is not ready, SLP53 not of a kind that
-- the printer takes.
CREATE FUNCTION app.send_faults(printer uuid, send jsonb) RETURNS TABLE (pointer text, code text, message text)
	LANGUAGE plpgsql STABLE
	AS $$
DECLARE
	p record;
	f record;
	plate int := (send ->> 'plate')::int;
	plates jsonb;
BEGIN
	SELECT x.protocol, x.features INTO p FROM app.printers AS x
		WHERE x.org_id = app.org() AND x.id = printer AND x.deleted_at IS NULL;
	IF NOT FOUND THEN
		RETURN;
	END IF;
	SELECT x.kind, x.status, x.metadata INTO f FROM app.files AS x
		WHERE x.org_id = app.org() AND x.id = (send ->> 'file_id')::uuid AND x.deleted_at IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP25', MESSAGE = 'no such file';
	ELSIF NOT app.prints_kind(p.protocol, f.kind) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP53', MESSAGE = 'the printer takes no such files';
	ELSIF f.status <> 'ready' THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP41', MESSAGE = 'the file is not ready';
	END IF;
	plates := CASE jsonb_typeof(f.metadata -> 'plates') WHEN 'array' THEN f.metadata -> 'plates' ELSE '[{"index": 1}]' END;
	IF plate IS NOT NULL AND NOT plates @> jsonb_build_array(jsonb_build_object('index', plate)) THEN
		RETURN QUERY VALUES ('/plate', 'unknown_plate', 'the file has no such plate');
	END IF;
	IF send ? 'slot_mapping' AND (p.features -> 'ams' = 'true') IS NOT TRUE THEN
		RETURN QUERY VALUES ('/slot_mapping', 'not_supported', 'this printer has no slots that can be told apart');
	END IF;
END
$$;

-- What to do about a reason of a connection's state, in plain words: every reason that gateway/status.h has.
CREATE FUNCTION app.connection_remedy(reason text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	BEGIN ATOMIC
		SELECT r.remedy FROM (VALUES
			('wrong_access_code', 'Read the access code, API key or password at the printer again and put it into `secret`; Bambu printers make a new code whenever LAN mode is switched.'),
			('wrong_serial', 'Compare `serial` with the one that the printer shows, and `host` with its address: another printer answers there.'),
			('certificate_mismatch', 'Check that `host` is this printer''s address and that nothing between answers in its place; printers whose maker''s certificate is not known need it in the gateway''s list.'),
			('developer_mode_off', 'Switch on LAN mode and then Developer Mode on the printer''s screen; until then it reports but takes no commands.'),
			('unreachable', 'Check that the printer is on, that `host` and `port` are right, and that the gateway''s network reaches them.'),
			('no_reports', 'Restart the printer; Bambu printers also need `serial` to be exactly theirs, letters included.'),
			('connection_lost', 'It is tried again by itself; when it comes back often, look at the printer''s network.'),
			('disabled', 'Set `enabled` to true.'),
			('no_gateway', 'Start soloprint-gateway, or another one when there are more printers than it has room for; soloprintctl doctor tells.'),
			('no_secret', 'Fill in `host`, `serial` and `secret` as far as the protocol needs them; after a change of the gateway''s key give the secret again.'),
			('protocol_not_supported', 'Update the gateway: it is older than this protocol.'),
			('starting', 'Wait: the printer''s server has just been started and is asked again by itself.'),
			('printer_not_connected', 'Switch the printer on, check the cable to its server, and connect it there.')
		) AS r (reason, remedy) WHERE r.reason = connection_remedy.reason;
	END;

-- What is looked at when a printer is diagnosed: [{code, ok, message, remedy}]; ok NULL: it cannot be told.
CREATE FUNCTION app.printer_checks(printer uuid) RETURNS jsonb
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		SELECT jsonb_agg(jsonb_build_object('code', c.code, 'ok', c.ok, 'message', CASE WHEN c.ok THEN c.good
				WHEN NOT c.ok THEN c.bad ELSE 'This cannot be told now.' END, 'remedy', CASE WHEN NOT c.ok THEN c.remedy END)
				ORDER BY c.n)
		FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id,
		LATERAL (SELECT coalesce(s.connection ->> 'reason', '') AS reason, s.connection ->> 'state' = 'connected' AS up,
			coalesce(s.connection ->> 'reason' IN ('wrong_access_code', 'wrong_serial', 'certificate_mismatch',
				'developer_mode_off', 'no_reports', 'starting', 'printer_not_connected'), false) AS answered,
			app.connection_remedy(s.connection ->> 'reason') AS remedy,
			array_remove(ARRAY[CASE WHEN p.host IS NULL THEN 'host' END,
				CASE WHEN p.serial IS NULL AND p.protocol = 'bambu' THEN 'serial' END,
				CASE WHEN NOT p.has_secret AND p.protocol <> 'moonraker' THEN 'secret' END], NULL) AS missing) AS n,
		LATERAL (VALUES
			(1, 'enabled', p.enabled, 'The gateway may connect to it.', 'It is switched off in its settings.', 'Set `enabled` to true.'),
			(2, 'gateway', CASE WHEN p.enabled THEN n.reason <> 'no_gateway' OR n.up END, 'A gateway has taken it up.',
				'No gateway has taken it up.', n.remedy),
			(3, 'protocol', CASE WHEN n.up OR n.answered THEN true WHEN n.reason = 'protocol_not_supported' THEN false END,
				'The gateway speaks its protocol.', 'The gateway does not speak its protocol.', n.remedy),
			(4, 'settings', cardinality(n.missing) = 0 AND n.reason <> 'no_secret', 'Address and credentials are there.',
				CASE cardinality(n.missing) WHEN 0 THEN 'The secret cannot be opened by this gateway.'
					ELSE 'Missing: ' || array_to_string(n.missing, ', ') || '.' END,
				CASE cardinality(n.missing) WHEN 0 THEN n.remedy ELSE 'Set ' || array_to_string(n.missing, ', ') || '.' END),
			(5, 'reachable', CASE WHEN n.up OR n.answered THEN true WHEN n.reason IN ('unreachable', 'connection_lost') THEN false END,
				'Something answers at its address.', 'Nothing answers at its address.', n.remedy),
			(6, 'credential', CASE WHEN n.reason = 'wrong_access_code' THEN false WHEN n.up THEN true END, 'It takes the secret.',
				'It refuses the secret.', n.remedy),
			(7, 'identity', CASE WHEN n.reason IN ('wrong_serial', 'certificate_mismatch') THEN false WHEN n.up THEN true END,
				'It is the printer that it should be.', 'Something else answers in its place.', n.remedy),
			(8, 'mode', CASE WHEN n.reason = 'developer_mode_off' THEN false WHEN n.up THEN true END, 'It takes commands.',
				'It reports, but takes no commands.', n.remedy),
			(9, 'printer_behind_server', CASE WHEN n.reason IN ('starting', 'printer_not_connected') THEN false WHEN n.up THEN true END,
				'The printer itself is connected.', 'Its server answers, but the printer itself does not.', n.remedy),
			(10, 'reports', CASE WHEN n.up THEN NOT app.status_stale(s.connection, s.last_seen_at)
				WHEN n.reason = 'no_reports' THEN false END, 'It reports.', 'It sends no reports.',
				coalesce(n.remedy, app.connection_remedy('no_reports'))),
			(11, 'no_errors', CASE WHEN n.up THEN s.errors = '[]' END, 'It shows no error.', 'It shows errors.',
				'Look at `errors`; what they mean is at their addresses in the status.')
		) AS c (n, code, ok, good, bad, remedy)
		WHERE p.org_id = app.org() AND p.id = printer AND p.deleted_at IS NULL;
	END;

-- The plate that is meant when none is named: the first.
CREATE FUNCTION app.first_plate(file uuid) RETURNS int
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		SELECT coalesce((SELECT min((x ->> 'index')::int) FROM app.files AS f, jsonb_array_elements(f.metadata -> 'plates') AS x
			WHERE f.org_id = app.org() AND f.id = file AND jsonb_typeof(f.metadata -> 'plates') = 'array'), 1);
	END;

GRANT EXECUTE ON FUNCTION app.command_faults(uuid, jsonb, jsonb), app.command_many(uuid[], jsonb, jsonb, interval, boolean),
	app.prints_kind(text, text), app.send_faults(uuid, jsonb), app.first_plate(uuid),
	app.connection_remedy(text), app.printer_checks(uuid) TO soloprint_api;

COMMIT;
