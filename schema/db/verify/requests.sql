-- Verify soloprint:requests on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 / has_function_privilege('soloprint_api', 'sec.begin_request(bytea, text, text, inet, text)', 'EXECUTE')::int;
SELECT org_id, key_id, operation, idem_key, fingerprint, status, headers, body, sealed, created_at, expires_at
	FROM app.idempotency_keys WHERE false;
SELECT 1 / (relrowsecurity AND relforcerowsecurity)::int FROM pg_class WHERE oid = 'app.idempotency_keys'::regclass;
SELECT 'app.idem_claim(text, text, bytea)'::regprocedure,
	'app.idem_store(text, text, int, jsonb, bytea, boolean)'::regprocedure, 'app.idem_fetch(text, text)'::regprocedure;

ROLLBACK;
