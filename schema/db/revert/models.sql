-- Revert soloprint:models from pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

DROP TRIGGER name_files ON app.files;
DROP TRIGGER name_files_update ON app.files;
DROP TRIGGER name_files_delete ON app.files;
DROP TRIGGER number_revision ON app.files;
DROP TRIGGER number_revision_update ON app.files;
ALTER TABLE app.files DROP CONSTRAINT files_model_fkey;
DROP FUNCTION app.attach_model(text[], text);
DROP FUNCTION app.thumbnail_url(uuid, jsonb);
DROP FUNCTION app.replace_tag(text[], text, text);
DROP TABLE app.collection_models;
DROP TABLE app.collections;
DROP TABLE app.model_keys;
DROP TABLE app.models;
DROP FUNCTION sec.record_collected();
DROP FUNCTION sec.name_files();
DROP FUNCTION sec.number_revision();
DROP FUNCTION app.touch_model();
DROP FUNCTION app.model_document(text, text[], text, text, text);
DROP FUNCTION app.model_words(text, text[], text);
DROP FUNCTION app.trigram_bits(text);
DROP FUNCTION app.search_query(text);
DROP FUNCTION app.indexed_words(text);
DROP FUNCTION app.search_words(text);
DROP EXTENSION pg_trgm;
DROP SCHEMA ext;

COMMIT;
