-- Verify soloprint:printer_control on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT gcode_allowlist FROM app.printers WHERE false;
SELECT gcode_allowlist FROM app.printer_rows WHERE false;
SELECT 'app.command_faults(uuid, jsonb, jsonb)'::regprocedure,
	'app.command_many(uuid[], jsonb, jsonb, interval, boolean)'::regprocedure, 'app.prints_kind(text, text)'::regprocedure,
	'app.send_faults(uuid, jsonb)'::regprocedure, 'app.first_plate(uuid)'::regprocedure,
	'app.connection_remedy(text)'::regprocedure, 'app.printer_checks(uuid)'::regprocedure;

ROLLBACK;
