-- Revert soloprint:printer_history from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DELETE FROM sec.timers WHERE name = 'printer_history';
DROP FUNCTION sec.printer_history_months(interval);
DROP TABLE app.printer_history;

COMMIT;
