-- Revert soloprint:printer_told from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

ALTER TABLE app.printer_status DROP COLUMN told_state;

COMMIT;
