-- Revert soloprint:printers from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION sec.gateway_health();
DROP FUNCTION sec.request_refresh(uuid);
DROP TABLE app.printer_status;
DROP FUNCTION sec.groups_of(uuid, uuid);
DROP TABLE app.printer_group_members;
DROP TABLE app.printers;
DROP TABLE app.printer_groups;
DROP FUNCTION sec.record_membership();
DROP FUNCTION sec.rename_group();
DROP FUNCTION sec.leave_groups();
DROP FUNCTION sec.start_printer_status();
DROP FUNCTION sec.index_printer();
DROP FUNCTION app.guard_new_printer();
DROP FUNCTION app.derive_printer();
DROP TABLE sec.gateways;
DROP TABLE sec.printer_index;
DROP FUNCTION app.printer_capabilities(text, text);
DROP TABLE app.provider_models;

COMMIT;
