-- Verify soloprint:printer_history on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, printer_id, at, id, kind, detail FROM app.printer_history WHERE false;
SELECT 1 / (relrowsecurity AND relforcerowsecurity)::int FROM pg_class WHERE oid = 'app.printer_history'::regclass;
SELECT 1 / (NOT relrowsecurity)::int FROM pg_class WHERE oid = 'sec.printer_history'::regclass;
SELECT 1 / (count(*) >= 4)::int FROM pg_inherits WHERE inhparent = 'sec.printer_history'::regclass;
SELECT 1 / count(*)::int FROM sec.timers WHERE name = 'printer_history';

ROLLBACK;
