-- Deploy soloprint:history to pg
-- requires: base
-- Events for the outside (outbox) and the record of who changed what (audit log): written in the transaction of the
-- change, by triggers the API's role cannot bypass, and never altered afterwards.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE TABLE app.outbox (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	sequence bigint GENERATED ALWAYS AS IDENTITY,
	type text NOT NULL CHECK (type ~ '^[a-z_]+\.[a-z_]+$'),
	capability text NOT NULL,
	data jsonb NOT NULL,
	resource_type text NOT NULL,
	resource_id uuid NOT NULL,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT outbox_pkey PRIMARY KEY (org_id, id)
);
CREATE UNIQUE INDEX outbox_sequence_key ON app.outbox (sequence);
CREATE INDEX outbox_org_sequence ON app.outbox (org_id, sequence);
ALTER TABLE app.outbox ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.outbox
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT INSERT (org_id, id, type, capability, data, resource_type, resource_id) ON app.outbox TO soloprint_gateway;

CREATE TABLE app.audit_log (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	at timestamptz NOT NULL DEFAULT app.now(),
	principal_id uuid DEFAULT app.principal(),
	key_id uuid DEFAULT app.key(),
	action text NOT NULL,
	target_type text NOT NULL,
	target_id uuid NOT NULL,
	changes jsonb NOT NULL,
	request_id text DEFAULT nullif(current_setting('app.request_id', true), ''),
	remote_addr inet DEFAULT nullif(current_setting('app.remote_addr', true), '')::inet,
	CONSTRAINT audit_log_pkey PRIMARY KEY (org_id, id)
);
CREATE INDEX audit_log_target ON app.audit_log (org_id, target_type, target_id, id);
ALTER TABLE app.audit_log ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.audit_log
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.outbox
	FOR EACH ROW EXECUTE FUNCTION app.append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.outbox
	FOR EACH STATEMENT EXECUTE FUNCTION app.append_only();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON app.audit_log
	FOR EACH ROW EXECUTE FUNCTION app.append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON app.audit_log
	FOR EACH STATEMENT EXECUTE FUNCTION app.append_only();

-- What changed between two versions of a row, without bookkeeping columns, secrets and hashes.
-- {"name": {"from": "a", "to": "b"}}; for a new or a deleted row its members that are not null.
CREATE FUNCTION sec.row_changes(was jsonb, is_now jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE
	RETURN (
		SELECT coalesce(jsonb_object_agg(k, CASE WHEN was IS NULL THEN is_now -> k WHEN is_now IS NULL THEN was -> k
			ELSE jsonb_build_object('from', was -> k, 'to', is_now -> k) END), '{}')
		FROM jsonb_object_keys(coalesce(is_now, was)) AS k
		WHERE k <> ALL ('{org_id,id,version,created_at,updated_at,last_used_at,last_used_ip,key_hash,secret_sealed,has_secret,features,groups}'::text[])
		AND coalesce(was -> k, 'null') <> coalesce(is_now -> k, 'null')
	) || CASE WHEN was -> 'secret_sealed' IS DISTINCT FROM is_now -> 'secret_sealed'
		AND coalesce(was -> 'secret_sealed', is_now -> 'secret_sealed') IS NOT NULL
		AND NOT (was IS NULL AND is_now -> 'secret_sealed' = 'null')
		THEN '{"secret": "changed"}'::jsonb ELSE '{}'::jsonb END;

-- created, updated, deleted, revoked or rotated.
CREATE FUNCTION sec.row_verb(was jsonb, is_now jsonb) RETURNS text
	LANGUAGE sql IMMUTABLE
	RETURN CASE
		WHEN was IS NULL AND is_now ->> 'rotated_from' IS NOT NULL THEN 'rotated'
		WHEN was IS NULL THEN 'created'
		WHEN is_now IS NULL THEN 'deleted'
		WHEN was ->> 'deleted_at' IS NULL AND is_now ->> 'deleted_at' IS NOT NULL THEN 'deleted'
		WHEN was ->> 'revoked_at' IS NULL AND is_now ->> 'revoked_at' IS NOT NULL THEN 'revoked'
		ELSE 'updated' END;

-- One audit row, and one event when there is a capability that may see it.
CREATE FUNCTION sec.record(org uuid, verb text, target text, target_id uuid, changes jsonb, capability text, name text)
	RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	INSERT INTO app.audit_log (org_id, action, target_type, target_id, changes)
		VALUES (org, target || '.' || verb, target, target_id, changes);
	IF capability <> '' THEN
		INSERT INTO app.outbox (org_id, type, capability, resource_type, resource_id, data)
			VALUES (org, target || '.' || verb, capability, target, target_id,
				jsonb_build_object(target || '_id', target_id, 'name', name) || CASE verb WHEN 'updated'
					THEN jsonb_build_object('changed', (SELECT jsonb_agg(k ORDER BY k) FROM jsonb_object_keys(changes) AS k))
					ELSE '{}' END);
	END IF;
END
$$;

-- AFTER trigger of configuration tables. Arguments: the target's type, the capability that may see its events ('' for
-- no events), and optionally 'quiet' when updates are audited but make no event.
CREATE FUNCTION sec.audit() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
	is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
	one jsonb := coalesce(is_now, was);
	verb text := sec.row_verb(was, is_now);
	changes jsonb := sec.row_changes(was, is_now);
BEGIN
	IF TG_OP = 'UPDATE' AND changes = '{}' THEN
		RETURN NULL;
	END IF;
	PERFORM sec.record((one ->> 'org_id')::uuid, verb, TG_ARGV[0], coalesce(one ->> 'id', one ->> 'org_id')::uuid, changes,
		CASE WHEN verb = 'updated' AND TG_NARGS > 2 THEN '' ELSE TG_ARGV[1] END,
		coalesce(one ->> 'name', one ->> 'display_name'));
	RETURN NULL;
END
$$;

COMMIT;
