-- Deploy soloprint:printer_tasks to pg
-- requires: profiles
-- What gateways are asked to do: commands and files for printers, and errands that belong to none yet. Clients see a row
-- of app.jobs, the operation; the gateway that holds the printer's lease does it. A task is begun once: whoever takes a
-- printer over watches what its predecessor began and repeats nothing but uploads.

BEGIN;
SET LOCAL ROLE soloprint_owner;

-- What each provider can be asked for; a model or a configuration may lack it still, which the gateway then says.
UPDATE app.provider_models SET capabilities = capabilities || '{"emergency_stop": true, "home": true, "jog": true,
		"load_filament": true, "unload_filament": true, "clear_error": true, "firmware_restart": false}'
	WHERE protocol = 'bambu';
UPDATE app.provider_models SET capabilities = capabilities || '{"emergency_stop": true, "home": true, "jog": true,
		"light": true, "load_filament": true, "unload_filament": true, "clear_error": true, "firmware_restart": true}'
	WHERE protocol = 'moonraker';
UPDATE app.provider_models SET capabilities = capabilities || '{"emergency_stop": true, "home": true, "jog": true,
		"load_filament": false, "unload_filament": false, "clear_error": true, "firmware_restart": true}'
	WHERE protocol = 'octoprint';
UPDATE app.provider_models SET capabilities = capabilities || '{"emergency_stop": false, "home": false, "jog": false,
		"load_filament": false, "unload_filament": false, "clear_error": false, "firmware_restart": false}'
	WHERE protocol = 'prusalink';

DO $$
DECLARE
	org uuid;
BEGIN
	FOR org IN SELECT i.org_id FROM sec.org_index AS i LOOP
		PERFORM pg_catalog.set_config('app.org_id', org::text, true);
		UPDATE app.printers AS p SET features = coalesce(app.printer_capabilities(p.protocol, p.model), '{}')
			WHERE p.org_id = org;
	END LOOP;
	PERFORM pg_catalog.set_config('app.org_id', '', true);
END
$$;

CREATE SEQUENCE sec.task_numbers AS int MINVALUE 1 CYCLE;

