-- Deploy soloprint:profiles to pg
-- requires: models
-- Slicer presets of filaments and of printers.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- attributes: what the contract names, by kind; settings: the preset's own keys, as its slicer spells them; source: where
-- it was imported from, {slicer, format, inherits, attributes}, the last being the attributes as they came.
CREATE TABLE app.profiles (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	kind text NOT NULL CHECK (kind IN ('filament', 'printer')),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
	vendor text CHECK (char_length(vendor) BETWEEN 1 AND 200),
	notes text CHECK (char_length(notes) <= 20000),
	attributes jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(attributes) = 'object'),
	settings jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(settings) = 'object'),
	source jsonb CHECK (jsonb_typeof(source) = 'object'),
	created_by uuid DEFAULT app.principal(),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	CONSTRAINT profiles_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT profiles_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT profiles_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES app.principals (org_id, id)
);
CREATE UNIQUE INDEX profiles_name_key ON app.profiles (org_id, kind, lower(name));
CREATE INDEX profiles_name ON app.profiles (org_id, kind, name, id);
CREATE INDEX profiles_created ON app.profiles (org_id, kind, created_at, id);
CREATE INDEX profiles_updated ON app.profiles (org_id, kind, updated_at, id);
ALTER TABLE app.profiles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.profiles
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT (org_id, id, kind, name, vendor, notes, attributes, settings, source),
	UPDATE (name, vendor, notes, attributes, settings, source), DELETE
	ON app.profiles TO soloprint_api;

CREATE TRIGGER bump_version BEFORE UPDATE ON app.profiles
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.profiles
	FOR EACH ROW EXECUTE FUNCTION sec.audit('profile', '');

COMMIT;
