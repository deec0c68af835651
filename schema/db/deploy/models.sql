-- Deploy soloprint:models to pg
-- requires: files
-- The library: models group the files of one design; collections group models.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE SCHEMA ext;
COMMENT ON SCHEMA ext IS 'Extensions.';
GRANT USAGE ON SCHEMA ext TO soloprint_api, soloprint_courier;
CREATE EXTENSION pg_trgm SCHEMA ext;

CREATE TABLE app.models (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
	description text CHECK (char_length(description) <= 20000),
	notes text CHECK (char_length(notes) <= 20000),
	tags text[] NOT NULL DEFAULT '{}',
	favorite boolean NOT NULL DEFAULT false,
	created_by uuid DEFAULT app.principal(),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	CONSTRAINT models_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT models_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT models_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES app.principals (org_id, id)
);
CREATE INDEX models_name ON app.models (org_id, name, id);
CREATE INDEX models_created ON app.models (org_id, created_at, id);
CREATE INDEX models_updated ON app.models (org_id, updated_at, id);
ALTER TABLE app.models ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.models
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT (org_id, id, name, description, notes, tags, favorite), UPDATE (name, description, notes, tags, favorite), DELETE
	ON app.models TO soloprint_api, soloprint_courier;

-- What a file can be recognised by: 'mesh:<sha256>' of a mesh, 'stem:<file stem>'. The first to claim a key has the model.
CREATE TABLE app.model_keys (
	org_id uuid NOT NULL DEFAULT app.org(),
	key text NOT NULL CHECK (char_length(key) BETWEEN 1 AND 300),
	model_id uuid NOT NULL,
	CONSTRAINT model_keys_pkey PRIMARY KEY (org_id, key),
	CONSTRAINT model_keys_model_fkey FOREIGN KEY (org_id, model_id) REFERENCES app.models (org_id, id) ON DELETE CASCADE
);
CREATE INDEX model_keys_model ON app.model_keys (org_id, model_id);
ALTER TABLE app.model_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.model_keys
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON app.model_keys TO soloprint_api, soloprint_courier;

ALTER TABLE app.files
	ADD CONSTRAINT files_model_fkey FOREIGN KEY (org_id, model_id) REFERENCES app.models (org_id, id);

CREATE TABLE app.collections (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
	description text CHECK (char_length(description) <= 20000),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	CONSTRAINT collections_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT collections_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id)
);
CREATE UNIQUE INDEX collections_name_key ON app.collections (org_id, lower(name));
CREATE INDEX collections_name ON app.collections (org_id, name, id);
CREATE INDEX collections_created ON app.collections (org_id, created_at, id);
ALTER TABLE app.collections ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.collections
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT (org_id, id, name, description), UPDATE (name, description), DELETE ON app.collections TO soloprint_api;

CREATE TABLE app.collection_models (
	org_id uuid NOT NULL DEFAULT app.org(),
	collection_id uuid NOT NULL,
	model_id uuid NOT NULL,
	CONSTRAINT collection_models_pkey PRIMARY KEY (org_id, collection_id, model_id),
	CONSTRAINT collection_models_collection_fkey FOREIGN KEY (org_id, collection_id)
		REFERENCES app.collections (org_id, id) ON DELETE CASCADE,
	CONSTRAINT collection_models_model_fkey FOREIGN KEY (org_id, model_id)
		REFERENCES app.models (org_id, id) ON DELETE CASCADE
);
CREATE INDEX collection_models_model ON app.collection_models (org_id, model_id);
ALTER TABLE app.collection_models ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.collection_models
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT, DELETE ON app.collection_models TO soloprint_api;

-- The model that a file belongs to: the first of `keys` that is known (meshes come first, the stem last), else a new
-- model named `name`. Its keys that are not taken become this model's. One at a time per organisation and stem, so
-- that two at once end as one.
CREATE FUNCTION app.attach_model(keys text[], name text) RETURNS uuid
	LANGUAGE plpgsql
	AS $$
DECLARE
	org uuid := app.org();
	k text;
	found_id uuid;
BEGIN
	FOREACH k IN ARRAY ARRAY(SELECT x FROM unnest(keys) AS x ORDER BY x) LOOP
		PERFORM pg_advisory_xact_lock(hashtextextended(org::text || '/model/' || k, 0));
	END LOOP;
	SELECT m.model_id INTO found_id FROM unnest(keys) WITH ORDINALITY AS t (key, n)
		JOIN app.model_keys AS m ON m.org_id = org AND m.key = t.key ORDER BY t.n LIMIT 1;
	IF found_id IS NULL THEN
		INSERT INTO app.models (name) VALUES (attach_model.name) RETURNING id INTO found_id;
	END IF;
	INSERT INTO app.model_keys (org_id, key, model_id) SELECT org, x, found_id FROM unnest(keys) AS x ON CONFLICT DO NOTHING;
	RETURN found_id;
END
$$;
GRANT EXECUTE ON FUNCTION app.attach_model(text[], text) TO soloprint_api, soloprint_courier;

CREATE TRIGGER bump_version BEFORE UPDATE ON app.models
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.models
	FOR EACH ROW EXECUTE FUNCTION sec.audit('model', 'operations.read', 'quiet');
CREATE TRIGGER bump_version BEFORE UPDATE ON app.collections
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.collections
	FOR EACH ROW EXECUTE FUNCTION sec.audit('collection', 'operations.read', 'quiet');

COMMIT;
