-- Verify soloprint:printers on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, id, name, protocol, model, host, port, serial, secret_sealed, has_secret, bed_volume, nozzles, enclosure,
	max_temperatures, location, notes, tags, enabled, drain, maintenance, features, created_by, created_at, updated_at,
	deleted_at, version FROM app.printers WHERE false;
SELECT org_id, printer_id, state, connection, job, temperatures, fans, speed, lights, ams, errors, wifi, firmware, extra,
	last_seen_at, updated_at, version FROM app.printer_status WHERE false;
SELECT 1 / (count(*) = 4)::int FROM pg_class WHERE oid IN ('app.printers'::regclass, 'app.printer_status'::regclass,
	'app.printer_groups'::regclass, 'app.printer_group_members'::regclass) AND relrowsecurity AND relforcerowsecurity;
SELECT 1 / (NOT has_column_privilege('soloprint_api', 'app.printers', 'secret_sealed', 'SELECT'))::int;
SELECT 1 / (app.printer_capabilities('bambu', 'X1C') ->> 'camera' = 'rtsp')::int;
SELECT printer_id, org_id, protocol, enabled, config_version, refresh_requested_at, gateway_id, fencing, expires_at
	FROM sec.printer_index WHERE false;
SELECT id, name, started_at, heartbeat_at, sessions FROM sec.gateways WHERE false;

ROLLBACK;
