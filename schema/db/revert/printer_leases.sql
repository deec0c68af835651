-- Revert soloprint:printer_leases from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION sec.gateway_room();
ALTER TABLE sec.gateways DROP COLUMN room;
DROP INDEX sec.printer_index_free;

COMMIT;
