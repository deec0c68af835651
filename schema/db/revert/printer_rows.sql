-- Revert soloprint:printer_rows from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;
DROP FUNCTION app.check_version(int, int[]);
DROP VIEW app.printer_rows;
DROP FUNCTION app.rfc3339(timestamptz);
DROP FUNCTION app.status_stale(jsonb, timestamptz);
ALTER TABLE app.printer_status DROP COLUMN material_context;
DROP FUNCTION app.material_context(jsonb);
COMMIT;
