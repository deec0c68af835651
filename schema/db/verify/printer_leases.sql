-- Verify soloprint:printer_leases on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 / (to_regclass('sec.printer_index_free') IS NOT NULL)::int;
SELECT room FROM sec.gateways WHERE false;
SELECT printers, room FROM sec.gateway_room() WHERE false;

ROLLBACK;
