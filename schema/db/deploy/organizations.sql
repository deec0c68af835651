-- Deploy soloprint:organizations to pg
-- requires: history
-- Organisations and the principals (people, keys, devices) acting in them.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE TABLE app.organizations (
	org_id uuid NOT NULL DEFAULT app.uuid7(),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
	slug text NOT NULL CHECK (slug ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
	state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
	rate_limits jsonb CHECK (app.are_limits(rate_limits)),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	CONSTRAINT organizations_pkey PRIMARY KEY (org_id),
	CONSTRAINT organizations_slug_key UNIQUE (slug)
);
ALTER TABLE app.organizations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.organizations
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.organizations TO soloprint_api, soloprint_auth;

CREATE TABLE app.principals (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	kind text NOT NULL CHECK (kind IN ('user', 'key', 'device')),
	display_name text NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 200),
	role text CHECK (role IN ('owner')),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT principals_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT principals_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id)
);
ALTER TABLE app.principals ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.principals
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT ON app.principals TO soloprint_api, soloprint_auth;

CREATE TRIGGER bump_version BEFORE UPDATE ON app.organizations
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.organizations
	FOR EACH ROW EXECUTE FUNCTION sec.audit('organization', '');
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.principals
	FOR EACH ROW EXECUTE FUNCTION sec.audit('principal', '');

-- How operators find an organisation without reading tenants' rows.
CREATE TABLE sec.org_index (
	org_id uuid PRIMARY KEY,
	slug text NOT NULL UNIQUE
);

CREATE FUNCTION sec.index_organization() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		DELETE FROM sec.org_index WHERE org_id = OLD.org_id;
	ELSE
		INSERT INTO sec.org_index (org_id, slug) VALUES (NEW.org_id, NEW.slug)
			ON CONFLICT (org_id) DO UPDATE SET slug = excluded.slug;
	END IF;
	RETURN NULL;
END
$$;
CREATE TRIGGER index AFTER INSERT OR UPDATE OF slug OR DELETE ON app.organizations
	FOR EACH ROW EXECUTE FUNCTION sec.index_organization();

-- Makes an organisation and its owner principal; leaves the transaction speaking for it.
CREATE FUNCTION sec.create_org(name text, slug text, OUT org_id uuid, OUT principal_id uuid)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	org_id := app.uuid7();
	PERFORM set_config('app.org_id', org_id::text, true);
	INSERT INTO app.organizations (org_id, name, slug) VALUES (create_org.org_id, create_org.name, create_org.slug);
	INSERT INTO app.principals (org_id, kind, display_name, role)
		VALUES (create_org.org_id, 'user', 'Owner of ' || create_org.name, 'owner') RETURNING id INTO principal_id;
END
$$;

-- Makes the transaction speak for the organisation of this slug, for operators. NULL when there is none.
CREATE FUNCTION sec.enter_org(slug text) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	org uuid;
BEGIN
	SELECT i.org_id INTO org FROM sec.org_index AS i WHERE i.slug = enter_org.slug;
	PERFORM set_config('app.org_id', coalesce(org::text, ''), true);
	RETURN org;
END
$$;

CREATE FUNCTION sec.list_orgs()
	RETURNS TABLE (org_id uuid, slug text, name text, state text, created_at timestamptz)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i sec.org_index;
BEGIN
	FOR i IN SELECT * FROM sec.org_index AS x ORDER BY x.slug LOOP
		PERFORM set_config('app.org_id', i.org_id::text, true);
		RETURN QUERY SELECT o.org_id, o.slug, o.name, o.state, o.created_at FROM app.organizations AS o;
	END LOOP;
	PERFORM set_config('app.org_id', '', true);
END
$$;
GRANT EXECUTE ON FUNCTION sec.create_org(text, text), sec.enter_org(text), sec.list_orgs() TO soloprint_migrator;

COMMIT;
