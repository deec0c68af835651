-- Deploy soloprint:api_keys to pg
-- requires: organizations
-- API keys: only their SHA-256 is kept. A key can mint and change keys only within its own rights.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE TABLE app.api_keys (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	principal_id uuid NOT NULL,
	owner_id uuid NOT NULL,
	created_by uuid DEFAULT app.principal(),
	kind text NOT NULL DEFAULT 'live' CHECK (kind IN ('live', 'dev', 'scim')),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
	prefix text NOT NULL CHECK (char_length(prefix) <= 16),
	key_hash bytea NOT NULL CHECK (octet_length(key_hash) = 32),
	capabilities text[] NOT NULL DEFAULT '{}' CHECK (capabilities <@ '{operations.read,queue.manage,printer.manage,spool.manage,integrations.manage,org.manage_users}'),
	printer_ids uuid[],
	cidrs cidr[],
	rate_limits jsonb CHECK (app.are_limits(rate_limits)),
	expires_at timestamptz,
	revoked_at timestamptz,
	rotated_from uuid,
	replaced_by uuid,
	last_used_at timestamptz,
	last_used_ip inet,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	CONSTRAINT api_keys_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT api_keys_hash_key UNIQUE (key_hash),
	CONSTRAINT api_keys_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT api_keys_principal_fkey FOREIGN KEY (org_id, principal_id) REFERENCES app.principals (org_id, id),
	CONSTRAINT api_keys_owner_fkey FOREIGN KEY (org_id, owner_id) REFERENCES app.principals (org_id, id),
	CONSTRAINT api_keys_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES app.principals (org_id, id),
	CONSTRAINT api_keys_rotated_from_fkey FOREIGN KEY (org_id, rotated_from) REFERENCES app.api_keys (org_id, id),
	CONSTRAINT api_keys_replaced_by_fkey FOREIGN KEY (org_id, replaced_by) REFERENCES app.api_keys (org_id, id)
);
CREATE INDEX api_keys_created ON app.api_keys (org_id, created_at, id);
CREATE INDEX api_keys_name ON app.api_keys (org_id, name, id);
ALTER TABLE app.api_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.api_keys
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT (org_id, id, principal_id, owner_id, created_by, kind, name, prefix, capabilities, printer_ids, cidrs,
		rate_limits, expires_at, revoked_at, rotated_from, replaced_by, last_used_at, last_used_ip, created_at,
		updated_at, version),
	INSERT (org_id, id, kind, name, prefix, key_hash, capabilities, printer_ids, cidrs, rate_limits, expires_at,
		rotated_from),
	UPDATE (name, capabilities, printer_ids, cidrs, rate_limits, expires_at, revoked_at, replaced_by, last_used_at,
		last_used_ip)
	ON app.api_keys TO soloprint_api;
GRANT SELECT (org_id, id, last_used_at), UPDATE (last_used_at, last_used_ip) ON app.api_keys TO soloprint_auth;

CREATE TABLE app.api_key_usage (
	org_id uuid NOT NULL DEFAULT app.org(),
	key_id uuid NOT NULL,
	operation text NOT NULL,
	count bigint NOT NULL DEFAULT 0,
	first_at timestamptz NOT NULL DEFAULT app.now(),
	last_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT api_key_usage_pkey PRIMARY KEY (org_id, key_id, operation),
	CONSTRAINT api_key_usage_key_fkey FOREIGN KEY (org_id, key_id) REFERENCES app.api_keys (org_id, id) ON DELETE CASCADE
);
ALTER TABLE app.api_key_usage ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.api_key_usage
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE (count, last_at) ON app.api_key_usage TO soloprint_api, soloprint_auth;

-- Where a presented key leads; no tenant content.
CREATE TABLE sec.key_index (
	key_hash bytea PRIMARY KEY,
	org_id uuid NOT NULL,
	key_id uuid NOT NULL
);

CREATE FUNCTION sec.index_api_key() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP <> 'INSERT' THEN
		DELETE FROM sec.key_index WHERE key_hash = OLD.key_hash;
	END IF;
	IF TG_OP <> 'DELETE' THEN
		INSERT INTO sec.key_index (key_hash, org_id, key_id) VALUES (NEW.key_hash, NEW.org_id, NEW.id);
	END IF;
	RETURN NULL;
END
$$;

-- A new key gets a principal of its own and belongs to whoever its creator belongs to.
CREATE FUNCTION sec.adopt_api_key() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF NEW.owner_id IS NULL THEN
		NEW.owner_id := coalesce((SELECT k.owner_id FROM app.api_keys AS k
			WHERE k.org_id = NEW.org_id AND k.id = app.key()), app.principal());
	END IF;
	IF NEW.principal_id IS NULL THEN
		INSERT INTO app.principals (org_id, kind, display_name)
			VALUES (NEW.org_id, CASE NEW.kind WHEN 'dev' THEN 'device' ELSE 'key' END, NEW.name)
			RETURNING id INTO NEW.principal_id;
	END IF;
	RETURN NEW;
END
$$;

-- True when every network of `inner` lies in one of `outer`; NULL means everywhere.
CREATE FUNCTION sec.cidrs_within(inner_nets cidr[], outer_nets cidr[]) RETURNS boolean
	LANGUAGE sql IMMUTABLE
	RETURN outer_nets IS NULL OR (inner_nets IS NOT NULL AND NOT EXISTS (
		SELECT FROM unnest(inner_nets) AS n WHERE NOT n <<= ANY (outer_nets)));

