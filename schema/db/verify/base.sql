-- Verify soloprint:base on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT app.now(), app.org(), app.principal(), app.key();
SELECT 1 / (substring(app.uuid7()::text FROM 15 FOR 1) = '7')::int;
SELECT 'app.raise(text, text)'::regprocedure, 'app.bump_version()'::regprocedure, 'app.append_only()'::regprocedure;
SELECT 1 / (has_schema_privilege('soloprint_api', 'app', 'USAGE') AND has_schema_privilege('soloprint_api', 'sec', 'USAGE'))::int;

ROLLBACK;
