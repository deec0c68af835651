-- Deploy soloprint:printers to pg
-- requires: requests
-- Printers, their groups and their live status.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- What a provider's model can do. The empty model is the protocol's default.
CREATE TABLE app.provider_models (
	protocol text NOT NULL,
	model text NOT NULL,
	capabilities jsonb NOT NULL,
	CONSTRAINT provider_models_pkey PRIMARY KEY (protocol, model)
);
GRANT SELECT ON app.provider_models TO soloprint_api, soloprint_auth, soloprint_gateway, soloprint_courier;

CREATE FUNCTION app.printer_capabilities(protocol text, model text) RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL SAFE
	BEGIN ATOMIC
		SELECT m.capabilities FROM app.provider_models AS m
			WHERE m.protocol = printer_capabilities.protocol
			AND m.model IN ('', coalesce(printer_capabilities.model, ''))
			ORDER BY m.model DESC LIMIT 1;
	END;
GRANT EXECUTE ON FUNCTION app.printer_capabilities(text, text)
	TO soloprint_api, soloprint_auth, soloprint_gateway, soloprint_courier;

CREATE TABLE app.printer_groups (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
	description text,
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version int NOT NULL DEFAULT 1,
	CONSTRAINT printer_groups_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT printer_groups_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id)
);
CREATE UNIQUE INDEX printer_groups_name_key ON app.printer_groups (org_id, lower(name));
CREATE INDEX printer_groups_name ON app.printer_groups (org_id, name, id);
CREATE INDEX printer_groups_created ON app.printer_groups (org_id, created_at, id);
ALTER TABLE app.printer_groups ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.printer_groups
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid)
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid);
GRANT SELECT, INSERT (org_id, id, name, description), UPDATE (name, description), DELETE
	ON app.printer_groups TO soloprint_api;