-- Limits that apply: the key's own, else the organisation's, else the defaults (per minute; burst per second).
CREATE FUNCTION sec.effective_limits(key_limits jsonb, org_limits jsonb) RETURNS int[]
	LANGUAGE sql IMMUTABLE
	RETURN ARRAY[
		coalesce((key_limits ->> 'read')::numeric::int, (org_limits ->> 'read')::numeric::int, 100),
		coalesce((key_limits ->> 'write')::numeric::int, (org_limits ->> 'write')::numeric::int, 30),
		coalesce((key_limits ->> 'control')::numeric::int, (org_limits ->> 'control')::numeric::int, 10),
		coalesce((key_limits ->> 'burst')::numeric::int, (org_limits ->> 'burst')::numeric::int, 20)];

-- True when `me` has every capability and printer of `k`.
CREATE FUNCTION sec.key_covers(me app.api_keys, k app.api_keys) RETURNS boolean
	LANGUAGE sql IMMUTABLE
	RETURN k.capabilities <@ me.capabilities
		AND (me.printer_ids IS NULL OR (k.printer_ids IS NOT NULL AND k.printer_ids <@ me.printer_ids));

-- A key acts only on keys that it covers, and gives them no more than it has: capabilities, printers, networks and
-- limits. Revocation and rotation are final. Operators act without a key and are bound by the latter only.
CREATE FUNCTION sec.guard_api_key() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	me app.api_keys;
	org_limits jsonb;
BEGIN
	IF TG_OP = 'UPDATE' AND OLD.revoked_at IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP22', MESSAGE = 'the key is revoked';
	ELSIF TG_OP = 'UPDATE' AND OLD.replaced_by IS NOT NULL AND NEW.replaced_by IS DISTINCT FROM OLD.replaced_by THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP23', MESSAGE = 'the key has been rotated';
	ELSIF app.key() IS NULL THEN
		RETURN NEW;
	END IF;
	SELECT * INTO me FROM app.api_keys AS k WHERE k.org_id = NEW.org_id AND k.id = app.key();
	IF NOT FOUND OR (TG_OP = 'UPDATE' AND NOT sec.key_covers(me, OLD)) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP24', MESSAGE = 'a key can only change keys within its own rights';
	ELSIF TG_OP = 'UPDATE' AND (NEW.capabilities, NEW.printer_ids, NEW.cidrs, NEW.rate_limits)
			IS NOT DISTINCT FROM (OLD.capabilities, OLD.printer_ids, OLD.cidrs, OLD.rate_limits) THEN
		RETURN NEW;
	END IF;
	SELECT o.rate_limits INTO org_limits FROM app.organizations AS o WHERE o.org_id = NEW.org_id;
	IF NOT (sec.key_covers(me, NEW) AND sec.cidrs_within(NEW.cidrs, me.cidrs) AND NOT EXISTS (
			SELECT FROM unnest(sec.effective_limits(NEW.rate_limits, org_limits),
				sec.effective_limits(me.rate_limits, org_limits)) AS l (given, own) WHERE given > own)) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP24', MESSAGE = 'a key can only give rights it has itself';
	END IF;
	RETURN NEW;
END
$$;

CREATE TRIGGER adopt BEFORE INSERT ON app.api_keys
	FOR EACH ROW EXECUTE FUNCTION sec.adopt_api_key();
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OF name, capabilities, printer_ids, cidrs, rate_limits, expires_at, revoked_at,
		replaced_by ON app.api_keys
	FOR EACH ROW EXECUTE FUNCTION sec.guard_api_key();
CREATE TRIGGER bump_version BEFORE UPDATE ON app.api_keys
	FOR EACH ROW WHEN ((OLD.name, OLD.capabilities, OLD.printer_ids, OLD.cidrs, OLD.rate_limits, OLD.expires_at,
			OLD.revoked_at, OLD.replaced_by)
		IS DISTINCT FROM (NEW.name, NEW.capabilities, NEW.printer_ids, NEW.cidrs, NEW.rate_limits, NEW.expires_at,
			NEW.revoked_at, NEW.replaced_by))
	EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER index AFTER INSERT OR UPDATE OF key_hash OR DELETE ON app.api_keys
	FOR EACH ROW EXECUTE FUNCTION sec.index_api_key();
CREATE TRIGGER audit AFTER INSERT OR DELETE ON app.api_keys
	FOR EACH ROW EXECUTE FUNCTION sec.audit('api_key', 'integrations.manage', 'quiet');
CREATE TRIGGER audit_update AFTER UPDATE ON app.api_keys
	FOR EACH ROW WHEN (OLD.version <> NEW.version)
	EXECUTE FUNCTION sec.audit('api_key', 'integrations.manage', 'quiet');

-- Counts uses of a key's operation and remembers when and from where it was last used (once a minute). Runs after the
-- reply in a transaction of its own, hence the organisation as an argument.
CREATE FUNCTION app.key_used(org_id uuid, key_id uuid, operation text, uses bigint, remote_addr inet) RETURNS void
	LANGUAGE plpgsql
	AS $$
BEGIN
	PERFORM set_config('app.org_id', key_used.org_id::text, true);
	INSERT INTO app.api_key_usage AS u (org_id, key_id, operation, count)
		VALUES (key_used.org_id, key_used.key_id, key_used.operation, key_used.uses)
		ON CONFLICT ON CONSTRAINT api_key_usage_pkey
		DO UPDATE SET count = u.count + excluded.count, last_at = excluded.last_at;
	UPDATE app.api_keys AS k SET last_used_at = app.now(), last_used_ip = key_used.remote_addr
		WHERE k.org_id = key_used.org_id AND k.id = key_used.key_id
		AND (k.last_used_at IS NULL OR k.last_used_at <= app.now() - '1 minute'::interval);
END
$$;
GRANT EXECUTE ON FUNCTION app.key_used(uuid, uuid, text, bigint, inet) TO soloprint_api, soloprint_auth;

COMMIT;
