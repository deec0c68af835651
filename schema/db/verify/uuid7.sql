-- Verify soloprint:uuid7 on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 / (app.uuid7()::text ~ '^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$')::int;

ROLLBACK;
