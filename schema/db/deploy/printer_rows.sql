-- Deploy soloprint:printer_rows to pg
-- requires: printers
-- A printer as the API shows it. Columns that start with an underscore are for the server; a dot makes a nested object.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- The material that a printer says is loaded: slots that hold something, and external spools.
CREATE FUNCTION app.material_context(ams jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN jsonb_build_object('slots', coalesce((
		SELECT jsonb_agg(jsonb_build_object('unit', s.unit, 'slot', coalesce(s.slot -> 'slot', s.slot -> 'id'),
				'material', s.slot -> 'material', 'color', s.slot -> 'color', 'remaining_pct', s.slot -> 'remaining_pct'))
			FROM (SELECT u -> 'id' AS unit, x AS slot
					FROM jsonb_array_elements(ams -> 'units') AS u, jsonb_array_elements(u -> 'slots') AS x
				UNION ALL SELECT NULL::jsonb, x FROM jsonb_array_elements(ams -> 'external') AS x) AS s
			WHERE (s.slot ->> 'present')::boolean), '[]'));

ALTER TABLE app.printer_status
	ADD COLUMN material_context jsonb NOT NULL GENERATED ALWAYS AS (app.material_context(ams)) STORED;
GRANT EXECUTE ON FUNCTION app.material_context(jsonb) TO soloprint_api, soloprint_gateway;

-- No report for a minute, or none to be expected.
CREATE FUNCTION app.status_stale(connection jsonb, last_seen_at timestamptz) RETURNS boolean
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN connection ->> 'state' <> 'connected' OR last_seen_at IS NULL OR last_seen_at < app.now() - '60 s'::interval;
GRANT EXECUTE ON FUNCTION app.status_stale(jsonb, timestamptz) TO soloprint_api, soloprint_gateway;

-- RFC 3339 in UTC with milliseconds, for times inside jsonb.
CREATE FUNCTION app.rfc3339(t timestamptz) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
GRANT EXECUTE ON FUNCTION app.rfc3339(timestamptz) TO soloprint_api, soloprint_gateway;

CREATE VIEW app.printer_rows WITH (security_invoker = true) AS
	SELECT p.org_id AS _org_id, p.id, p.name, p.protocol, p.model, p.host, p.port, p.serial, p.has_secret, p.bed_volume,
		p.nozzles, p.enclosure, p.max_temperatures, p.location, p.notes, to_jsonb(p.tags) AS tags, p.tags AS _tags,
		p.groups, p.enabled, p.drain, p.maintenance, p.features AS capabilities, s.material_context,
		s.state AS "status.state", s.connection ->> 'state' AS "status.connection_state",
		s.job -> 'progress' AS "status.progress", s.job -> 'remaining_s' AS "status.remaining_s",
		s.job ->> 'file' AS "status.file", s.last_seen_at AS "status.last_seen_at",
		app.status_stale(s.connection, s.last_seen_at) AS "status.stale",
		s.state AS _state, p.version, p.created_at, p.updated_at,
		'"c' || p.version || '.s' || s.version || '"' AS _etag
	FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
	WHERE p.deleted_at IS NULL;
GRANT SELECT ON app.printer_rows TO soloprint_api;

-- For If-Match: true when `wanted` is absent or names this version, else SLP11 (412).
CREATE FUNCTION app.check_version(actual int, wanted int[]) RETURNS boolean
	LANGUAGE plpgsql VOLATILE
	AS $$
BEGIN
	IF wanted IS NOT NULL AND actual <> ALL (wanted) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP11', MESSAGE = 'version mismatch';
	END IF;
	RETURN true;
END
$$;
GRANT EXECUTE ON FUNCTION app.check_version(int, int[]) TO soloprint_api, soloprint_auth;

COMMIT;
