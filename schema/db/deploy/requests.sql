-- Deploy soloprint:requests to pg
-- requires: api_keys
-- The first statement of every request, and idempotent POSTs.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- Checks a presented key (by its SHA-256) and makes the transaction speak for its organisation. Raises
-- SLP01 unknown, SLP02 expired, SLP03 revoked, SLP04 capability missing, SLP05 address refused, SLP06 organisation
-- suspended. capability 'any': every valid key. Limits: the key's own, else the organisation's, else the defaults.
CREATE FUNCTION sec.begin_request(key_hash bytea, capability text, operation text, remote_addr inet, request_id text,
		OUT org_id uuid, OUT principal_id uuid, OUT key_id uuid, OUT key_kind text, OUT capabilities text[],
		OUT printer_ids uuid[], OUT expires_at timestamptz,
		OUT limit_read int, OUT limit_write int, OUT limit_control int, OUT limit_burst int)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	revoked_at timestamptz;
	cidrs cidr[];
	org_state text;
	key_limits jsonb;
	org_limits jsonb;
	limits int[];
	done text;
BEGIN
	SELECT i.org_id, i.key_id INTO org_id, key_id FROM sec.key_index AS i WHERE i.key_hash = begin_request.key_hash;
	IF org_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP01', MESSAGE = 'unknown key';
	END IF;
	done := set_config('app.org_id', org_id::text, true);
	SELECT k.principal_id, k.kind, k.capabilities, k.printer_ids, k.expires_at, k.revoked_at, k.cidrs, k.rate_limits,
			o.state, o.rate_limits
		INTO principal_id, key_kind, capabilities, printer_ids, expires_at, revoked_at, cidrs, key_limits,
			org_state, org_limits
		FROM app.api_keys AS k JOIN app.organizations AS o ON o.org_id = begin_request.org_id
		WHERE k.org_id = begin_request.org_id AND k.id = begin_request.key_id;
	IF principal_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP01', MESSAGE = 'unknown key';
	ELSIF revoked_at IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP03', MESSAGE = 'revoked key';
	ELSIF expires_at <= app.now() THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP02', MESSAGE = 'expired key';
	ELSIF org_state <> 'active' THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP06', MESSAGE = 'organisation suspended';
	ELSIF cidrs IS NOT NULL AND (begin_request.remote_addr <<= ANY (cidrs)) IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP05', MESSAGE = 'address not allowed';
	ELSIF (capability = 'any' OR capability = ANY (capabilities)) IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP04', MESSAGE = 'capability missing';
	END IF;
	done := set_config('app.principal_id', principal_id::text, true);
	done := set_config('app.key_id', key_id::text, true);
	done := set_config('app.printer_ids', coalesce(printer_ids::text, ''), true);
	done := set_config('app.request_id', coalesce(request_id, ''), true);
	done := set_config('app.remote_addr', coalesce(host(remote_addr), ''), true);
	IF key_limits IS NULL AND org_limits IS NULL THEN
		limit_read := 100;
		limit_write := 30;
		limit_control := 10;
		limit_burst := 20;
	ELSE
		limits := sec.effective_limits(key_limits, org_limits);
		limit_read := limits[1];
		limit_write := limits[2];
		limit_control := limits[3];
		limit_burst := limits[4];
	END IF;
END
$$;
GRANT EXECUTE ON FUNCTION sec.begin_request(bytea, text, text, inet, text) TO soloprint_api, soloprint_auth;

CREATE TABLE app.idempotency_keys (
	org_id uuid NOT NULL DEFAULT app.org(),
	key_id uuid NOT NULL DEFAULT app.key(),
	operation text NOT NULL,
	idem_key text NOT NULL CHECK (char_length(idem_key) BETWEEN 1 AND 255),
	fingerprint bytea NOT NULL,
	status int,
	headers jsonb,
	body bytea,
	sealed boolean NOT NULL DEFAULT false,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	expires_at timestamptz NOT NULL DEFAULT app.now() + '24 hours'::interval,
	CONSTRAINT idempotency_keys_pkey PRIMARY KEY (org_id, key_id, operation, idem_key),
	CONSTRAINT idempotency_keys_key_fkey FOREIGN KEY (org_id, key_id) REFERENCES app.api_keys (org_id, id) ON DELETE CASCADE
);
CREATE INDEX idempotency_keys_expiry ON app.idempotency_keys (org_id, expires_at);
ALTER TABLE app.idempotency_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.idempotency_keys
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT, UPDATE, DELETE ON app.idempotency_keys TO soloprint_api, soloprint_auth;

