-- Verify soloprint:ingest on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT 1 / has_function_privilege('soloprint_api', f, 'EXECUTE')::int FROM unnest(ARRAY['app.need_storage(bigint)',
	'app.known_file(bytea)', 'app.ingest_file(uuid, uuid, bytea, bigint, jsonb, jsonb, boolean)',
	'app.keep_content(uuid, bytea, bigint, boolean)']) AS f;
SELECT 1 / has_function_privilege('soloprint_courier', f, 'EXECUTE')::int FROM unnest(ARRAY[
	'app.store_scan(uuid, jsonb, boolean)', 'app.keep_content(uuid, bytea, bigint, boolean)']) AS f;

ROLLBACK;