-- features: app.printer_capabilities(protocol, model); groups: [{id, name}] of its groups by name. Both are kept by
-- triggers, so that lists need no lookup and a group's new name moves its printers' versions.
CREATE TABLE app.printers (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 200),
	protocol text NOT NULL CHECK (protocol IN ('bambu', 'moonraker', 'octoprint', 'prusalink')),
	model text CHECK (char_length(model) <= 200),
	host text CHECK (char_length(host) <= 255),
	port int CHECK (port BETWEEN 1 AND 65535),
	serial text CHECK (char_length(serial) BETWEEN 1 AND 200),
	secret_sealed bytea CHECK (octet_length(secret_sealed) <= 4096),
	has_secret boolean NOT NULL GENERATED ALWAYS AS (secret_sealed IS NOT NULL) STORED,
	bed_volume jsonb CHECK (jsonb_typeof(bed_volume) = 'object'),
	nozzles jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(nozzles) = 'array'),
	enclosure boolean,
	max_temperatures jsonb CHECK (jsonb_typeof(max_temperatures) = 'object'),
	location text CHECK (char_length(location) <= 1000),
	notes text CHECK (char_length(notes) <= 20000),
	tags text[] NOT NULL DEFAULT '{}',
	enabled boolean NOT NULL DEFAULT true,
	drain boolean NOT NULL DEFAULT false,
	maintenance boolean NOT NULL DEFAULT false,
	features jsonb NOT NULL,
	groups jsonb NOT NULL DEFAULT '[]',
	created_by uuid DEFAULT app.principal(),
	created_at timestamptz NOT NULL DEFAULT app.now(),
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	deleted_at timestamptz,
	version int NOT NULL DEFAULT 1,
	CONSTRAINT printers_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT printers_org_fkey FOREIGN KEY (org_id) REFERENCES app.organizations (org_id),
	CONSTRAINT printers_created_by_fkey FOREIGN KEY (org_id, created_by) REFERENCES app.principals (org_id, id)
);
CREATE UNIQUE INDEX printers_serial_key ON app.printers (org_id, serial) WHERE deleted_at IS NULL AND serial IS NOT NULL;
-- One index per sort order, with and without the model filter. Under row level security an index is only used through leakproof operators, which array
-- containment and ILIKE are not: tag and search filters run over these scans, bounded by one organisation's printers.
CREATE INDEX printers_name ON app.printers (org_id, name, id) WHERE deleted_at IS NULL;
CREATE INDEX printers_created ON app.printers (org_id, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX printers_updated ON app.printers (org_id, updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX printers_model_name ON app.printers (org_id, model, name, id) WHERE deleted_at IS NULL;
CREATE INDEX printers_model_created ON app.printers (org_id, model, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX printers_model_updated ON app.printers (org_id, model, updated_at, id) WHERE deleted_at IS NULL;
ALTER TABLE app.printers ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.printers
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT (org_id, id, name, protocol, model, host, port, serial, has_secret, bed_volume, nozzles, enclosure,
		max_temperatures, location, notes, tags, enabled, drain, maintenance, features, groups, created_by, created_at,
		updated_at, deleted_at, version),
	INSERT (org_id, id, name, protocol, model, host, port, serial, secret_sealed, bed_volume, nozzles, enclosure,
		max_temperatures, location, notes, tags, enabled, drain, maintenance),
	UPDATE (name, protocol, model, host, port, serial, secret_sealed, bed_volume, nozzles, enclosure,
		max_temperatures, location, notes, tags, enabled, drain, maintenance, deleted_at)
	ON app.printers TO soloprint_api;
GRANT SELECT ON app.printers TO soloprint_gateway;

CREATE TABLE app.printer_group_members (
	org_id uuid NOT NULL DEFAULT app.org(),
	group_id uuid NOT NULL,
	printer_id uuid NOT NULL,
	CONSTRAINT printer_group_members_pkey PRIMARY KEY (org_id, group_id, printer_id),
	CONSTRAINT printer_group_members_group_fkey FOREIGN KEY (org_id, group_id)
		REFERENCES app.printer_groups (org_id, id) ON DELETE CASCADE,
	CONSTRAINT printer_group_members_printer_fkey FOREIGN KEY (org_id, printer_id)
		REFERENCES app.printers (org_id, id) ON DELETE CASCADE
);
CREATE INDEX printer_group_members_printer ON app.printer_group_members (org_id, printer_id, group_id);
ALTER TABLE app.printer_group_members ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.printer_group_members
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT, INSERT, DELETE ON app.printer_group_members TO soloprint_api;

-- Written often, by the gateway only, which also counts `version` up at each change it writes.
CREATE TABLE app.printer_status (
	org_id uuid NOT NULL DEFAULT app.org(),
	printer_id uuid NOT NULL,
	state text NOT NULL DEFAULT 'offline'
		CHECK (state IN ('offline', 'idle', 'preparing', 'printing', 'paused', 'finished', 'failed', 'error')),
	connection jsonb NOT NULL,
	job jsonb,
	temperatures jsonb,
	fans jsonb,
	speed jsonb,
	lights jsonb,
	ams jsonb,
	errors jsonb NOT NULL DEFAULT '[]',
	wifi jsonb,
	firmware jsonb,
	extra jsonb,
	last_seen_at timestamptz,
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	version bigint NOT NULL DEFAULT 0,
	CONSTRAINT printer_status_pkey PRIMARY KEY (org_id, printer_id),
	CONSTRAINT printer_status_printer_fkey FOREIGN KEY (org_id, printer_id)
		REFERENCES app.printers (org_id, id) ON DELETE CASCADE
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX printer_status_state ON app.printer_status (org_id, state, printer_id);
ALTER TABLE app.printer_status ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.printer_status
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT ON app.printer_status TO soloprint_api;
GRANT SELECT, UPDATE (state, connection, job, temperatures, fans, speed, lights, ams, errors, wifi, firmware, extra,
		last_seen_at, updated_at, version)
	ON app.printer_status TO soloprint_gateway;

-- Work list and leases of the gateways; no tenant content.
CREATE TABLE sec.printer_index (
	printer_id uuid PRIMARY KEY,
	org_id uuid NOT NULL,
	protocol text NOT NULL,
	enabled boolean NOT NULL,
	config_version int NOT NULL,
	refresh_requested_at timestamptz,
	gateway_id uuid,
	fencing bigint NOT NULL DEFAULT 0,
	expires_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX printer_index_gateway ON sec.printer_index (gateway_id);
GRANT SELECT, UPDATE (refresh_requested_at, gateway_id, fencing, expires_at) ON sec.printer_index TO soloprint_gateway;

CREATE TABLE sec.gateways (
	id uuid PRIMARY KEY,
	name text NOT NULL,
	started_at timestamptz NOT NULL,
	heartbeat_at timestamptz NOT NULL,
	sessions int NOT NULL DEFAULT 0
);
GRANT SELECT, INSERT, UPDATE, DELETE ON sec.gateways TO soloprint_gateway;

-- Derived columns; a deleted printer keeps neither its secret nor its serial number's place.
CREATE FUNCTION app.derive_printer() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	NEW.features := coalesce(app.printer_capabilities(NEW.protocol, NEW.model), '{}');
	IF NEW.deleted_at IS NOT NULL THEN
		NEW.secret_sealed := NULL;
		NEW.enabled := false;
	END IF;
	RETURN NEW;
END
$$;

-- A key limited to some printers cannot make new ones.
CREATE FUNCTION app.guard_new_printer() RETURNS trigger
	LANGUAGE plpgsql
	AS $$
BEGIN
	IF nullif(current_setting('app.printer_ids', true), '') IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP04', MESSAGE = 'this key is limited to a list of printers';
	END IF;
	RETURN NEW;
END
$$;
GRANT EXECUTE ON FUNCTION app.derive_printer(), app.guard_new_printer() TO soloprint_api;

CREATE FUNCTION sec.index_printer() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP = 'DELETE' OR NEW.deleted_at IS NOT NULL THEN
		DELETE FROM sec.printer_index WHERE printer_id = OLD.id;
		PERFORM pg_notify('printer_changed', OLD.id::text);
		RETURN NULL;
	END IF;
	INSERT INTO sec.printer_index AS i (printer_id, org_id, protocol, enabled, config_version)
		VALUES (NEW.id, NEW.org_id, NEW.protocol, NEW.enabled, NEW.version)
		ON CONFLICT (printer_id) DO UPDATE
		SET protocol = excluded.protocol, enabled = excluded.enabled, config_version = excluded.config_version;
	PERFORM pg_notify('printer_changed', NEW.id::text);
	RETURN NULL;
END
$$;

-- The status row that comes with a printer, and goes dark with it.
CREATE FUNCTION sec.start_printer_status() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	connection jsonb := jsonb_build_object('state', 'disconnected', 'reason', 'no_gateway',
		'message', 'No gateway has taken up this printer yet.', 'since', app.now());
BEGIN
	IF NOT NEW.enabled THEN
		connection := jsonb_build_object('state', 'disabled', 'reason', 'disabled',
			'message', 'The printer is switched off in its settings.', 'since', app.now());
	END IF;
	INSERT INTO app.printer_status (org_id, printer_id, connection) VALUES (NEW.org_id, NEW.id, connection);
	RETURN NULL;
END
$$;

-- A deleted printer leaves its groups.
CREATE FUNCTION sec.leave_groups() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	DELETE FROM app.printer_group_members AS m WHERE m.org_id = NEW.org_id AND m.printer_id = NEW.id;
	RETURN NULL;
END
$$;

-- What printers.groups holds. The caller speaks for the organisation and sees all of its printers.
CREATE FUNCTION sec.groups_of(org uuid, printer uuid) RETURNS jsonb
	LANGUAGE sql STABLE
	BEGIN ATOMIC
		SELECT coalesce(jsonb_agg(jsonb_build_object('id', g.id, 'name', g.name) ORDER BY g.name), '[]')
			FROM app.printer_group_members AS m JOIN app.printer_groups AS g ON g.org_id = m.org_id AND g.id = m.group_id
			WHERE m.org_id = org AND m.printer_id = printer;
	END;

-- Membership is part of a printer's configuration: its version moves and the change is recorded, unless the printer
-- itself was made or deleted in this transaction. The group's deletion reaches printers the acting key cannot see.
CREATE FUNCTION sec.record_membership() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	seen text := coalesce(current_setting('app.printer_ids', true), '');
	what text := CASE TG_OP WHEN 'INSERT' THEN 'added' ELSE 'removed' END;
	p record;
	known boolean;
BEGIN
	PERFORM set_config('app.printer_ids', '', true);
	FOR p IN SELECT m.org_id, m.printer_id, jsonb_agg(m.group_id ORDER BY m.group_id) AS groups
			FROM moved AS m GROUP BY m.org_id, m.printer_id ORDER BY m.printer_id LOOP
		UPDATE app.printers AS x SET updated_at = clock_timestamp(), groups = sec.groups_of(p.org_id, p.printer_id)
			WHERE x.org_id = p.org_id AND x.id = p.printer_id AND x.deleted_at IS NULL
			RETURNING x.created_at <> app.now() INTO known;
		IF FOUND AND known THEN
			PERFORM sec.record(p.org_id, 'updated', 'printer', p.printer_id,
				jsonb_build_object('group_ids', jsonb_build_object(what, p.groups)), 'operations.read',
				(SELECT x.name FROM app.printers AS x WHERE x.org_id = p.org_id AND x.id = p.printer_id));
		END IF;
	END LOOP;
	PERFORM set_config('app.printer_ids', seen, true);
	RETURN NULL;
END
$$;

-- A group's new name is shown by its printers, also by those that the acting key cannot see.
CREATE FUNCTION sec.rename_group() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	seen text := coalesce(current_setting('app.printer_ids', true), '');
BEGIN
	PERFORM set_config('app.printer_ids', '', true);
	UPDATE app.printers AS x SET groups = sec.groups_of(x.org_id, x.id)
		WHERE x.org_id = NEW.org_id AND x.deleted_at IS NULL AND x.id IN (SELECT m.printer_id
			FROM app.printer_group_members AS m WHERE m.org_id = NEW.org_id AND m.group_id = NEW.id);
	PERFORM set_config('app.printer_ids', seen, true);
	RETURN NULL;
END
$$;
CREATE TRIGGER rename AFTER UPDATE ON app.printer_groups
	FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION sec.rename_group();

CREATE TRIGGER bump_version BEFORE UPDATE ON app.printer_groups
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON app.printer_groups
	FOR EACH ROW EXECUTE FUNCTION sec.audit('printer_group', 'operations.read');

CREATE TRIGGER a_guard BEFORE INSERT ON app.printers
	FOR EACH ROW EXECUTE FUNCTION app.guard_new_printer();
CREATE TRIGGER b_derive BEFORE INSERT OR UPDATE OF protocol, model, deleted_at ON app.printers
	FOR EACH ROW EXECUTE FUNCTION app.derive_printer();
CREATE TRIGGER bump_version BEFORE UPDATE ON app.printers
	FOR EACH ROW EXECUTE FUNCTION app.bump_version();
CREATE TRIGGER audit AFTER INSERT OR DELETE ON app.printers
	FOR EACH ROW EXECUTE FUNCTION sec.audit('printer', 'operations.read');
CREATE TRIGGER audit_update AFTER UPDATE ON app.printers
	FOR EACH ROW WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION sec.audit('printer', 'operations.read');
CREATE TRIGGER index AFTER INSERT OR DELETE ON app.printers
	FOR EACH ROW EXECUTE FUNCTION sec.index_printer();
CREATE TRIGGER index_update AFTER UPDATE ON app.printers
	FOR EACH ROW WHEN (OLD.version <> NEW.version) EXECUTE FUNCTION sec.index_printer();
CREATE TRIGGER leave_groups AFTER UPDATE OF deleted_at ON app.printers
	FOR EACH ROW WHEN (OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL) EXECUTE FUNCTION sec.leave_groups();
CREATE TRIGGER start_status AFTER INSERT ON app.printers
	FOR EACH ROW EXECUTE FUNCTION sec.start_printer_status();

CREATE TRIGGER audit AFTER INSERT ON app.printer_group_members REFERENCING NEW TABLE AS moved
	FOR EACH STATEMENT EXECUTE FUNCTION sec.record_membership();
CREATE TRIGGER audit_delete AFTER DELETE ON app.printer_group_members REFERENCING OLD TABLE AS moved
	FOR EACH STATEMENT EXECUTE FUNCTION sec.record_membership();

-- Asks the gateway for a full report. SLP10: no such printer for this key; SLP20: it is not connected.
CREATE FUNCTION sec.request_refresh(printer_id uuid) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	connection text;
BEGIN
	SELECT s.connection ->> 'state' INTO connection
		FROM app.printers AS p JOIN app.printer_status AS s ON s.org_id = p.org_id AND s.printer_id = p.id
		WHERE p.org_id = app.org() AND p.id = request_refresh.printer_id AND p.deleted_at IS NULL;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP10', MESSAGE = 'no such printer';
	ELSIF connection <> 'connected' THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP20', MESSAGE = 'the printer is not connected';
	END IF;
	UPDATE sec.printer_index AS i SET refresh_requested_at = app.now() WHERE i.printer_id = request_refresh.printer_id;
	PERFORM pg_notify('printer_refresh', printer_id::text);
END
$$;
GRANT EXECUTE ON FUNCTION sec.request_refresh(uuid) TO soloprint_api;

-- For the health page: how many gateways have reported within 15 s, when the last one did, and their sessions.
CREATE FUNCTION sec.gateway_health(OUT alive int, OUT last_heartbeat_at timestamptz, OUT sessions int)
	LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT count(*) FILTER (WHERE g.heartbeat_at > now() - '15 s'::interval)::int, max(g.heartbeat_at),
			coalesce(sum(g.sessions) FILTER (WHERE g.heartbeat_at > now() - '15 s'::interval), 0)::int
			FROM sec.gateways AS g;
	END;
GRANT EXECUTE ON FUNCTION sec.gateway_health() TO soloprint_api, soloprint_auth, soloprint_migrator;

INSERT INTO app.provider_models (protocol, model, capabilities)
	SELECT 'bambu', m.model, jsonb_build_object('status', true, 'pause', true, 'resume', true, 'stop', true,
		'set_temperatures', true, 'fans', true, 'light', true, 'speed', true, 'skip_objects', true, 'ams', true,
		'camera', m.camera, 'chamber_temperature', m.chamber, 'upload', true, 'gcode', true)
	FROM (VALUES ('', NULL, false), ('X1C', 'rtsp', true), ('X1', 'rtsp', true), ('X1E', 'rtsp', true),
		('P1P', 'jpeg', false), ('P1S', 'jpeg', false), ('P2S', 'rtsp', true), ('A1', 'jpeg', false),
		('A1 mini', 'jpeg', false), ('A2L', 'jpeg', false), ('H2D', 'rtsp', true), ('H2C', 'rtsp', true),
		('H2S', 'rtsp', true), ('X2D', 'rtsp', true)) AS m (model, camera, chamber);
INSERT INTO app.provider_models (protocol, model, capabilities) VALUES
	('moonraker', '', '{"status": true, "pause": true, "resume": true, "stop": true, "set_temperatures": true, "fans": true, "light": false, "speed": true, "skip_objects": true, "ams": false, "camera": null, "chamber_temperature": true, "upload": true, "gcode": true}'),
	('octoprint', '', '{"status": true, "pause": true, "resume": true, "stop": true, "set_temperatures": true, "fans": true, "light": false, "speed": true, "skip_objects": false, "ams": false, "camera": null, "chamber_temperature": true, "upload": true, "gcode": true}'),
	('prusalink', '', '{"status": true, "pause": true, "resume": true, "stop": true, "set_temperatures": false, "fans": false, "light": false, "speed": false, "skip_objects": false, "ams": false, "camera": null, "chamber_temperature": false, "upload": true, "gcode": false}');

COMMIT;
