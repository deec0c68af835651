-- Verify soloprint:printer_rows on pg

BEGIN;
SELECT id, groups, material_context, "status.state", _etag FROM app.printer_rows WHERE false;
SELECT 1 / has_function_privilege('soloprint_api', 'app.check_version(int, int[])', 'EXECUTE')::int;
ROLLBACK;
