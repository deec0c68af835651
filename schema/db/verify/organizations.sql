-- Verify soloprint:organizations on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, name, slug, state, rate_limits, created_at, updated_at, version FROM app.organizations WHERE false;
SELECT org_id, id, kind, display_name, role, created_at FROM app.principals WHERE false;
SELECT 1 / (count(*) = 2)::int FROM pg_class WHERE oid IN ('app.organizations'::regclass, 'app.principals'::regclass)
	AND relrowsecurity AND relforcerowsecurity;
SELECT 1 / (NOT has_function_privilege('soloprint_api', 'sec.create_org(text, text)', 'EXECUTE'))::int;

ROLLBACK;
