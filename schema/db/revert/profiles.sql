-- Revert soloprint:profiles from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP TABLE app.profiles;

COMMIT;
