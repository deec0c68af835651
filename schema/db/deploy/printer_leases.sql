-- Deploy soloprint:printer_leases to pg
-- requires: printer_tasks
-- Where gateways find what is free, however many printers there are: every gateway looks each second. The ends of leases are
-- in no index, so that renewing them stays a change within the page; those of a gateway that has died are found by its id.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE INDEX printer_index_free ON sec.printer_index (printer_id) WHERE gateway_id IS NULL;

COMMIT;
