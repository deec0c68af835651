-- Verify soloprint:models on pg

BEGIN;
SET LOCAL ROLE soloprint_owner;

SELECT org_id, id, name, description, notes, tags, favorite, file_names, words, trigrams, document, created_by, created_at, updated_at, version
	FROM app.models WHERE false;
SELECT org_id, key, model_id FROM app.model_keys WHERE false;
SELECT org_id, id, name, description, created_at, updated_at, version FROM app.collections WHERE false;
SELECT org_id, collection_id, model_id FROM app.collection_models WHERE false;
SELECT 1 / (ext.similarity('benchy', 'benchy') = 1)::int;

ROLLBACK;
