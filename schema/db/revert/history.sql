-- Revert soloprint:history from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION sec.audit();
DROP FUNCTION sec.record(uuid, text, text, uuid, jsonb, text, text);
DROP FUNCTION sec.row_verb(jsonb, jsonb);
DROP FUNCTION sec.row_changes(jsonb, jsonb);
DROP TABLE app.audit_log;
DROP TABLE app.outbox;

COMMIT;
