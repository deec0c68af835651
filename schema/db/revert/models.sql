-- Revert soloprint:models from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

ALTER TABLE app.files DROP CONSTRAINT files_model_fkey;
DROP FUNCTION app.attach_model(text[], text);
DROP TABLE app.collection_models;
DROP TABLE app.collections;
DROP TABLE app.model_keys;
DROP TABLE app.models;
DROP EXTENSION pg_trgm;
DROP SCHEMA ext;

COMMIT;
