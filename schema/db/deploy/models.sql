-- Deploy soloprint:models to pg
-- requires: files
-- The library: models group the files of one design; collections group models.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE SCHEMA ext;
COMMENT ON SCHEMA ext IS 'Extensions.';
GRANT USAGE ON SCHEMA ext TO soloprint_api, soloprint_courier;
CREATE EXTENSION pg_trgm SCHEMA ext;

-- Text as searches compare it: words of letters and digits, in lower case.
CREATE FUNCTION app.search_words(t text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN btrim(regexp_replace(lower(t), '[^[:alnum:]]+', ' ', 'g'));

-- The same of a text that is looked into; words that are run together like this, likeThis, count apart as well.
CREATE FUNCTION app.indexed_words(t text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN app.search_words(t) || CASE WHEN t ~ '[[:lower:]][[:upper:]]|[[:upper:]][[:upper:]][[:lower:]]'
		THEN ' ' || app.search_words(regexp_replace(regexp_replace(t, '([[:lower:]])([[:upper:]])', '\1 \2', 'g'),
			'([[:upper:]])([[:upper:]][[:lower:]])', '\1 \2', 'g')) ELSE '' END;

-- Every word of a search as the beginning of a word; NULL when there is none.
CREATE FUNCTION app.search_query(t text) RETURNS tsquery
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN to_tsquery('pg_catalog.simple'::regconfig, replace(nullif(app.search_words(t), ''), ' ', ':* & ') || ':*');

-- One bit for each group of three letters, as pg_trgm makes them: what has few bits in common with a search is not like
-- it, which is far cheaper to find out than how alike they are.
CREATE FUNCTION app.trigram_bits(words text) RETURNS bit(1024)
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (SELECT coalesce(bit_or(set_bit(repeat('0', 1024)::bit(1024), hashtext(g) & 1023, 1)), repeat('0', 1024)::bit(1024))
		FROM unnest(ext.show_trgm(words)) AS g);

-- What a model is searched by: its name first, then tags, then its files, then the rest.
CREATE FUNCTION app.model_words(name text, tags text[], file_names text) RETURNS text
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN app.indexed_words(name || ' ' || array_to_string(tags, ' ') || ' ' || file_names);
CREATE FUNCTION app.model_document(name text, tags text[], file_names text, description text, notes text) RETURNS tsvector
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN setweight(to_tsvector('pg_catalog.simple'::regconfig, app.indexed_words(name)), 'A')
		|| setweight(to_tsvector('pg_catalog.simple'::regconfig, app.indexed_words(array_to_string(tags, ' '))), 'B')
		|| setweight(to_tsvector('pg_catalog.simple'::regconfig, app.indexed_words(file_names)), 'C')
		|| setweight(to_tsvector('pg_catalog.simple'::regconfig,
			app.indexed_words(coalesce(description, '') || ' ' || coalesce(notes, ''))), 'D');

-- file_names: stems of its files, for searches; kept by a trigger of app.files.
CREATE TABLE app.models (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 255),
	description text CHECK (char_length(description) <= 20000),
	notes text CHECK (char_length(notes) <= 20000),
	tags text[] NOT NULL DEFAULT '{}',
	favorite boolean NOT NULL DEFAULT false,
	file_names text NOT NULL DEFAULT '',
	words text NOT NULL GENERATED ALWAYS AS (app.model_words(name, tags, file_names)) STORED,
	trigrams bit(1024) NOT NULL GENERATED ALWAYS AS (app.trigram_bits(app.model_words(name, tags, file_names))) STORED,
	document tsvector NOT NULL
		GENERATED ALWAYS AS (app.model_document(name, tags, file_names, description, notes)) STORED,
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
GRANT SELECT, INSERT (org_id, id, name, description, notes, tags, favorite) ON app.models TO soloprint_api, soloprint_courier;
GRANT UPDATE (name, description, notes, tags, favorite), DELETE ON app.models TO soloprint_api;

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
GRANT SELECT, INSERT ON app.model_keys TO soloprint_api, soloprint_courier;

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

-- The tags with one called otherwise, each once, in their order.
CREATE FUNCTION app.replace_tag(tags text[], tag text, name text) RETURNS text[]
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN (SELECT array_agg(x.t ORDER BY x.n) FROM (
		SELECT u.t, min(u.n) AS n FROM unnest(array_replace(tags, tag, name)) WITH ORDINALITY AS u (t, n) GROUP BY u.t) AS x);
GRANT EXECUTE ON FUNCTION app.replace_tag(text[], text, text) TO soloprint_api;

-- Where a file's largest picture is; NULL without one.
CREATE FUNCTION app.thumbnail_url(file_id uuid, thumbnails jsonb) RETURNS text
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN '/v1/files/' || file_id || '/thumbnails/' || (SELECT t ->> 'n' FROM jsonb_array_elements(thumbnails) AS t
		ORDER BY (t ->> 'width')::numeric DESC NULLS LAST, (t ->> 'n')::int LIMIT 1);
GRANT EXECUTE ON FUNCTION app.thumbnail_url(uuid, jsonb) TO soloprint_api;

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

-- BEFORE UPDATE: a change of what people say of a model is a new version; another file makes it newer.
CREATE FUNCTION app.touch_model() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF (NEW.name, NEW.description, NEW.notes, NEW.tags, NEW.favorite)
			IS DISTINCT FROM (OLD.name, OLD.description, OLD.notes, OLD.tags, OLD.favorite) THEN
		NEW.version := OLD.version + 1;
		NEW.updated_at := app.now();
	END IF;
	RETURN NEW;
END
$$;
CREATE TRIGGER touch BEFORE UPDATE ON app.models
	FOR EACH ROW EXECUTE FUNCTION app.touch_model();
CREATE TRIGGER audit AFTER INSERT OR DELETE ON app.models
	FOR EACH ROW EXECUTE FUNCTION sec.audit('model', 'operations.read', 'quiet');
CREATE TRIGGER audit_update AFTER UPDATE ON app.models
	FOR EACH ROW WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION sec.audit('model', 'operations.read', 'quiet');
CREATE TRIGGER bump_version BEFORE UPDATE ON app.collections
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.collections
	FOR EACH ROW EXECUTE FUNCTION sec.audit('collection', 'operations.read', 'quiet');

-- BEFORE INSERT or UPDATE of model_id: numbers a file among those of its model and of its sort, which is either sliced
-- (what a printer runs) or a design. Locks the model, so that two at once get two numbers.
CREATE FUNCTION sec.number_revision() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	sliced CONSTANT text[] := '{gcode,bgcode,gcode_3mf}';
BEGIN
	IF NEW.model_id IS NULL THEN
		NEW.revision := NULL;
		RETURN NEW;
	END IF;
	PERFORM FROM app.models AS m WHERE m.org_id = NEW.org_id AND m.id = NEW.model_id FOR NO KEY UPDATE;
	SELECT coalesce(max(f.revision), 0) + 1 INTO NEW.revision FROM app.files AS f
		WHERE f.org_id = NEW.org_id AND f.model_id = NEW.model_id AND (f.kind = ANY (sliced)) = (NEW.kind = ANY (sliced));
	RETURN NEW;
END
$$;
CREATE TRIGGER number_revision BEFORE INSERT ON app.files
	FOR EACH ROW WHEN (NEW.model_id IS NOT NULL) EXECUTE FUNCTION sec.number_revision();
CREATE TRIGGER number_revision_update BEFORE UPDATE OF model_id ON app.files
	FOR EACH ROW WHEN (OLD.model_id IS DISTINCT FROM NEW.model_id) EXECUTE FUNCTION sec.number_revision();

-- AFTER a change of a model's files: what it is searched by, and when it changed.
CREATE FUNCTION sec.name_files() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	old_model uuid := CASE WHEN TG_OP <> 'INSERT' THEN OLD.model_id END;
	new_model uuid := CASE WHEN TG_OP <> 'DELETE' THEN NEW.model_id END;
	org uuid := CASE TG_OP WHEN 'DELETE' THEN OLD.org_id ELSE NEW.org_id END;
BEGIN
	UPDATE app.models AS m SET updated_at = app.now(),
			file_names = CASE WHEN TG_OP = 'INSERT' AND position(' ' || NEW.stem || ' ' IN ' ' || m.file_names || ' ') > 0
				THEN m.file_names
				ELSE coalesce((SELECT left(string_agg(s.stem, ' ' ORDER BY s.stem), 2000)
					FROM (SELECT DISTINCT f.stem FROM app.files AS f WHERE f.org_id = m.org_id AND f.model_id = m.id
						AND f.deleted_at IS NULL LIMIT 200) AS s), '') END
		WHERE m.org_id = org AND m.id IN (old_model, new_model);
	RETURN NULL;
END
$$;
CREATE TRIGGER name_files AFTER INSERT ON app.files
	FOR EACH ROW WHEN (NEW.model_id IS NOT NULL) EXECUTE FUNCTION sec.name_files();
CREATE TRIGGER name_files_update AFTER UPDATE OF model_id, filename, deleted_at ON app.files
	FOR EACH ROW WHEN ((OLD.model_id, OLD.filename, OLD.deleted_at) IS DISTINCT FROM (NEW.model_id, NEW.filename, NEW.deleted_at))
	EXECUTE FUNCTION sec.name_files();
CREATE TRIGGER name_files_delete AFTER DELETE ON app.files
	FOR EACH ROW WHEN (OLD.model_id IS NOT NULL AND OLD.deleted_at IS NULL) EXECUTE FUNCTION sec.name_files();

-- A collection changes with what is in it. None is left to change when it went together with its members.
CREATE FUNCTION sec.record_collected() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	what text := CASE TG_OP WHEN 'INSERT' THEN 'added' ELSE 'removed' END;
	c record;
	collection_name text;
BEGIN
	FOR c IN SELECT m.org_id, m.collection_id, jsonb_agg(m.model_id ORDER BY m.model_id) AS models
			FROM moved AS m GROUP BY m.org_id, m.collection_id ORDER BY m.collection_id LOOP
		UPDATE app.collections AS x SET updated_at = clock_timestamp()
			WHERE x.org_id = c.org_id AND x.id = c.collection_id RETURNING x.name INTO collection_name;
		IF FOUND THEN
			PERFORM sec.record(c.org_id, 'updated', 'collection', c.collection_id,
				jsonb_build_object('model_ids', jsonb_build_object(what, c.models)), '', collection_name);
		END IF;
	END LOOP;
	RETURN NULL;
END
$$;
CREATE TRIGGER audit_insert AFTER INSERT ON app.collection_models REFERENCING NEW TABLE AS moved
	FOR EACH STATEMENT EXECUTE FUNCTION sec.record_collected();
CREATE TRIGGER audit_delete AFTER DELETE ON app.collection_models REFERENCING OLD TABLE AS moved
	FOR EACH STATEMENT EXECUTE FUNCTION sec.record_collected();

GRANT EXECUTE ON FUNCTION app.search_words(text), app.indexed_words(text), app.search_query(text), app.trigram_bits(text),
	app.model_words(text, text[], text), app.model_document(text, text[], text, text, text), app.touch_model()
	TO soloprint_api, soloprint_courier;

COMMIT;
