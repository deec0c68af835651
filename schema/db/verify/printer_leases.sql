-- Verify soloprint:printer_leases on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 / (to_regclass('sec.printer_index_free') IS NOT NULL)::int;

ROLLBACK;
