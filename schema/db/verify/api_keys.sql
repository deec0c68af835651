-- Verify soloprint:api_keys on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, id, principal_id, owner_id, created_by, kind, name, prefix, key_hash, capabilities, printer_ids, cidrs,
	rate_limits, expires_at, revoked_at, rotated_from, replaced_by, last_used_at, last_used_ip, created_at, updated_at,
	version FROM app.api_keys WHERE false;
SELECT org_id, key_id, operation, count, first_at, last_at FROM app.api_key_usage WHERE false;
SELECT 1 / (count(*) = 2)::int FROM pg_class WHERE oid IN ('app.api_keys'::regclass, 'app.api_key_usage'::regclass)
	AND relrowsecurity AND relforcerowsecurity;
SELECT 1 / (NOT has_column_privilege('soloprint_api', 'app.api_keys', 'key_hash', 'SELECT'))::int;
SELECT 1 / (NOT has_table_privilege('soloprint_api', 'sec.key_index', 'SELECT'))::int;

ROLLBACK;
