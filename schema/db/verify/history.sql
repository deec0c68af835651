-- Verify soloprint:history on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, id, sequence, type, capability, data, resource_type, resource_id, created_at FROM app.outbox WHERE false;
SELECT org_id, id, at, principal_id, key_id, action, target_type, target_id, changes, request_id, remote_addr
	FROM app.audit_log WHERE false;
SELECT 1 / (count(*) = 2)::int FROM pg_class WHERE oid IN ('app.outbox'::regclass, 'app.audit_log'::regclass)
	AND relrowsecurity AND relforcerowsecurity;
SELECT 'sec.audit()'::regprocedure;

ROLLBACK;
