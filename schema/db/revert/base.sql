-- Revert soloprint:base from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION app.append_only();
DROP FUNCTION app.bump_version();
DROP FUNCTION app.raise(text, text);
DROP FUNCTION app.are_limits(jsonb);
DROP FUNCTION app.uuid7();
DROP FUNCTION app.key();
DROP FUNCTION app.principal();
DROP FUNCTION app.org();
DROP FUNCTION app.now();
DROP SCHEMA sec;
DROP SCHEMA app;

COMMIT;
