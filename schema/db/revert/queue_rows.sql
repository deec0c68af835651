-- Revert soloprint:queue_rows from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP VIEW app.queue_eligible_rows;
DROP VIEW app.queue_rows;
DROP VIEW app.printer_rows;
CREATE VIEW app.printer_rows WITH (security_invoker = true) AS
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
GRANT SELECT ON app.printer_rows TO soloprint_api;
DROP FUNCTION app.queue_forecast(int);
DROP FUNCTION app.queue_free_at(boolean, boolean, boolean, jsonb, text, int, int);
DROP FUNCTION app.queue_settings_row();
DROP FUNCTION app.queue_item_history(uuid);
DROP FUNCTION app.queue_eligibility(app.queue_items);

COMMIT;
