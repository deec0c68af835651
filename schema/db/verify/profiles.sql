-- Verify soloprint:profiles on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, id, kind, name, vendor, notes, attributes, settings, source, created_by, created_at, updated_at, version
	FROM app.profiles WHERE false;

ROLLBACK;
