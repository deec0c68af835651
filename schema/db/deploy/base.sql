-- Deploy soloprint:base to pg
-- Schemas and the small functions everything else is written with.

BEGIN;
SET LOCAL ROLE soloprint_owner;

CREATE SCHEMA app;
CREATE SCHEMA sec;
COMMENT ON SCHEMA app IS 'Tenant tables: org_id first, row level security forced.';
COMMENT ON SCHEMA sec IS 'SECURITY DEFINER functions, and routing indexes that hold ids but no tenant content.';
GRANT USAGE ON SCHEMA app, sec
	TO soloprint_api, soloprint_auth, soloprint_gateway, soloprint_courier, soloprint_migrator;

-- The only clock of the SQL. Tests move it: ALTER DATABASE … SET app.clock_offset = '1 day'.
CREATE FUNCTION app.now() RETURNS timestamptz
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN now() + coalesce(nullif(current_setting('app.clock_offset', true), '')::interval, '0'::interval);

-- The organisation this transaction speaks for; NULL outside of a request.
CREATE FUNCTION app.org() RETURNS uuid
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN nullif(current_setting('app.org_id', true), '')::uuid;

CREATE FUNCTION app.principal() RETURNS uuid
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN nullif(current_setting('app.principal_id', true), '')::uuid;

CREATE FUNCTION app.key() RETURNS uuid
	LANGUAGE sql STABLE PARALLEL SAFE
	RETURN nullif(current_setting('app.key_id', true), '')::uuid;

-- UUID version 7 (RFC 9562, method 3): 48 bits of Unix milliseconds, 12 bits of the fraction of a millisecond so that
-- ids made one after the other sort that way, 62 random bits. The last eight bytes of a version 4 have the variant.
CREATE FUNCTION app.uuid7() RETURNS uuid
	LANGUAGE sql VOLATILE PARALLEL SAFE
	RETURN (
		SELECT encode(substring(int8send(t.us / 1000) FROM 3) || substring(int4send(28672 + (t.us % 1000 * 4096 / 1000)::int) FROM 3)
			|| substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid
		FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) AS t);

-- What may be stored as rate limits: whole numbers from 1 to a million, or null.
CREATE FUNCTION app.are_limits(limits jsonb) RETURNS boolean
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	RETURN jsonb_typeof(limits) = 'object' AND NOT jsonb_path_exists(limits,
		'strict $.* ? (@.type() != "null" && (@.type() != "number" || @ < 1 || @ > 1000000 || @ != @.floor()))');

-- Raises from inside a SELECT: … WHERE version = $2 OR app.raise('SLP11', 'version mismatch').
CREATE FUNCTION app.raise(sqlstate text, message text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE
	AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = $1, MESSAGE = $2;
END
$$;

-- BEFORE UPDATE of configuration rows: counts changes, but not updates that change nothing. (has_secret is a generated
-- column, which BEFORE triggers see as NULL.)
CREATE FUNCTION app.bump_version() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF to_jsonb(NEW) - 'has_secret' <> to_jsonb(OLD) - 'has_secret' THEN
		NEW.version := OLD.version + 1;
		NEW.updated_at := app.now();
	END IF;
	RETURN NEW;
END
$$;

-- BEFORE UPDATE, DELETE or TRUNCATE of history tables.
CREATE FUNCTION app.append_only() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	RAISE EXCEPTION USING ERRCODE = 'SLP90', MESSAGE = format('%I is append-only', TG_TABLE_NAME);
END
$$;

GRANT EXECUTE ON FUNCTION app.now(), app.org(), app.principal(), app.key(), app.uuid7(), app.are_limits(jsonb),
	app.raise(text, text), app.bump_version(), app.append_only()
	TO soloprint_api, soloprint_auth, soloprint_gateway, soloprint_courier;

COMMIT;
