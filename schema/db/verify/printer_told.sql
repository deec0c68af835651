-- Verify soloprint:printer_told on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT told_state FROM app.printer_status WHERE false;

ROLLBACK;
