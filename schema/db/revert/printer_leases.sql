-- Revert soloprint:printer_leases from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP INDEX sec.printer_index_free;

COMMIT;