-- phase: waiting, begun, starting (a start was given to the printer, or is about to be). gateway_id and fencing: who began
-- it, under which token of the printer's lease. number: of a start, as printers can carry it (positive, below 2^31).
CREATE TABLE sec.printer_tasks (
	job_id uuid PRIMARY KEY,
	org_id uuid NOT NULL,
	printer_id uuid,
	kind text NOT NULL,
	seq bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	number int NOT NULL DEFAULT nextval('sec.task_numbers'),
	urgent boolean NOT NULL,
	expires_at timestamptz NOT NULL,
	phase text NOT NULL DEFAULT 'waiting' CHECK (phase IN ('waiting', 'begun', 'starting')),
	gateway_id uuid,
	fencing bigint,
	CONSTRAINT printer_tasks_begun_check CHECK ((phase = 'waiting') = (gateway_id IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX printer_tasks_next ON sec.printer_tasks (printer_id, urgent DESC, seq);
CREATE INDEX printer_tasks_expiry ON sec.printer_tasks (expires_at);
CREATE INDEX printer_tasks_org ON sec.printer_tasks (org_id);
GRANT SELECT ON sec.printer_tasks TO soloprint_gateway;

-- How things stand between gateway and printer: {round_trip_ms, reports_per_min, …}, for diagnostics.
ALTER TABLE app.printer_status ADD COLUMN link jsonb CHECK (jsonb_typeof(link) = 'object');
GRANT UPDATE (link) ON app.printer_status TO soloprint_gateway;

-- Jobs of gateways are no couriers' work.
CREATE OR REPLACE FUNCTION sec.index_job() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF TG_OP = 'DELETE' THEN
		DELETE FROM sec.job_index AS i WHERE i.job_id = OLD.id;
		DELETE FROM sec.printer_tasks AS t WHERE t.job_id = OLD.id;
		RETURN NULL;
	END IF;
	IF NEW.kind LIKE 'printer.%' THEN
		RETURN NULL;
	END IF;
	INSERT INTO sec.job_index (job_id, org_id, kind, priority, run_after, ready)
		VALUES (NEW.id, NEW.org_id, NEW.kind, NEW.priority, NEW.run_after, NEW.run_after <= app.now());
	IF NEW.run_after <= app.now() THEN
		PERFORM pg_notify('job_ready', NEW.kind);
	END IF;
	RETURN NULL;
END
$$;

-- Ends a task whatever its phase; the caller holds the lock of its row. A job that waited passes through `running`: the
-- legal ways are few.
CREATE FUNCTION sec.task_settle(task sec.printer_tasks, outcome text, result jsonb, error jsonb) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM set_config('app.org_id', task.org_id::text, true);
	IF outcome <> 'cancelled' THEN
		UPDATE app.jobs AS j SET state = 'running', attempts = 1, started_at = app.now()
			WHERE j.org_id = task.org_id AND j.id = task.job_id AND j.state = 'queued';
	END IF;
	UPDATE app.jobs AS j SET state = outcome, params = '{}', result = task_settle.result, error = task_settle.error,
			finished_at = app.now()
		WHERE j.org_id = task.org_id AND j.id = task.job_id AND j.finished_at IS NULL;
	DELETE FROM sec.printer_tasks AS t WHERE t.job_id = task.job_id;
	PERFORM set_config('app.org_id', '', true);
END
$$;

CREATE FUNCTION sec.task_fail(task sec.printer_tasks, code text, message text) RETURNS void
	LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	BEGIN ATOMIC
		SELECT sec.task_settle(task, 'failed', NULL, jsonb_build_object('code', code, 'message', message));
	END;

-- Asks the gateway for something and returns the operation. kind: printer.command (params as the contract has a command),
-- printer.send. patience: it is not begun later than that. Raises SLP10 no such printer for this key, SLP20 not
-- connected, SLP50 the provider cannot, SLP51 busy, SLP52 in maintenance.
CREATE FUNCTION sec.task_create(printer uuid, kind text, params jsonb, patience interval, urgent boolean) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	p record;
	id uuid;
	ability text := CASE kind WHEN 'printer.send' THEN 'upload' ELSE params ->> 'command' END;
	starts boolean := kind = 'printer.send' AND coalesce((params ->> 'start')::boolean, true);
BEGIN
	SELECT x.name, x.features, x.maintenance, s.state, s.connection ->> 'state' AS connection INTO p
		FROM app.printers AS x JOIN app.printer_status AS s ON s.org_id = x.org_id AND s.printer_id = x.id
		WHERE x.org_id = app.org() AND x.id = printer AND x.deleted_at IS NULL FOR NO KEY UPDATE OF x;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP10', MESSAGE = 'no such printer';
	ELSIF (p.features -> ability = 'true') IS NOT TRUE THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP50', MESSAGE = 'the provider cannot do this';
	ELSIF p.connection <> 'connected' THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP20', MESSAGE = 'the printer is not connected';
	ELSIF starts AND p.maintenance THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP52', MESSAGE = 'the printer is in maintenance';
	ELSIF starts AND p.state IN ('preparing', 'printing', 'paused')
			OR kind = 'printer.send' AND EXISTS (SELECT FROM sec.printer_tasks AS t
				WHERE t.printer_id = printer AND t.kind = 'printer.send')
			OR (SELECT count(*) FROM sec.printer_tasks AS t WHERE t.printer_id = printer) >= 64 THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP51', MESSAGE = 'the printer is busy';
	END IF;
	INSERT INTO app.jobs (kind, visible, params, resource_type, resource_id, max_attempts)
		VALUES (task_create.kind, true, task_create.params, 'printer', printer, 1) RETURNING app.jobs.id INTO id;
	INSERT INTO sec.printer_tasks (job_id, org_id, printer_id, kind, urgent, expires_at)
		VALUES (id, app.org(), printer, task_create.kind, task_create.urgent, app.now() + patience);
	PERFORM sec.record(app.org(), CASE kind WHEN 'printer.send' THEN 'sent' ELSE 'commanded' END, 'printer', printer,
		params || jsonb_build_object('operation_id', id), '', p.name);
	PERFORM pg_notify('printer_task', printer::text);
	RETURN id;
END
$$;

-- Asks any gateway for something that belongs to no printer yet: printer.test, printer.discover. The id is given, since
-- a sealed secret is bound to it. Raises SLP54 when the organization has many of them open.
CREATE FUNCTION sec.task_create_any(id uuid, kind text, params jsonb, patience interval) RETURNS uuid
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	IF (SELECT count(*) FROM sec.printer_tasks AS t WHERE t.org_id = app.org() AND t.printer_id IS NULL) >= 8 THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP54', MESSAGE = 'too many operations are open';
	END IF;
	INSERT INTO app.jobs (id, kind, visible, params, max_attempts)
		VALUES (task_create_any.id, task_create_any.kind, true, task_create_any.params, 1);
	INSERT INTO sec.printer_tasks (job_id, org_id, kind, urgent, expires_at)
		VALUES (task_create_any.id, app.org(), task_create_any.kind, false, app.now() + patience);
	PERFORM pg_notify('printer_task', '');
	RETURN task_create_any.id;
END
$$;
GRANT EXECUTE ON FUNCTION sec.task_create(uuid, text, jsonb, interval, boolean),
	sec.task_create_any(uuid, text, jsonb, interval) TO soloprint_api;

-- A task as a gateway gets it. resumed: another began it, or this one under an earlier lease: it is to be watched.
CREATE TYPE sec.task AS (
	org_id uuid, job_id uuid, printer_id uuid, fencing bigint, kind text, number int, phase text, patience_ms bigint,
	resumed boolean, cancelled boolean, params jsonb, filename text, file_kind text, size_bytes bigint, sha256 text, blob_id uuid, blob_location text
);

CREATE FUNCTION sec.task_read(task sec.printer_tasks, resumed boolean) RETURNS sec.task
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	out sec.task;
BEGIN
	PERFORM set_config('app.org_id', task.org_id::text, true);
	UPDATE app.jobs AS j SET state = 'running', attempts = 1, started_at = app.now()
		WHERE j.org_id = task.org_id AND j.id = task.job_id AND j.state = 'queued';
	SELECT task.org_id, task.job_id, task.printer_id, task.fencing, task.kind, task.number, task.phase,
			(extract(epoch FROM task.expires_at - app.now()) * 1000)::bigint, task_read.resumed, j.cancel_requested_at IS NOT NULL, j.params, f.filename, f.kind, f.size_bytes, encode(f.sha256, 'hex'),
			b.id, b.location
		INTO out
		FROM app.jobs AS j
		LEFT JOIN app.files AS f ON f.org_id = task.org_id AND f.id = (j.params ->> 'file_id')::uuid AND f.deleted_at IS NULL
		LEFT JOIN app.blobs AS b ON b.org_id = task.org_id AND b.id = f.blob_id
		WHERE j.org_id = task.org_id AND j.id = task.job_id;
	PERFORM set_config('app.org_id', '', true);
	RETURN out;
END
$$;

-- What there is to do for the printers that this gateway holds (all of them, or those named): tasks of a predecessor,
-- those it was given and knows nothing of, cancelled ones, and the next one of each printer. One command at a time and one
-- send at a time, in the order in which they were asked for; urgent ones wait for nobody.
CREATE FUNCTION sec.task_take(gateway uuid, printers uuid[], known uuid[]) RETURNS SETOF sec.task
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	i record;
	t sec.printer_tasks;
	send boolean;
BEGIN
	FOR i IN SELECT x.printer_id, x.fencing FROM sec.printer_index AS x
			WHERE x.gateway_id = gateway AND x.expires_at > now() AND (printers IS NULL OR x.printer_id = ANY (printers))
			AND x.printer_id IN (SELECT y.printer_id FROM sec.printer_tasks AS y) ORDER BY x.printer_id FOR SHARE LOOP
		FOR t IN UPDATE sec.printer_tasks AS x SET gateway_id = gateway, fencing = i.fencing
				WHERE x.printer_id = i.printer_id AND x.phase <> 'waiting' AND (x.gateway_id <> gateway
					OR x.fencing <> i.fencing OR x.job_id <> ALL (known)) RETURNING x.* LOOP
			RETURN NEXT sec.task_read(t, true);
		END LOOP;
		FOR t IN SELECT x.* FROM sec.printer_tasks AS x WHERE x.printer_id = i.printer_id AND x.phase = 'waiting'
				AND x.expires_at <= app.now() FOR UPDATE LOOP
			PERFORM sec.task_fail(t, 'expired', 'It could not be begun in time.');
		END LOOP;
		LOOP
			UPDATE sec.printer_tasks AS x SET phase = 'begun', gateway_id = gateway, fencing = i.fencing
				WHERE x.job_id = (SELECT y.job_id FROM sec.printer_tasks AS y
					WHERE y.printer_id = i.printer_id AND y.phase = 'waiting' AND (y.urgent OR NOT EXISTS (
						SELECT FROM sec.printer_tasks AS z WHERE z.printer_id = i.printer_id AND z.phase <> 'waiting'
						AND (z.kind = 'printer.send') = (y.kind = 'printer.send')))
					ORDER BY y.urgent DESC, y.seq LIMIT 1 FOR UPDATE)
				RETURNING x.* INTO t;
			EXIT WHEN NOT FOUND;
			RETURN NEXT sec.task_read(t, false);
		END LOOP;
		FOR t IN SELECT x.* FROM sec.printer_tasks AS x WHERE x.printer_id = i.printer_id AND x.job_id = ANY (known) LOOP
			PERFORM set_config('app.org_id', t.org_id::text, true);
			IF EXISTS (SELECT FROM app.jobs AS j WHERE j.org_id = t.org_id AND j.id = t.job_id
					AND j.cancel_requested_at IS NOT NULL) THEN
				RETURN NEXT sec.task_read(t, true);
			END IF;
		END LOOP;
	END LOOP;
	PERFORM set_config('app.org_id', '', true);
END
$$;

-- The same for errands of no printer, at most so many. What a gateway began that has been silent since is lost.
CREATE FUNCTION sec.task_take_any(gateway uuid, most int, silence interval) RETURNS SETOF sec.task
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	t sec.printer_tasks;
BEGIN
	FOR t IN SELECT x.* FROM sec.printer_tasks AS x WHERE x.printer_id IS NULL AND x.phase <> 'waiting'
			AND NOT EXISTS (SELECT FROM sec.gateways AS g WHERE g.id = x.gateway_id AND g.heartbeat_at > now() - silence)
			FOR UPDATE SKIP LOCKED LOOP
		PERFORM sec.task_fail(t, 'gateway_lost', 'The gateway that did this has stopped; try again.');
	END LOOP;
	FOR t IN UPDATE sec.printer_tasks AS x SET phase = 'begun', gateway_id = gateway, fencing = 0
			WHERE x.job_id IN (SELECT y.job_id FROM sec.printer_tasks AS y WHERE y.printer_id IS NULL
				AND y.phase = 'waiting' AND y.expires_at > app.now() ORDER BY y.seq LIMIT most FOR UPDATE SKIP LOCKED)
			RETURNING x.* LOOP
		RETURN NEXT sec.task_read(t, false);
	END LOOP;
END
$$;

-- Whether this gateway may still act on the task, under the token it had; the lock keeps it so until the commit.
CREATE FUNCTION sec.task_held(gateway uuid, job uuid, fencing bigint, OUT task sec.printer_tasks)
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	PERFORM FROM sec.printer_index AS i JOIN sec.printer_tasks AS t ON t.printer_id = i.printer_id
		WHERE t.job_id = job FOR SHARE OF i;
	SELECT t.* INTO task FROM sec.printer_tasks AS t WHERE t.job_id = job AND t.gateway_id = gateway
		AND t.fencing = task_held.fencing AND (t.printer_id IS NULL OR EXISTS (SELECT FROM sec.printer_index AS i
			WHERE i.printer_id = t.printer_id AND i.gateway_id = gateway AND i.fencing = t.fencing)) FOR UPDATE;
END
$$;

-- From here on the printer may have been told to start. False: the task is not this gateway's any more, or was cancelled.
CREATE FUNCTION sec.task_starting(gateway uuid, job uuid, fencing bigint) RETURNS boolean
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	t sec.printer_tasks := sec.task_held(gateway, job, fencing);
	cancelled boolean;
BEGIN
	IF t.job_id IS NULL THEN
		RETURN false;
	END IF;
	PERFORM set_config('app.org_id', t.org_id::text, true);
	SELECT j.cancel_requested_at IS NOT NULL INTO cancelled FROM app.jobs AS j
		WHERE j.org_id = t.org_id AND j.id = job FOR UPDATE;
	PERFORM set_config('app.org_id', '', true);
	IF NOT cancelled THEN
		UPDATE sec.printer_tasks AS x SET phase = 'starting' WHERE x.job_id = job;
	END IF;
	RETURN NOT cancelled;
END
$$;

CREATE FUNCTION sec.task_progress(gateway uuid, job uuid, fencing bigint, progress jsonb) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	t sec.printer_tasks := sec.task_held(gateway, job, fencing);
BEGIN
	IF t.job_id IS NOT NULL THEN
		PERFORM set_config('app.org_id', t.org_id::text, true);
		UPDATE app.jobs AS j SET progress = task_progress.progress
			WHERE j.org_id = t.org_id AND j.id = job AND j.state = 'running';
		PERFORM set_config('app.org_id', '', true);
	END IF;
END
$$;

-- outcome: succeeded, failed, cancelled. False: the task is not this gateway's any more.
CREATE FUNCTION sec.task_end(gateway uuid, job uuid, fencing bigint, outcome text, result jsonb, error jsonb) RETURNS boolean
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	t sec.printer_tasks := sec.task_held(gateway, job, fencing);
BEGIN
	IF t.job_id IS NULL THEN
		RETURN false;
	END IF;
	PERFORM sec.task_settle(t, outcome, result, error);
	RETURN true;
END
$$;

-- What nobody can begin any more, and what was begun for a printer that is gone.
CREATE FUNCTION sec.tasks_expire() RETURNS int
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	t sec.printer_tasks;
	n int := 0;
BEGIN
	FOR t IN SELECT x.* FROM sec.printer_tasks AS x WHERE x.expires_at <= app.now() AND (x.phase = 'waiting'
			OR x.printer_id IS NOT NULL AND NOT EXISTS (SELECT FROM sec.printer_index AS i WHERE i.printer_id = x.printer_id))
			ORDER BY x.job_id LIMIT 100 FOR UPDATE SKIP LOCKED LOOP
		IF t.phase = 'waiting' THEN
			PERFORM sec.task_fail(t, 'expired', 'It could not be begun in time.');
		ELSE
			PERFORM sec.task_fail(t, 'printer_gone', 'The printer was removed meanwhile.');
		END IF;
		n := n + 1;
	END LOOP;
	RETURN n;
END
$$;
GRANT EXECUTE ON FUNCTION sec.task_take(uuid, uuid[], uuid[]), sec.task_take_any(uuid, int, interval),
	sec.task_starting(uuid, uuid, bigint), sec.task_progress(uuid, uuid, bigint, jsonb),
	sec.task_end(uuid, uuid, bigint, text, jsonb, jsonb) TO soloprint_gateway;
GRANT EXECUTE ON FUNCTION sec.tasks_expire() TO soloprint_gateway, soloprint_courier;
GRANT USAGE ON TYPE sec.task TO soloprint_gateway;
INSERT INTO sec.timers (name, every) VALUES ('tasks_expire', '1 minute');

-- As before for couriers' jobs. A gateway's task that waits goes at once; one that was begun is told.
CREATE OR REPLACE FUNCTION sec.job_cancel(job uuid) RETURNS void
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
DECLARE
	org uuid := app.org();
	was text;
	printer uuid;
BEGIN
	PERFORM FROM sec.job_index AS i WHERE i.job_id = job AND i.org_id = org FOR UPDATE;
	SELECT t.printer_id INTO printer FROM sec.printer_tasks AS t WHERE t.job_id = job AND t.org_id = org FOR UPDATE;
	SELECT j.state INTO was FROM app.jobs AS j WHERE j.org_id = org AND j.id = job AND j.visible FOR UPDATE;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING ERRCODE = 'SLP10', MESSAGE = 'no such operation';
	ELSIF was = 'queued' THEN
		UPDATE app.jobs AS j SET state = 'cancelled', cancel_requested_at = app.now(), finished_at = app.now(), error = NULL
			WHERE j.org_id = org AND j.id = job;
		UPDATE sec.job_index AS i SET run_after = app.now(), ready = true WHERE i.job_id = job;
		DELETE FROM sec.printer_tasks AS t WHERE t.job_id = job;
		PERFORM pg_notify('job_ready', '');
	ELSIF was = 'running' THEN
		UPDATE app.jobs AS j SET cancel_requested_at = coalesce(j.cancel_requested_at, app.now())
			WHERE j.org_id = org AND j.id = job;
		IF printer IS NOT NULL THEN
			PERFORM pg_notify('printer_task', printer::text);
		END IF;
	ELSE
		RAISE EXCEPTION USING ERRCODE = 'SLP43', MESSAGE = 'the operation has ended';
	END IF;
END
$$;

-- Prints as printers show them, whoever started them. One row per job of a printer, kept by the gateway that saw it.
CREATE TABLE app.prints (
	org_id uuid NOT NULL DEFAULT app.org(),
	id uuid NOT NULL DEFAULT app.uuid7(),
	printer_id uuid NOT NULL,
	state text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'completed', 'cancelled', 'failed', 'unknown')),
	source text NOT NULL CHECK (source IN ('printer', 'send', 'queue')),
	name text CHECK (char_length(name) <= 400),
	filename text CHECK (char_length(filename) <= 400),
	file_id uuid,
	operation_id uuid,
	progress real CHECK (progress BETWEEN 0 AND 100),
	started_at timestamptz NOT NULL,
	ended_at timestamptz,
	updated_at timestamptz NOT NULL DEFAULT app.now(),
	CONSTRAINT prints_pkey PRIMARY KEY (org_id, id),
	CONSTRAINT prints_printer_fkey FOREIGN KEY (org_id, printer_id) REFERENCES app.printers (org_id, id) ON DELETE CASCADE,
	CONSTRAINT prints_ended_check CHECK ((state = 'running') = (ended_at IS NULL))
);
CREATE INDEX prints_started ON app.prints (org_id, started_at, id);
CREATE INDEX prints_printer ON app.prints (org_id, printer_id, started_at, id);
ALTER TABLE app.prints ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON app.prints
	USING (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])))
	WITH CHECK (org_id = nullif(current_setting('app.org_id', true), '')::uuid
		AND ((SELECT nullif(current_setting('app.printer_ids', true), '') IS NULL)
			OR printer_id = ANY ((SELECT nullif(current_setting('app.printer_ids', true), '')::uuid[])::uuid[])));
GRANT SELECT ON app.prints TO soloprint_api;
GRANT SELECT, INSERT (org_id, id, printer_id, state, source, name, filename, file_id, operation_id, progress, started_at,
		ended_at),
	UPDATE (state, name, filename, progress, ended_at, updated_at) ON app.prints TO soloprint_gateway;

-- The print that a printer is at; a gateway that takes over goes on with it.
ALTER TABLE app.printer_status ADD COLUMN print_id uuid;
GRANT UPDATE (print_id) ON app.printer_status TO soloprint_gateway;

COMMIT;
