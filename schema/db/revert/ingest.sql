-- Revert soloprint:ingest from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP FUNCTION app.ingest_file(uuid, uuid, bytea, bigint, jsonb, jsonb, boolean);
DROP FUNCTION app.store_scan(uuid, jsonb, boolean);
DROP FUNCTION app.spare_blobs(uuid[]);
DROP FUNCTION app.describe_thumbnails(jsonb);
DROP FUNCTION app.keep_thumbnails(uuid, jsonb, boolean);
DROP FUNCTION app.model_of_file(text, jsonb);
DROP FUNCTION app.known_file(bytea);
DROP FUNCTION app.keep_content(uuid, bytea, bigint, boolean);
DROP FUNCTION app.need_storage(bigint);

COMMIT;