-- Claims an idempotency key for this transaction. Raises SLP30 when its reply is already stored (fetch it in a new
-- transaction), SLP31 while another request holds it, SLP32 when it was used with another body. An expired row counts
-- as absent; each claim also sweeps away two of the organisation's expired rows.
CREATE FUNCTION app.idem_claim(operation text, idem_key text, fingerprint bytea) RETURNS void
	LANGUAGE plpgsql
	AS $$
DECLARE
	org uuid := app.org();
	key uuid := app.key();
	seen app.idempotency_keys;
BEGIN
	IF NOT pg_try_advisory_xact_lock(hashtextextended(concat_ws('/', org, key, idem_claim.operation, idem_claim.idem_key), 0)) THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP31', MESSAGE = 'a request with this idempotency key is in progress';
	END IF;
	SELECT * INTO seen FROM app.idempotency_keys AS i WHERE i.org_id = org AND i.key_id = key
		AND i.operation = idem_claim.operation AND i.idem_key = idem_claim.idem_key AND i.expires_at > app.now();
	IF FOUND THEN
		IF seen.fingerprint <> idem_claim.fingerprint THEN
			RAISE EXCEPTION USING ERRCODE = 'SLP32', MESSAGE = 'idempotency key used with another body';
		ELSIF seen.status IS NULL THEN
			RAISE EXCEPTION USING ERRCODE = 'SLP31', MESSAGE = 'the outcome of this idempotency key is unknown';
		END IF;
		RAISE EXCEPTION USING ERRCODE = 'SLP30', MESSAGE = 'replay';
	END IF;
	DELETE FROM app.idempotency_keys AS i WHERE i.ctid = ANY (ARRAY(SELECT x.ctid FROM app.idempotency_keys AS x
		WHERE x.org_id = org AND x.expires_at <= app.now() LIMIT 2 FOR UPDATE SKIP LOCKED));
	INSERT INTO app.idempotency_keys (org_id, key_id, operation, idem_key, fingerprint)
		VALUES (org, key, idem_claim.operation, idem_claim.idem_key, idem_claim.fingerprint)
		ON CONFLICT ON CONSTRAINT idempotency_keys_pkey DO UPDATE SET fingerprint = excluded.fingerprint, status = NULL,
			headers = NULL, body = NULL, sealed = false, created_at = excluded.created_at,
			expires_at = excluded.expires_at;
END
$$;

-- Stores the reply beside the claim, in the same transaction as the effect.
CREATE FUNCTION app.idem_store(operation text, idem_key text, status int, headers jsonb, body bytea, sealed boolean)
	RETURNS void
	LANGUAGE plpgsql
	AS $$
BEGIN
	UPDATE app.idempotency_keys AS i SET status = idem_store.status, headers = idem_store.headers,
			body = idem_store.body, sealed = idem_store.sealed
		WHERE i.org_id = app.org() AND i.key_id = app.key() AND i.operation = idem_store.operation
		AND i.idem_key = idem_store.idem_key AND i.status IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP33', MESSAGE = 'no claim to store the reply with';
	END IF;
END
$$;

CREATE FUNCTION app.idem_fetch(operation text, idem_key text)
	RETURNS TABLE (fingerprint bytea, status int, headers jsonb, body bytea, sealed boolean)
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		SELECT i.fingerprint, i.status, i.headers, i.body, i.sealed FROM app.idempotency_keys AS i
			WHERE i.org_id = app.org() AND i.key_id = app.key() AND i.operation = idem_fetch.operation
			AND i.idem_key = idem_fetch.idem_key AND i.expires_at > app.now() AND i.status IS NOT NULL;
	END;
GRANT EXECUTE ON FUNCTION app.idem_claim(text, text, bytea), app.idem_store(text, text, int, jsonb, bytea, boolean),
	app.idem_fetch(text, text)
	TO soloprint_api, soloprint_auth;

COMMIT;
